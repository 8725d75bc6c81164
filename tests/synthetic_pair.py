"""The synthetic pair of corpora, and the paper's four settings on it."""

from experiments.crosslingual import CROSSLINGUAL
from experiments.finetuning import FINETUNED
from experiments.monolingual import MONOLINGUAL
from experiments.multilingual import MULTILINGUAL
from experiments.options import Options, parse
from ser_jax.cli import main as ser_jax

SETTINGS = [MONOLINGUAL, MULTILINGUAL, CROSSLINGUAL, FINETUNED]
PAIR = ("synthetic_en", "synthetic_fr")
FLAGS = ["--seeds", "2", "--folds", "3", "--epochs", "12", "--finetune-samples", "30",
         "--finetune-epochs", "3"]  # fmt: skip


def made(root):
    """A data folder with both synthetic corpora, made by the command line."""
    assert ser_jax(["synthesize", str(root / "trees"), "--utterances", "115", "--seed", "1"]) == 0
    for name, builder, tree in zip(
        PAIR, ("iemocap", "recola"), ("IEMOCAP_full_release", "RECOLA"), strict=True
    ):
        source = str(root / "trees" / tree)
        flags = ["--source", source, "--name", name, "--data-dir", str(root / "data"), "--workers", "1"]
        assert ser_jax(["prepare", builder, *flags]) == 0
    return root / "data"


def typed(speech, out, *flags):
    """What is typed after the name of an experiment."""
    return ["--corpora", *PAIR, "--data-dir", str(speech), "--out", str(out), *flags]


def options(speech, out, **changes):
    given = parse("", "table2", typed(speech, out, *FLAGS))
    return Options(**{**vars(given), **changes})
