"""The command line: audit a database, prepare a corpus, describe it, synthesise one; and `commands`.

What a user can get wrong ends as one sentence on standard error and exit status 2.
"""

import argparse
import json
import logging
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ser_jax import __version__, commands, completion, flags, shutdown
from ser_jax.data.databases import DATABASES, flag
from ser_jax.data.labels import RULES

if TYPE_CHECKING:
    from ser_jax.data.corpus import Facts

    Commands = argparse._SubParsersAction[flags.Parser]

READING: dict[str, dict[str, Any]] = {  # options of the databases' readers
    "annotation_delay": {"type": flags.finite, "metavar": "S", "help": "raters' delay, s (default: 0)"},
    "arousal_threshold": {
        "type": flags.finite,
        "metavar": "X",
        "help": "parts the classes of a numeric arousal",
    },
    "valence_threshold": {
        "type": flags.finite,
        "metavar": "X",
        "help": "parts the classes of a numeric valence",
    },
    "allow_outside": {"action": "store_true", "help": "let paths lead out of the manifest's folder"},
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one subcommand; returns the exit status."""
    arguments = _parser().parse_args(argv)
    logging.basicConfig(format="ser-jax: %(message)s", stream=sys.stderr)
    logging.getLogger("ser_jax").setLevel(logging.INFO)
    return shutdown.run_cli("ser-jax", lambda: arguments.run(arguments))


def _parser() -> flags.Parser:
    example = "ser-jax predict speech.wav\n    ser-jax train --help"
    parser = flags.Parser(
        prog="ser-jax",
        description=f"Cross-lingual and multilingual speech emotion recognition.\n\n    {example}",
    )
    parser.add_argument("--version", action="version", version=f"ser-jax {__version__}")
    subcommands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_audit(subcommands)
    _add_prepare(subcommands)
    _add_describe(subcommands)
    _add_synthesize(subcommands)
    commands.add(partial(_command, subcommands), _add_data_dir)
    completion.add(partial(_command, subcommands), _parser)
    return parser


def _command(commands: "Commands", name: str, example: str, **options: Any) -> flags.Parser:
    what = options["help"]
    return commands.add_parser(name, description=f"{what[0].upper()}{what[1:]}.\n\n    {example}", **options)


def _add_prepare(commands: "Commands") -> None:
    example = "ser-jax prepare iemocap --source IEMOCAP_full_release"
    parser = _command(commands, "prepare", example, help="read a database and keep its features and facts")
    for each in _add_databases(parser, "prepare", _prepare):
        each.add_argument("--name", help="what to call the corpus (default: the database's name)")
        _add_data_dir(each)
        _add_workers(each)
        each.add_argument(
            "--skip-bad", action="store_true", help="leave out what cannot be used, instead of refusing"
        )
        each.add_argument(
            "--labels-only", action="store_true", help="look at no recording: check the labels in seconds"
        )
        each.add_argument(
            "--beam-runner", metavar="NAME", help="an Apache Beam runner that does the work (extra: beam)"
        )
        each.add_argument(
            "--beam-options", nargs="+", default=(), metavar="NAME=VALUE", help="what that runner is told"
        )


def _add_databases(parser: flags.Parser, command: str, run: Callable) -> list[flags.Parser]:
    """One parser per database, with its source and its reader's options."""
    parsers = parser.add_subparsers(title="databases", metavar="DATABASE", required=True)
    added = []
    for name, database in DATABASES.items():
        example = f"ser-jax {command} {name} --source {database.example}"
        if (command, name) == ("prepare", "manifest"):
            example += " --name mine"
        added.append(_command(parsers, name, example, help=database.what))
        added[-1].set_defaults(run=run, database=name)
        added[-1].add_argument(
            "--source", required=True, type=flags.path, metavar="PATH", help=database.source
        )
        for option in database.options:
            added[-1].add_argument(flag(option), default=argparse.SUPPRESS, **READING[option])
    return added


def _add_workers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workers", type=flags.whole(1), metavar="N", help="processes (default: all cores)")


def _add_audit(commands: "Commands") -> None:
    example = "ser-jax audit emodb --source emodb"
    parser = _command(
        commands,
        "audit",
        example,
        help="listen to a whole database and say what is wrong with it; nothing is built",
    )
    for each in _add_databases(parser, "audit", _audit):
        _add_workers(each)
        each.add_argument("--json", action="store_true", help="one JSON object instead of a table")


def _add_describe(commands: "Commands") -> None:
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


def _add_synthesize(commands: "Commands") -> None:
    example = "ser-jax synthesize /tmp/speech --utterances 240 --seed 0"
    parser = _command(commands, "synthesize", example, help="write synthetic IEMOCAP and RECOLA trees")
    parser.set_defaults(run=_synthesize)
    parser.add_argument("out", metavar="OUT", type=flags.path, help="a new folder, or an empty one")
    parser.add_argument(
        "--utterances", type=flags.whole(1), default=240, metavar="N", help="per language (default: 240)"
    )
    seed = flags.whole(0)
    parser.add_argument("--seed", type=seed, default=0, metavar="S", help="not negative (default: 0)")


def _add_data_dir(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data-dir",
        type=flags.folder,
        metavar="DIR",
        help="where corpora live (default: $TFDS_DATA_DIR or ~/tensorflow_datasets)",
    )


def _prepare(arguments: argparse.Namespace) -> None:
    from ser_jax import data

    shutdown.raise_on_interrupt()
    options = {
        key: value for key, value in vars(arguments).items() if key not in ("run", "database", "source")
    }
    path = data.prepare(arguments.database, arguments.source, **options)
    if arguments.labels_only:
        print(_table(_count(data.facts(arguments.name or arguments.database, arguments.data_dir), RULES[0])))
    print(path)


def _audit(arguments: argparse.Namespace) -> int:
    from ser_jax.data import audit

    shutdown.raise_on_interrupt()
    options = {key: vars(arguments)[key] for key in READING if key in vars(arguments)}
    found = audit.audit(arguments.database, arguments.source, arguments.workers, **options)
    print(json.dumps(audit.as_dict(found), indent=2) if arguments.json else audit.table(found))
    return 1 if found.refused else 0


def _describe(arguments: argparse.Namespace) -> None:
    from ser_jax import data

    shutdown.raise_on_interrupt()  # a corpus that is loaded for the first time is cached
    counted = _count(data.facts(arguments.name, arguments.data_dir), arguments.label_rule)
    print(json.dumps(counted, indent=2) if arguments.json else _table(counted))


def _count(facts: "Facts", rule: str) -> dict:
    """What `describe` says of a corpus; without recordings nothing is known of their seconds."""
    from ser_jax.data import labels
    from ser_jax.data.corpus import Corpus

    counted = {
        "name": facts.name,
        "builder": facts.database,
        "label_rule": rule,
        "synthetic": facts.synthetic,
        "utterances": len(facts),
        "speakers": len(set(facts.speaker)),
        "sessions": len(set(facts.session)),
    }
    if isinstance(facts, Corpus):
        counted |= {
            "left_out": facts.left_out,
            "seconds": round(float(facts.seconds.sum()), 3),
        }
    return counted | labels.counts(facts, rule)


def _table(counted: dict) -> str:
    utterances, seconds = counted["utterances"], counted.get("seconds")
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
    for target in ("arousal", "valence"):
        counts = "   ".join(
            f"{name} {count:,} ({count / utterances:.1%})" for name, count in counted[target].items()
        )
        lines.append(f"    {target:<8}  {counts}")
    return "\n".join(lines)


def _synthesize(arguments: argparse.Namespace) -> None:
    from ser_jax.bar import late_bar
    from ser_jax.data.synthetic import synthesize

    shutdown.raise_on_interrupt()
    out, utterances, seed = arguments.out, arguments.utterances, arguments.seed
    with late_bar(desc="synthesising", unit=" utt") as bar:
        synthesize(out, utterances=utterances, seed=seed, progress=lambda _, total: bar(1, total))
    print(arguments.out)
