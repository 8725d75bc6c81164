"""Define the command line `ser-jax`: every command is a function whose parameters are its flags.

Commands import modules when they run, so that `ser-jax --help` is fast.
"""

import dataclasses
import functools
import inspect
import itertools
import json as encoding
import logging
import re
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from tyro.conf import Positional, arg
from tyro.constructors import PrimitiveConstructorSpec

from ser_jax import __version__, shutdown
from ser_jax.data.databases import DATABASES
from ser_jax.data.labels import Rule
from ser_jax.errors import UserError
from ser_jax.features import FRONTENDS, Frontend, LogMel, make

if TYPE_CHECKING:
    from ser_jax.recognizer import Recognizer


def _number(kind: Callable[[str], float], least: float, most: float, unit: str = "N") -> Any:
    """Return how tyro parses a number from `least` to `most`."""

    def parse(words: list[str]) -> float:
        try:
            if least <= (value := kind(words[0])) <= most:
                return value
        except ValueError:
            pass
        what = "an integer" if kind is int else "a number"
        raise ValueError(f"{words[0][:60]!r}, expected {what} from {least:,} to {most:,}")

    return PrimitiveConstructorSpec(1, unit, parse, lambda _: True, lambda value: [str(value)])


# Flags that several commands have.
NAMES = f"One of {', '.join(DATABASES)}."
Database = Annotated[Positional[str], arg(help=NAMES)]
SOURCE = "Folder of the database, or the CSV file of a manifest."
Source = Annotated[Path, arg(help=SOURCE)]
Workers = Annotated[int | None, _number(int, 1, 1024), arg(help="Processes; all cores by default.")]
DataDir = Annotated[Path | None, arg(help="$TFDS_DATA_DIR or ~/tensorflow_datasets by default.")]
LabelRule = Annotated[Rule, arg(help="How annotations become classes.")]
MODEL = "Folder that ser-jax train wrote, or default or small, which are licensed under CC BY-NC-SA 4.0."
Model = Annotated[str, arg(help=MODEL)]
Force = Annotated[bool, arg(help="State classes of tasks whose scores across languages may be chance.")]
Json = Annotated[bool, arg(help="Print JSON.")]
Features = Annotated[str, arg(help=f"Front end: {', '.join(FRONTENDS)}, module:Name, or several with +.")]
FrontendFields = Annotated[Frontend, arg(name="features")]
Seconds = Annotated[float | None, _number(float, 0, 1_000_000, "S")]
Threshold = Annotated[float | None, _number(float, -1_000_000, 1_000_000, "X")]
FORM = tyro.conf.create_mutex_group(required=False, title="output")


@dataclasses.dataclass(frozen=True)
class Reading:
    """Options of specific databases.

    Args:
      annotation_delay: Delay of the raters in seconds (recola).
      arousal_threshold: Numbers above it are high arousal (manifest).
      valence_threshold: Numbers above it are positive valence (manifest).
      allow_outside: Allow paths outside the manifest's folder (manifest).
    """

    annotation_delay: Annotated[float | None, _number(float, 0, 10, "S")] = None
    arousal_threshold: Threshold = None
    valence_threshold: Threshold = None
    allow_outside: bool = False

    def given(self) -> dict[str, Any]:
        """Return the options that were typed."""
        return {name: value for name, value in vars(self).items() if value not in (None, False)}


Options = Annotated[Reading, arg(name="")]
READING, LOGMEL = Reading(), LogMel()


def synthesize(
    out: Positional[Path],
    utterances: Annotated[int, _number(int, 1, 100_000)] = 240,
    seed: Annotated[int, _number(int, 0, 2**32)] = 0,
) -> None:
    """Write synthetic speech in the layouts of IEMOCAP and RECOLA: `ser-jax synthesize /tmp/speech`.

    Args:
      out: A new folder, or an empty one.
      utterances: Number per language.
      seed: Seed of the random numbers.
    """
    from ser_jax.data import synthetic

    shutdown.raise_on_interrupt()
    synthetic.synthesize(out, utterances, seed)
    print(out)


