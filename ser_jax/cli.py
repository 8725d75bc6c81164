"""The command line `ser-jax`: databases to corpora, and a recogniser's training and use.

A user's mistake ends as one sentence on standard error and exit status 2. Every command imports what it needs
when it runs, so that the others start without it.
"""

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ser_jax import __version__, flags, shutdown
from ser_jax.data.databases import DATABASES, flag
from ser_jax.data.labels import CLASS_NAMES, RULES
from ser_jax.errors import UserError

if TYPE_CHECKING:
    from ser_jax.data.corpus import Facts
    from ser_jax.features import Frontend
    from ser_jax.recognizer import Recognizer

    Commands = argparse._SubParsersAction[flags.Parser]

FORMATS = ("onnx", "stablehlo")
SHELLS = ("bash", "zsh", "fish")
MOST = 1_000_000  # epochs; more are a slip of the pen

READING: dict[str, dict[str, Any]] = {  # options of the databases' readers
    "annotation_delay": {"type": flags.finite, "metavar": "S", "help": "raters' delay, s (default: 0)"},
    "arousal_threshold": {"type": flags.finite, "metavar": "X", "help": "between the classes of arousal"},
    "valence_threshold": {"type": flags.finite, "metavar": "X", "help": "between the classes of valence"},
    "allow_outside": {"action": "store_true", "help": "let paths lead out of the manifest's folder"},
}
DATA_DIR: dict[str, Any] = {
    "type": flags.folder,
    "metavar": "DIR",
    "help": "where corpora are stored (default: $TFDS_DATA_DIR or ~/tensorflow_datasets)",
}
LABEL_RULE: dict[str, Any] = {
    "choices": RULES,
    "default": RULES[0],
    "help": "annotation to class (default: %(default)s)",
}
MODEL: dict[str, Any] = {
    "type": flags.folder,
    "metavar": "MODEL",
    "help": "a folder that ser-jax train wrote (default: a demonstration, trained on synthetic speech)",
}
WORKERS: dict[str, Any] = {
    "type": flags.whole(1),
    "metavar": "N",
    "help": "processes (default: all cores)",
}
JSON: dict[str, Any] = {"action": "store_true", "help": "one JSON object instead of a table"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status."""
    arguments = _parser().parse_args(argv)
    logging.basicConfig(format="ser-jax: %(message)s", stream=sys.stderr)
    logging.getLogger("ser_jax").setLevel(logging.INFO)
    return shutdown.run_cli("ser-jax", lambda: arguments.run(arguments))


def completion(parser: argparse.ArgumentParser, shell: str) -> str:
    """Return a script that completes commands, flags, choices and paths in a shell without starting Python.

    Args:
      parser: the program's; files or folders are offered for arguments whose type is a path of `flags`, or
        whose `metavar` tells.
      shell: one of `SHELLS`.
    """
    import shtab

    for action in _actions(parser):
        if action.type is flags.folder:
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
        elif action.type in (flags.path, flags.new_file) or action.metavar in ("FILE", "PATH"):
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    return str(shtab.complete(parser, shell))


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        yield action
        if action.nargs == argparse.PARSER and isinstance(action.choices, dict):
            for inner in action.choices.values():
                yield from _actions(inner)


def _parser() -> flags.Parser:
    parser = flags.Parser(
        prog="ser-jax",
        description="Cross-lingual and multilingual speech emotion recognition.",
        example="ser-jax predict speech.wav",
    )
    parser.add_argument("--version", action="version", version=f"ser-jax {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    add_recogniser = (_add_train, _add_predict, _add_serve, _add_listen, _add_export)
    for add in (_add_databases, _add_describe, _add_synthesize, *add_recogniser):
        add(commands)
    example = "ser-jax completion bash > ~/.ser-jax-completion"
    added = _command(commands, "completion", example, "print what a shell needs to complete commands", None)
    added.set_defaults(run=lambda arguments: print(completion(_parser(), arguments.shell)))
    added.add_argument("shell", metavar="SHELL", choices=SHELLS, help="bash, zsh or fish")
    return parser


def _command(
    commands: "Commands", name: str, example: str, purpose: str, run: Callable | None
) -> flags.Parser:
    description = f"{purpose[0].upper()}{purpose[1:]}."
    parser = commands.add_parser(name, description=description, example=example, help=purpose)
    parser.set_defaults(run=run)
    return parser


def _add_databases(commands: "Commands") -> None:
    """Add `audit` and `prepare`, each with one parser per database."""
    purpose = "decode a whole database and report what is wrong with it; nothing is built"
    audit = _command(commands, "audit", "ser-jax audit emodb --source emodb", purpose, None)
    example = "ser-jax prepare iemocap --source IEMOCAP_full_release"
    prepare = _command(commands, "prepare", example, "read a database; store its features and facts", None)
    for command, parser, run in (("audit", audit, _audit), ("prepare", prepare, _prepare)):
        parsers = parser.add_subparsers(title="databases", metavar="DATABASE", required=True)
        for name, database in DATABASES.items():
            example = f"ser-jax {command} {name} --source {database.example}"
            example += " --name mine" if (command, name) == ("prepare", "manifest") else ""
            added = _command(parsers, name, example, database.what, run)
            added.set_defaults(database=name)
            add = added.add_argument
            add("--source", required=True, type=flags.path, metavar="PATH", help=database.source)
            for option in database.options:
                add(flag(option), default=argparse.SUPPRESS, **READING[option])
            add("--workers", **WORKERS)
            if command == "audit":
                add("--json", **JSON)
                continue
            add("--name", help="of the corpus (default: the database's name)")
            add("--data-dir", **DATA_DIR)
            front_end = "front end: logmel, waveform or module:Name (default: logmel)"
            add("--features", type=_front_end, default="logmel", metavar="NAME", help=front_end)
            seconds = "of an utterance that are used (default: the front end's, 7.5)"
            add("--features.seconds", type=flags.finite, metavar="S", help=seconds, dest="seconds")
            skip = "leave out what cannot be used, instead of refusing"
            add("--skip-bad", action="store_true", help=skip)
            labels = "open no recording: check the labels in seconds"
            add("--labels-only", action="store_true", help=labels)
            runner = "an Apache Beam runner that does the work (extra: beam)"
            add("--beam-runner", metavar="NAME", help=runner)
            add("--beam-options", nargs="+", default=(), metavar="NAME=VALUE", help="options of that runner")


def _front_end(name: str) -> "type[Frontend]":
    from ser_jax import features

    if ":" in name and "" not in sys.path:
        sys.path.append(os.curdir)  # as `python -m` does
    try:
        return features.named(name)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _prepare(arguments: argparse.Namespace) -> None:
    from ser_jax import data
    from ser_jax.features import FrontendError

    shutdown.raise_on_interrupt()
    options = vars(arguments).copy()
    seconds = options.pop("seconds")
    try:
        front_end = arguments.features(**({} if seconds is None else {"seconds": seconds}))
    except (TypeError, ValueError) as error:
        name = arguments.features.__name__
        raise FrontendError(f"front end {name} cannot be made ({error}), expected defaults") from error
    options |= {"features": front_end}
    for key in ("run", "database", "source"):
        del options[key]
    path = data.prepare(arguments.database, arguments.source, **options)
    if arguments.labels_only:
        print(_table(_count(data.facts(arguments.name or arguments.database, arguments.data_dir), RULES[0])))
    print(path)


def _audit(arguments: argparse.Namespace) -> int:
    from ser_jax.data import audit

    shutdown.raise_on_interrupt()
    options = {key: vars(arguments)[key] for key in READING if key in vars(arguments)}
    found = audit.audit(arguments.database, arguments.source, arguments.workers, **options)
    print(json.dumps(found, indent=2) if arguments.json else audit.table(found))
    return 1 if found["refused"] else 0


def _add_describe(commands: "Commands") -> None:
    example = "ser-jax describe iemocap --json"
    parser = _command(commands, "describe", example, "count the utterances of a corpus", _describe)
    parser.add_argument("name", metavar="NAME", help="as given to prepare")
    parser.add_argument("--data-dir", **DATA_DIR)
    parser.add_argument("--label-rule", **LABEL_RULE)
    parser.add_argument("--json", **JSON)


def _describe(arguments: argparse.Namespace) -> None:
    from ser_jax import data

    shutdown.raise_on_interrupt()  # a corpus that is loaded for the first time is cached
    counted = _count(data.facts(arguments.name, arguments.data_dir), arguments.label_rule)
    print(json.dumps(counted, indent=2) if arguments.json else _table(counted))


def _count(facts: "Facts", rule: str) -> dict:
    """Return the content of `describe`; without recordings, seconds are not known."""
    import numpy as np

    from ser_jax.data import labels
    from ser_jax.data.corpus import Corpus

    emotions = np.unique_counts(labels.canonical(facts))
    counted = {
        "name": facts.name,
        "builder": facts.database,
        "label_rule": rule,
        "synthetic": facts.synthetic,
        "utterances": len(facts),
        "speakers": len(set(facts.speaker)),
        "sessions": len(set(facts.session)),
        "emotions": {
            name: count
            for name, count in zip(emotions.values.tolist(), emotions.counts.tolist(), strict=True)
            if name
        },
        "ratings": {name: int(np.isfinite(getattr(facts, name)).sum()) for name in facts.scales},
    }
    if isinstance(facts, Corpus):
        counted |= {"left_out": facts.left_out, "seconds": round(float(facts.seconds.sum()), 3)}
    return counted | labels.counts(facts, rule)


def _table(counted: dict) -> str:
    utterances, seconds = counted["utterances"], counted.get("seconds")

    def counts(key: str) -> str:
        return "   ".join(
            f"{name} {count:,} ({count / utterances:.1%})" for name, count in counted[key].items()
        )

    lines = [
        f"{counted['name']} ({counted['builder']})"
        + ("   SYNTHETIC SPEECH" if counted["synthetic"] else "")
        + ("   LABELS ONLY" if seconds is None else ""),
        *(f"  {what:<10}  {counted[what]:>8,}" for what in ("utterances", "speakers", "sessions")),
    ]
    if seconds is not None:
        lines += [f"  speech      {seconds / 60:>8,.1f} min, {seconds / utterances:.2f} s a turn"]
    if counted.get("left_out"):
        lines += [f"  left out    {counted['left_out']:>8,}"]
    lines += [f"  classes by label rule {counted['label_rule']}:"]
    lines += [f"    {target:<8}  {counts(target)}" for target in CLASS_NAMES]
    lines += [f"  {key:<8}    {counts(key)}" for key in ("emotions", "ratings") if counted[key]]
    return "\n".join(lines)


def _add_synthesize(commands: "Commands") -> None:
    example = "ser-jax synthesize /tmp/speech --utterances 240 --seed 0"
    purpose = "write synthetic IEMOCAP and RECOLA trees"
    add = _command(commands, "synthesize", example, purpose, _synthesize).add_argument
    add("out", metavar="OUT", type=flags.path, help="a new folder, or an empty one")
    size = "per language (default: 240)"
    add("--utterances", type=flags.whole(1), default=240, metavar="N", help=size)
    add("--seed", type=flags.whole(0), default=0, metavar="S", help="not negative (default: 0)")


def _synthesize(arguments: argparse.Namespace) -> None:
    from tqdm import tqdm

    from ser_jax.data.synthetic import synthesize

    shutdown.raise_on_interrupt()
    # Until `delay` has passed, errors are printed without an empty bar above them.
    with tqdm(desc="synthesising", unit=" utt", delay=1e-3) as bar:

        def progress(_: int, total: int) -> None:
            bar.total = total
            bar.update()

        synthesize(arguments.out, utterances=arguments.utterances, seed=arguments.seed, progress=progress)
    print(arguments.out)


def _add_train(commands: "Commands") -> None:
    example = "ser-jax train --corpora emodb ravdess --out my-model"
    purpose = "train a recogniser on prepared corpora and write it to a folder"
    add = _command(commands, "train", example, purpose, _train).add_argument
    add("--corpora", nargs="+", required=True, metavar="NAME", help="as given to prepare, one or more")
    add("--out", required=True, type=flags.folder, metavar="MODEL", help="a new folder, or an empty one")
    every, targets = list(CLASS_NAMES), "of arousal and valence (default: both)"
    add("--targets", nargs="+", choices=every, metavar="TARGET", default=every, help=targets)
    add("--seeds", type=flags.whole(1, 1000), default=5, metavar="N", help="networks a target (default: 5)")
    add("--epochs", type=flags.whole(1, MOST), default=50, metavar="N", help="of training (default: 50)")
    add("--label-rule", **LABEL_RULE)
    add("--name", help="of the model (default: that of the folder)")
    add("--data-dir", **DATA_DIR)


def _train(arguments: argparse.Namespace) -> None:
    from ser_jax.recognizer.train import train

    shutdown.raise_on_interrupt()
    metrics = train(
        arguments.corpora,
        arguments.out,
        data_dir=arguments.data_dir,
        name=arguments.name,
        tasks=arguments.targets,
        seeds=arguments.seeds,
        epochs=arguments.epochs,
        label_rule=arguments.label_rule,
    )
    for target, own in metrics.items():
        print(
            f"ser-jax: {target}: UAR {own['UAR']:.1%} of {own['utterances']} utterances of {own['speakers']} "
            "speakers held out, 50 % being chance; see the model's README.md",
            file=sys.stderr,
        )
    print(arguments.out)


def _add_predict(commands: "Commands") -> None:
    example = "ser-jax predict --model my-model speech.wav recordings/ '*.flac'"
    parser = _command(commands, "predict", example, "predict arousal and valence of recordings", _predict)
    add = parser.add_argument
    add("--model", **MODEL)
    what = "recordings, folders, patterns; - is a WAV on standard input"
    add("files", nargs="+", type=_as_typed, metavar="FILE", help=what)
    hop = "from one window of 7.5 s to the next: a multiple of 0.9, 7.2 at most (default: 3.6)"
    add("--hop", type=flags.finite, metavar="S", help=hop)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="a list of objects, see --schema")
    form.add_argument("--csv", action="store_true", help="a line for each recording and each of its windows")
    add("--schema", action=_Schema, nargs=0, help="print the JSON Schema of an object of --json, and end")
    add("--plot", type=flags.folder, metavar="DIR", help="draw each recording there, with the attention")


def _as_typed(text: str) -> str:
    """Return a path as it was typed, since it may be a pattern."""
    flags.path(text)
    return text


class _Schema(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from ser_jax.recognizer import schema

        print(json.dumps(schema(), indent=2))
        parser.exit()


def _predict(arguments: argparse.Namespace) -> int:
    from ser_jax.recognizer import predicting

    form = "json" if arguments.json else "csv" if arguments.csv else "text"
    files = predicting.files(arguments.files)
    return predicting.predict(_recognizer(arguments), files, form, arguments.hop, arguments.plot)


def _recognizer(arguments: argparse.Namespace) -> "Recognizer":
    from ser_jax.recognizer import Recognizer

    shutdown.raise_on_interrupt()
    recognizer = Recognizer.load(arguments.model)
    if recognizer.is_demonstration:
        print(
            "ser-jax: this model is a demonstration, trained on synthetic speech; what it says of people's "
            "voices means nothing (ser-jax train makes one of your own)",
            file=sys.stderr,
        )
    return recognizer


def _add_serve(commands: "Commands") -> None:
    purpose = "open a page to record or drop speech on"
    add = _command(commands, "serve", "ser-jax serve --model my-model", purpose, _serve).add_argument
    add("--model", **MODEL)
    host = "to listen on (default: %(default)s, this machine alone)"
    add("--host", default="127.0.0.1", metavar="NAME", help=host)
    port = "(default: 8000; 0 for a free one)"
    add("--port", type=flags.whole(0, 65535), default=8000, metavar="N", help=port)
    size = "of a recording at most (default: 64)"
    add("--megabytes", type=flags.whole(1, 100_000), default=64, metavar="N", help=size)
    name = "another host name to answer to, as behind a reverse proxy (repeatable)"
    add("--name", action="append", default=[], metavar="HOST", help=name)
    add("--no-browser", action="store_true", help="open no browser")


def _serve(arguments: argparse.Namespace) -> None:
    try:
        from ser_jax.recognizer.server import serve
    except ImportError as error:
        found = f"{error.name} is not installed"
        raise UserError(f'{found}, expected what serves: pip install "ser_jax[serve]"') from error

    opens = not arguments.no_browser
    given = arguments
    serve(_recognizer(given), given.host, given.port, given.megabytes, given.name, opens)


def _add_listen(commands: "Commands") -> None:
    example = "arecord -q -f S16_LE -r 16000 -t wav | ser-jax listen --model my-model -"
    purpose = "predict a microphone or a stream every half second"
    add = _command(commands, "listen", example, purpose, _listen).add_argument
    add("--model", **MODEL)
    add("source", nargs="?", type=_standard_input, metavar="-", help="a WAV on standard input, no microphone")
    rate = "of headerless 16-bit samples of one channel on standard input"
    add("--rate", type=flags.whole(1000, 768_000), metavar="HZ", help=rate)
    add("--device", metavar="NAME", help="the microphone (default: the system's)")
    add("--json", action="store_true", help="one JSON object a line")


def _standard_input(text: str) -> str:
    if text != "-":
        expected = "expected - for standard input; ser-jax predict reads files"
        raise argparse.ArgumentTypeError(f"{text!r}, {expected}")
    return text


def _listen(arguments: argparse.Namespace) -> None:
    from ser_jax.recognizer import streaming

    if arguments.rate is not None and arguments.source is None:
        raise streaming.StreamError("--rate without -, expected standard input as the source")
    if arguments.device is not None and arguments.source is not None:
        raise streaming.StreamError("--device and -, expected one of them: a microphone or standard input")
    recognizer = _recognizer(arguments)
    if arguments.source is None:
        moments = streaming.moments(recognizer, arguments.device)
    else:
        moments = streaming.piped(recognizer, sys.stdin.buffer, arguments.rate)
    for moment in moments:
        line = json.dumps(streaming.as_dict(moment)) if arguments.json else streaming.line(moment)
        print(line, flush=True)


def _add_export(commands: "Commands") -> None:
    example = "ser-jax export --model my-model --format onnx --out my-model.onnx"
    purpose = "write samples to probabilities as one file, for other programs"
    add = _command(commands, "export", example, purpose, _export).add_argument
    add("--model", **MODEL)
    add("--format", required=True, choices=FORMATS, help="of the file")
    add("--out", required=True, type=_replaceable, metavar="FILE", help="the file")


def _replaceable(text: str) -> Path:
    """Return a file that an export may write: a new one, or one with a suffix of exports."""
    file, suffixes = flags.new_file(text), [f".{name}" for name in FORMATS]
    if file.exists() and file.suffix not in suffixes:
        raise argparse.ArgumentTypeError(
            f"{text!r} exists, expected a new file, or one to replace that ends in {' or '.join(suffixes)}"
        )
    return file


def _export(arguments: argparse.Namespace) -> None:
    from ser_jax.recognizer import exporting

    exporting.export(_recognizer(arguments), arguments.format, arguments.out)
    print(arguments.out)
