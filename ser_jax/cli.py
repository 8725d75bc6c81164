"""The command line: prepare a corpus, describe it, synthesise one.

What a user can get wrong ends as one sentence on standard error and exit status 2.
"""

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from ser_jax import __version__
from ser_jax.data.labels import RULES
from ser_jax.errors import UserError

BUILDERS = {
    "iemocap": ("IEMOCAP_full_release, or the folder that holds it", "IEMOCAP_full_release"),
    "recola": ("the folder that holds RECOLA-Annotation", "RECOLA"),
    "manifest": (
        "a CSV file with the columns path, speaker, arousal, valence",
        "emodb/manifest.csv --name emodb",
    ),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one subcommand; returns the exit status."""
    arguments = _parser().parse_args(argv)
    logging.basicConfig(format="ser-jax: %(message)s", stream=sys.stderr)
    logging.getLogger("ser_jax").setLevel(logging.INFO)
    return guarded("ser-jax", lambda: arguments.run(arguments), "interrupted")


def guarded(program: str, work: Callable[[], None], interrupted: str) -> int:
    """Does the work; what a user can mend ends as one sentence on standard error.

    Args:
      program: whose sentence it is.
      work: what to do.
      interrupted: what to say after Ctrl-C.
    Returns: the exit status: 0, 2 where the input or a file is at fault, 130 after Ctrl-C, 141 where whoever
      read the output has left.
    """
    try:
        work()
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except UserError as error:
        return _say(program, str(error), 2)
    except OSError as error:  # a folder that may not be read, a disk that is full
        return _say(program, f"{error.filename or 'a file'}: {error.strerror or error}", 2)
    except KeyboardInterrupt:
        return _say(program, interrupted, 130)
    return 0


def _say(program: str, sentence: str, status: int) -> int:
    print(f"{program}: {sentence}", file=sys.stderr)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ser-jax", description="Cross-lingual and multilingual speech emotion recognition."
    )
    parser.add_argument("--version", action="version", version=f"ser-jax {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_prepare(commands)
    _add_describe(commands)
    _add_synthesize(commands)
    return parser


def _command(commands, name: str, example: str, **options) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=options["help"],
        **options,
    )


def _add_prepare(commands) -> None:
    example = "ser-jax prepare iemocap --source IEMOCAP_full_release"
    parser = _command(commands, "prepare", example, help="read a database and keep its features and facts")
    builders = parser.add_subparsers(title="databases", metavar="DATABASE", required=True)
    for name, (source, value) in BUILDERS.items():
        builder = _command(builders, name, f"ser-jax prepare {name} --source {value}", help=f"read {name}")
        builder.set_defaults(run=_prepare, builder=name)
        builder.add_argument("--source", required=True, type=Path, metavar="PATH", help=source)
        builder.add_argument("--name", help=f"what to call the corpus (default: {name})")
        _add_data_dir(builder)
        builder.add_argument("--workers", type=int, metavar="N", help="processes (default: all cores)")
        if name == "recola":
            builder.add_argument(
                "--annotation-delay",
                type=float,
                default=0.0,
                metavar="S",
                help="raters' delay, s (default: 0)",
            )
        if name == "manifest":
            for target in ("arousal", "valence"):
                builder.add_argument(
                    f"--{target}-threshold",
                    type=float,
                    metavar="X",
                    help=f"parts the classes of a numeric {target}",
                )
            builder.add_argument(
                "--allow-outside", action="store_true", help="let paths lead out of the manifest's folder"
            )


def _add_describe(commands) -> None:
    parser = _command(
        commands, "describe", "ser-jax describe iemocap --json", help="count what a corpus holds"
    )
    parser.set_defaults(run=_describe)
    parser.add_argument("name", metavar="NAME", help="as given to prepare")
    _add_data_dir(parser)
    parser.add_argument(
        "--label-rule",
        choices=RULES,
        default=RULES[0],
        help="annotation to class (default: footnote)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")


def _add_synthesize(commands) -> None:
    example = "ser-jax synthesize /tmp/speech --utterances 240 --seed 0"
    parser = _command(commands, "synthesize", example, help="write synthetic IEMOCAP and RECOLA trees")
    parser.set_defaults(run=_synthesize)
    parser.add_argument("out", metavar="OUT", type=Path, help="a folder that does not exist yet")
    parser.add_argument(
        "--utterances", type=int, default=240, metavar="N", help="per language (default: 240)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="not negative (default: 0)")


def _add_data_dir(parser) -> None:
    parser.add_argument(
        "--data-dir",
        type=Path,
        metavar="DIR",
        help="where corpora live (default: $TFDS_DATA_DIR or ~/tensorflow_datasets)",
    )


def _prepare(arguments) -> None:
    from ser_jax import data

    options = {
        key: value for key, value in vars(arguments).items() if key not in ("run", "builder", "source")
    }
    print(data.prepare(arguments.builder, arguments.source, **options))


def _describe(arguments) -> None:
    from ser_jax import data
    from ser_jax.data import labels

    corpus = data.load(arguments.name, arguments.data_dir)
    facts = {
        "name": corpus.name,
        "builder": corpus.builder,
        "synthetic": corpus.synthetic,
        "label_rule": arguments.label_rule,
        "utterances": len(corpus),
        "speakers": len(set(corpus.speaker)),
        "sessions": len(set(corpus.session)),
        "seconds": round(float(corpus.seconds.sum()), 3),
    }
    for target, names in labels.CLASS_NAMES.items():
        classes = labels.classes(corpus, target, rule=arguments.label_rule)
        facts[target] = {name: int((classes == k).sum()) for k, name in enumerate(names)}
    print(json.dumps(facts, indent=2) if arguments.json else _table(facts))


def _table(facts) -> str:
    seconds = facts["seconds"]
    lines = [
        f"{facts['name']} ({facts['builder']})" + ("   SYNTHETIC SPEECH" if facts["synthetic"] else ""),
        f"  utterances  {facts['utterances']:>8,}",
        f"  speakers    {facts['speakers']:>8,}",
        f"  sessions    {facts['sessions']:>8,}",
        f"  speech      {seconds / 60:>8,.1f} min, {seconds / facts['utterances']:.2f} s a turn",
        f"  classes by label rule {facts['label_rule']}:",
    ]
    for target in ("arousal", "valence"):
        counts = "   ".join(
            f"{name} {count:,} ({count / facts['utterances']:.1%})" for name, count in facts[target].items()
        )
        lines.append(f"    {target:<8}  {counts}")
    return "\n".join(lines)


def _synthesize(arguments) -> None:
    from tqdm import tqdm

    from ser_jax.data.synthetic import synthesize

    with tqdm(desc="synthesising", unit=" utt", mininterval=0.5) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        synthesize(arguments.out, utterances=arguments.utterances, seed=arguments.seed, progress=progress)
    print(arguments.out)