def audit(
    database: Annotated[Positional[str], arg(help=f"{NAMES} With --against, a corpus.")],
    source: Annotated[Path | None, arg(help=SOURCE)] = None, options: Options = READING,
    workers: Workers = None, against: tuple[str, ...] = (), features: Features = "logmel",
    frontend: FrontendFields = LOGMEL, data_dir: DataDir = None, json: Json = False,
) -> int:  # fmt: skip
    """Decode all recordings of a database and report problems: `ser-jax audit emodb --source emodb`.

    Or check the labels of a prepared corpus with models trained on others:
    `ser-jax audit emodb --against ravdess savee nemo`. That takes about a minute.

    Args:
      against: Names of corpora to train on, prepared with the same front end.
    """
    shutdown.raise_on_interrupt()
    if source is not None and not against:
        from ser_jax.data import audit

        found = audit.audit(database, source, workers, **options.given())
        print(encoding.dumps(found, indent=2) if json else audit.table(found))
        return 1 if found["refused"] else 0
    if source is not None or not against:
        both = "both --source and --against" if against else "neither --source nor --against"
        raise UserError(f"{both}, expected the folder of a database, or corpora that check the labels")
    from ser_jax.report import label_check, tables

    judged = label_check.audit(database, against, data_dir, frontend)
    pairs = label_check.as_json(judged)
    table = tables.markdown(judged.synthetic, label_check.parts(judged)).rstrip("\n")
    print(encoding.dumps(pairs, indent=2) if json else table)
    return int(any(pair["contradicted"] for each in pairs.values() for pair in each))


def prepare(
    database: Database, source: Source, options: Options = READING, name: str | None = None,
    data_dir: DataDir = None, features: Features = "logmel", frontend: FrontendFields = LOGMEL,
    skip_bad: bool = False, labels_only: bool = False, workers: Workers = None,
    beam_runner: str | None = None, beam_options: tuple[str, ...] = (),
) -> None:  # fmt: skip
    """Compute and store the features of a database: `ser-jax prepare emodb --source emodb`.

    Args:
      name: Name of the corpus; the database's by default.
      skip_bad: Leave out unusable recordings instead of rejecting the database.
      labels_only: Check and store the labels without opening recordings.
      beam_runner: Apache Beam runner to use (extra: beam).
      beam_options: Options of that runner, NAME=VALUE.
    """
    from ser_jax import data

    shutdown.raise_on_interrupt()
    path = data.prepare(
        database, source, name=name, data_dir=data_dir, features=frontend, workers=workers, skip_bad=skip_bad,
        labels_only=labels_only, beam_runner=beam_runner, beam_options=beam_options,
        **options.given(),
    )  # fmt: skip
    if labels_only:
        describe(name or database, data_dir)
    print(path)


def describe(
    name: Positional[str], data_dir: DataDir = None, label_rule: LabelRule = "footnote", json: Json = False
) -> None:
    """Count the utterances of a corpus: `ser-jax describe emodb`.

    Args:
      name: Name of the corpus.
    """
    import numpy as np

    from ser_jax import data
    from ser_jax.data import labels

    shutdown.raise_on_interrupt()  # a corpus that is loaded for the first time is cached
    facts = data.facts(name, data_dir)
    emotions = sorted(Counter(labels.canonical(facts).tolist()).items())
    counts = {
        "name": facts.name, "builder": facts.database, "label_rule": label_rule, "synthetic": facts.synthetic,
        "by_emotion": labels.by_emotion(facts),
        "utterances": len(facts), "speakers": len(set(facts.speaker)), "sessions": len(set(facts.session)),
        "emotions": {emotion: count for emotion, count in emotions if emotion},
        "ratings": {scale: int(np.isfinite(getattr(facts, scale)).sum()) for scale in facts.scales},
    }  # fmt: skip
    if isinstance(facts, data.Corpus):  # else it is of labels alone
        counts |= {"left_out": facts.left_out, "seconds": round(float(facts.seconds.sum()), 3)}
    counts |= labels.counts(facts, label_rule)
    if json:
        print(encoding.dumps(counts, indent=2))
        return
    for what, found in counts.items():
        if isinstance(found, dict):
            shares = ((one, count, count / len(facts)) for one, count in found.items())
            found = "   ".join(f"{one} {count:,} ({share:.1%})" for one, count, share in shares)
        print(f"{what.replace('_', ' '):<11} {found}")


