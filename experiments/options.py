"""What a user chooses of an experiment, and the flags that say so."""

import argparse
import dataclasses
import re
from pathlib import Path
from typing import Any

from ser_jax import flags
from ser_jax.convolution import PRECISIONS
from ser_jax.data.corpus import TARGETS
from ser_jax.data.labels import RULES
from ser_jax.data.standardize import MODES
from ser_jax.runs import STACKINGS

WITHIN = "train"  # standardisation where training and test speech are of one corpus
ACROSS = "corpus"  # where they are not; why, and what it costs: docs/results.md


@dataclasses.dataclass(frozen=True)
class Options:
    """What a user chooses; the defaults are the paper's.

    Attributes:
      corpora: names of prepared corpora.
      data_dir: where they were prepared; None for the usual place.
      out: folder of the results.
      seeds: runs per fold and target, numbered from 0.
      folds: of the cross-validation.
      epochs: of training from scratch.
      finetune_samples: target utterances per fold that fine-tuning sees.
      finetune_epochs: its epochs.
      standardize: one of `standardize.MODES`; None for `WITHIN` or `ACROSS` as the setting asks.
      label_rule: one of `labels.RULES`.
      targets: of arousal, valence.
      precision: one of `convolution.PRECISIONS`, see `ModelConfig`.
      runs_at_once: runs a stack and device; None for as many as fit.
      stacking: one of `runs.STACKINGS`.
      devices: of this host; None for all.
      memory: bytes a device may use; None for what is free.
      coordinator, hosts, host: see `machine.join`.
      save_minutes, save_epochs: how often a stack in training is saved, whichever comes first; None for never
        by epochs.
    """

    corpora: tuple[str, ...] = ("iemocap", "recola")
    data_dir: Path | None = None
    out: Path = Path("results")
    seeds: int = 5
    folds: int = 5
    epochs: int = 50
    finetune_samples: int = 100
    finetune_epochs: int = 10
    standardize: str | None = None
    label_rule: str = "footnote"
    targets: tuple[str, ...] = TARGETS
    precision: str = "float32"
    runs_at_once: int | None = None
    stacking: str = "auto"
    devices: int | None = None
    memory: int | None = None
    coordinator: str | None = None
    hosts: int | None = None
    host: int | None = None
    save_minutes: float = 1.0
    save_epochs: int | None = None


# What changes no result.
COMPUTING = ("runs_at_once", "stacking", "devices", "memory", "coordinator", "hosts", "host", "save_minutes",
             "save_epochs")  # fmt: skip

COUNTS = {  # what it means, and the most, beyond which it is a slip of the pen
    "seeds": ("runs per fold and target", 10_000),
    "folds": ("of the cross-validation", 10_000),
    "epochs": ("of training from scratch", 1_000_000),
    "finetune_samples": ("utterances of the tested corpus per fold that fine-tuning sees", 1_000_000_000),
    "finetune_epochs": ("of fine-tuning", 1_000_000),
}
MOST = 1_000_000  # of minutes, gigabytes, hosts, devices, runs


def parse(description: str, name: str, arguments: list[str] | None = None, fewest: int = 2) -> Options:
    """Reads the flags of `python -m experiments.<name>`, which takes `fewest` corpora, one or two, or more.

    A wrong one ends the program with status 2.
    """
    parser = flags.Parser(
        prog=f"python -m experiments.{name}",
        usage="%(prog)s [FLAG ...]",
        description=description,
    )
    _add_training(parser, name, fewest)
    _add_computing(parser)
    return _checked(parser, vars(parser.parse_args(arguments)), fewest)