def train(
    corpora: tuple[str, ...], out: Path, tasks: tuple[str, ...] = ("arousal", "valence"),
    features: Features = "logmel", frontend: FrontendFields = LOGMEL,
    model: str = "attentive_cnn", network: tyro.conf.Suppress[Any] = None,
    seeds: Annotated[int, _number(int, 1, 1000)] = 5, training: tyro.conf.Suppress[Any] = None,
    unseen: tuple[str, ...] = (), license: str | None = None,
    label_rule: LabelRule = "footnote", name: str | None = None, data_dir: DataDir = None,
) -> None:  # fmt: skip
    """Train a recogniser on prepared corpora: `ser-jax train --corpora emodb ravdess --out my-model`.

    Args:
      corpora: Names of the corpora.
      out: A new folder, or an empty one.
      tasks: Names of the tasks.
      model: Network: attentive_cnn, attentive_pooling, probe, or module:Name.
      seeds: Networks per task.
      unseen: Names of other corpora to evaluate it on.
      license: Licence of the model, for its card and its predictions.
      name: Name of the model; that of its folder by default.
    """
    from ser_jax.recognizer.train import train

    shutdown.raise_on_interrupt()
    train(
        corpora, out, data_dir=data_dir, name=name, tasks=tasks, frontend=frontend, label_rule=label_rule,
        network=network, seeds=seeds, training=training, unseen=unseen, license=license,
    )  # fmt: skip
    print(f"ser-jax: {out / 'README.md'} has its scores on held-out speakers", file=sys.stderr)
    print(out)


def predict(
    files: Positional[tuple[str, ...]] = (), model: Model = "default", force: Force = False,
    hop: Seconds = None, plot: Path | None = None, json: Annotated[bool, FORM] = False,
    csv: Annotated[bool, FORM] = False, schema: Annotated[bool, FORM] = False,
) -> int:  # fmt: skip
    """Predict the emotion of recordings: `ser-jax predict speech.wav recordings/ '*.flac'`.

    Args:
      files: Recordings, folders or patterns; - is a WAV on standard input.
      hop: Seconds from one window of a recording to the next.
      plot: Folder for a picture of each recording.
      json: Print a list of JSON objects.
      csv: Print a line for each recording and each of its windows.
      schema: Print the JSON Schema of an object of --json instead.
    """
    from ser_jax import recognizer
    from ser_jax.recognizer.predict import find_files, predict_files

    if schema:
        print(encoding.dumps(recognizer.schema(), indent=2))
        return 0
    if not files or "" in files:
        raise UserError("no FILE, expected recordings, folders or patterns")
    form = "json" if json else "csv" if csv else "text"
    found = find_files(list(files))
    return predict_files(_load(model, force), found, form, hop, plot)


def _load(model: str, force: bool = False) -> "Recognizer":
    """Return a recogniser, with a warning if it was trained on synthetic speech."""
    from ser_jax.recognizer import Recognizer

    shutdown.raise_on_interrupt()
    recognizer = Recognizer.load(model, force)
    if recognizer.is_synthetic:
        print(
            "ser-jax: this model was trained on synthetic speech; its predictions for people mean nothing",
            file=sys.stderr,
        )
    return recognizer


def stream(
    source: Positional[Literal["-"] | None] = None, model: Model = "default", force: Force = False,
    device: str | None = None, rate: Annotated[int | None, _number(int, 1000, 768_000, "HZ")] = None,
    json: Json = False,
) -> None:  # fmt: skip
    """Predict live audio from a microphone or a pipe every half second: `arecord -t wav | ser-jax stream -`.

    Args:
      source: - reads a WAV from standard input.
      device: Name of the microphone; the system's by default.
      rate: Rate of headerless 16-bit samples of one channel on standard input.
    """
    from ser_jax.recognizer.stream import as_dict, as_line, microphone, pipe

    if rate is not None and source is None:
        raise UserError("--rate without -, expected standard input as the source")
    if device is not None and source is not None:
        raise UserError("both --device and -, expected either a microphone or standard input")
    recognizer = _load(model, force)
    moments = microphone(recognizer, device) if source is None else pipe(recognizer, sys.stdin.buffer, rate)
    for moment in moments:
        print(encoding.dumps(as_dict(moment)) if json else as_line(moment), flush=True)


def serve(
    model: Model = "default", force: Force = False, host: str = "127.0.0.1",
    port: Annotated[int, _number(int, 0, 65535)] = 8000,
    megabytes: Annotated[int, _number(int, 1, 100_000)] = 64,
    name: tyro.conf.UseAppendAction[tuple[str, ...]] = (), no_browser: bool = False,
) -> None:  # fmt: skip
    """Serve a web page to record speech or drop files: `ser-jax serve`.

    Args:
      host: Address to listen on; by default only this machine can connect.
      port: Port to listen on; 0 for a free one.
      megabytes: Size of the largest recording accepted, MB.
      name: Additional host name, for example behind a reverse proxy; can be repeated.
      no_browser: Do not open a browser.
    """
    try:
        from ser_jax.recognizer import server
    except ImportError as error:
        found = f"{error.name} is not installed"
        raise UserError(f'{found}, expected the server: pip install "ser_jax[serve]"') from error
    server.serve(_load(model, force), host, port, megabytes, name, not no_browser)


def export(format: Literal["onnx", "stablehlo"], out: Path, model: Model = "default") -> None:
    """Export a recogniser to one file: `ser-jax export --format onnx --out my.onnx`.

    Args:
      format: Format of the file.
      out: A new file, or an earlier export to replace.
    """
    from ser_jax.recognizer import export

    if out.exists() and out.suffix not in (".onnx", ".stablehlo"):
        raise UserError(f"{out} exists, expected a new file, or one to replace that ends in .{format}")
    export.export(_load(model), format, out)
    print(out)


COMMANDS = (synthesize, audit, prepare, describe, train, predict, stream, serve, export)
CONFIG = (tyro.conf.FlagCreatePairsOff, tyro.conf.DisallowNone, tyro.conf.PositionalMetavarFromFieldName)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status, 2 if the input is wrong."""
    words = sys.argv[1:] if argv is None else list(argv)
    if words[:1] == ["train"]:
        words = [re.sub("^--epochs(?=$|=)", "--train.epochs", word) for word in words]
    if words == ["--version"]:
        print(f"ser-jax {__version__}")
        return 0

    def run() -> int | None:
        app, (values, types, registry) = tyro.extras.SubcommandApp(), _fields(words)
        for command in COMMANDS:
            app.command(_bound(command, values, types))
        description = "Cross-lingual and multilingual speech emotion recognition."
        typed = app.cli(prog="ser-jax", description=description, args=words, config=CONFIG, registry=registry)
        logging.basicConfig(format="ser-jax: %(message)s", stream=sys.stderr)
        logging.getLogger("ser_jax").setLevel(logging.INFO)
        return typed()

    return shutdown.run_cli("ser-jax", run)


def _fields(words: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any], Any]:
    """Return what `--features` and, of `train`, `--model` choose, whose fields are flags then.

    Returns: (default values by parameter; types by parameter; tyro's rules for these).
    Raises: UserError (a subclass) for an unknown name.
    """
    sys.path.append("")  # modules of the working directory, as with `python -m`
    chosen = {}
    for word, following in itertools.pairwise([*words, ""]):
        flag, equals, value = word.partition("=")
        chosen[flag] = value if equals else following
    values: dict[str, Any] = {"frontend": make(chosen.get("--features", "logmel"))}
    if words[:1] != ["train"]:
        return values, {}, None
    from ser_jax.experiment.config import REGISTRY, choose
    from ser_jax.model import Architecture
    from ser_jax.train import TrainConfig

    values["network"] = choose("model", chosen.get("--model", "attentive_cnn"))
    values["training"] = TrainConfig()
    network, training = Annotated[Architecture, arg(name="model")], Annotated[TrainConfig, arg(name="train")]
    return values, {"network": network, "training": training}, REGISTRY


def _bound(
    command: Callable[..., int | None], values: dict[str, Any], types: dict[str, Any]
) -> Callable[..., Callable[[], int | None]]:
    """Let tyro bind a command's arguments alone, since it would take its ValueErrors for wrong flags.

    Parameters have the default `values` and `types` that are given, if any are.
    """

    @functools.wraps(command)
    def bind(*arguments: Any, **options: Any) -> Callable[[], int | None]:
        return functools.partial(command, *arguments, **options)

    signature = inspect.signature(command)
    parameters = [it.replace(default=values.get(it.name, it.default)) for it in signature.parameters.values()]
    bind.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    bind.__annotations__ = command.__annotations__ | types
    del bind.__wrapped__  # whose annotations tyro would read
    return bind