def _add_training(parser: argparse.ArgumentParser, name: str, fewest: int) -> None:
    """Flags that say what is trained on what, and where its results go."""
    defaults = Options()
    add = parser.add_argument
    several = "two or more prepared corpora" if fewest > 1 else "one prepared corpus or more"
    several += ", of any language (default: iemocap recola)"
    add("--corpora", nargs="+", default=defaults.corpora, metavar="NAME", help=several)
    prepared = "where they were prepared (default: as ser-jax prepare)"
    add("--data-dir", type=flags.folder, metavar="DIR", help=prepared)
    out = Path("results") / name
    add(
        "--out",
        type=flags.folder,
        metavar="DIR",
        default=out,
        help="folder of results (default: %(default)s)",
    )
    for count, (meaning, most) in COUNTS.items():
        add(
            f"--{count.replace('_', '-')}",
            type=flags.whole(2 if count == "folds" else 1, most),
            metavar="N",
            default=getattr(defaults, count),
            help=f"{meaning} (default: %(default)s)",
        )
    whose = f"whose statistics to bring features to (default: {WITHIN} within a corpus, {ACROSS} across)"
    add("--standardize", choices=MODES, help=whose)
    border = "where IEMOCAP's valence of 2.5 falls (default: %(default)s)"
    add("--label-rule", choices=RULES, default=defaults.label_rule, help=border)
    both = "of arousal and valence (default: both)"
    add("--targets", nargs="+", choices=TARGETS, metavar="TARGET", default=list(TARGETS), help=both)
    rounded = "of the convolution's products (default: %(default)s)"
    add("--precision", choices=PRECISIONS, default=defaults.precision, help=rounded)


def _checked(parser: argparse.ArgumentParser, chosen: dict[str, Any], fewest: int) -> Options:
    """What was chosen, where the flags agree; else the program ends with status 2."""
    # In the paper's order and once each, whatever order was typed: results are the same.
    chosen["targets"] = tuple(target for target in TARGETS if target in chosen["targets"])
    chosen["corpora"] = tuple(chosen["corpora"])
    if len(chosen["corpora"]) < fewest:
        parser.error(
            f"argument --corpora: {chosen['corpora'][0]} alone, expected two or more, separated by blanks"
        )
    if chosen["coordinator"] is None and (chosen["hosts"] is not None or chosen["host"] is not None):
        parser.error("--hosts and --host say nothing without --coordinator, expected it as well")
    if chosen["hosts"] is not None and chosen["host"] is not None and chosen["host"] >= chosen["hosts"]:
        parser.error(f"argument --host: {chosen['host']}, expected 0 to {chosen['hosts'] - 1} of --hosts")
    return Options(**chosen)


def _add_computing(parser: argparse.ArgumentParser) -> None:
    """Flags that change how long it takes, and no result."""
    positive = flags.whole(1, MOST)
    add = parser.add_argument_group("computing").add_argument
    add("--runs-at-once", type=positive, metavar="N", help="runs a stack and device (default: as fit)")
    add("--stacking", choices=STACKINGS, default="auto", help="of the runs of a stack (default: by device)")
    add("--devices", type=positive, metavar="N", help="of this host (default: all)")
    add("--memory", type=_gigabytes, metavar="GB", help="a device may use (default: what is free)")
    add(
        "--save-minutes",
        type=_minutes,
        default=Options.save_minutes,
        metavar="T",
        help="how often a stack in training is saved (default: 1)",
    )
    add("--save-epochs", type=positive, metavar="N", help="the same by epochs, whichever comes first")
    add(
        "--coordinator",
        type=_coordinator,
        metavar="HOST:PORT",
        help="of several hosts; auto under SLURM and on TPU pods",
    )
    add("--hosts", type=positive, metavar="N", help="how many, with --coordinator HOST:PORT")
    add("--host", type=flags.whole(0, MOST), metavar="I", help="which of them this is, from 0")


def _gigabytes(text: str) -> int:
    return max(1, int(_more_than_nothing("gigabytes", text) * 1e9))


def _minutes(text: str) -> float:
    return _more_than_nothing("minutes", text)


def _more_than_nothing(unit: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value <= MOST:
        raise argparse.ArgumentTypeError(f"{text!r}, expected {unit}, more than 0 and {MOST:,} at most")
    return value


def _coordinator(text: str) -> str:
    port = re.fullmatch(r"\S+:(\d{1,5})", text, re.ASCII)
    if text != "auto" and not (port and 0 < int(port[1]) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r}, expected HOST:PORT or auto")
    return text
