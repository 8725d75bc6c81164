"""Cross-lingual and multilingual speech emotion recognition: the attentive CNN of Neumann & Vu (ICASSP 2018).

Dimensions, named the same way everywhere:

    N  utterances of a corpus        R  runs: models trained at once, one per (target, fold, seed)
    M  some of them, in a list       A  targets of a recogniser, each with R seeds
    D  those that a run develops on  W  epochs after which it is asked about these
    B  utterances of a batch         G  groups of utterances that share one standardisation
    T  frames, 10 ms apart (750)     P  positions of the convolution, `stride` frames apart
    t  those of any sound            S  segments: what the max-pooling leaves (8)
    F  mel bands (26)                C  channels: kernels of the convolution (200)
    K  classes (2)                   Q  quantiles of a band

What may be relied on is here: `from ser_jax import load`, or `ser_jax.load`; a name is imported when it is
asked for. Everything else may change without notice.

    prepare, load, facts           a database to a prepared corpus, that to arrays; what is known of it
    Corpus, Facts                  what they are
    batches                        of a corpus, for a training loop of one's own

    classes                        annotations to classes, by one of the paper's two rules
    folds, Fold                    who trains, develops and tests, no speaker on two sides
    moments, affine, statistics    a run's standardisation, from sums over every utterance
    Membership, grouping           who is standardised with whom

    Architecture                   what a network has to be
    ModelConfig                    the paper's and its sizes
    init, apply, Output            parameters; what a network says of a batch: logits and attention

    TrainConfig, fit, fit_runs     training of one run, and of a stack of them side by side
    Data, Runs, stack              what runs share, what sets them apart, several as one
    inputs, predict                what a run hears, and what a stack says
    Progress, Prediction           how far training came; probabilities and attention
    Machine, use_all_cores         the devices of this host; of a processor every core as one
    compute, Asked, Done           any number of runs on them, each asked about utterances of its own
    key                            a run's, from its seed, target and fold

    uar, pooled_uar                unweighted average recall, of one run and of several
    recalls, confusion             what it is made of
    interval, Interval, chance     how far it can be trusted, and what guessing would give
    paired_test, holm              whether two settings differ, and several of them
    attention                      a module: which segment wins, by how much (Sec. 6)

    Recognizer                     a trained model: sound in, arousal and valence out
    Recognition, Window            what it says of a recording, and of 7.5 s
    Estimate, Segment              of one target, and where its attention lies

    UserError                      what every error that a user can mend is
"""

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = [
    "Architecture", "Asked", "Corpus", "Data", "Done", "Estimate", "Facts", "Fold", "Interval", "Machine",
    "Membership", "ModelConfig", "Output", "Prediction", "Progress", "Recognition", "Recognizer", "Runs",
    "Segment", "TrainConfig", "UserError", "Window", "affine", "apply", "attention", "batches", "chance",
    "classes", "compute", "confusion", "facts", "fit", "fit_runs", "folds", "grouping", "holm", "init",
    "inputs", "interval", "key", "load", "moments", "paired_test", "pooled_uar", "predict", "prepare",
    "recalls", "stack", "statistics", "uar", "use_all_cores",
]  # fmt: skip

if TYPE_CHECKING:
    from ser_jax import attention
    from ser_jax.data import Corpus, Facts, batches, facts, load, prepare
    from ser_jax.data.folds import Fold, folds
    from ser_jax.data.labels import classes
    from ser_jax.data.standardize import Membership, affine, grouping, moments, statistics
    from ser_jax.devices import Machine, use_all_cores
    from ser_jax.engine import Asked, Done, compute
    from ser_jax.errors import UserError
    from ser_jax.inference import Interval, chance, holm, interval, paired_test
    from ser_jax.metrics import confusion, pooled_uar, recalls, uar
    from ser_jax.model import Architecture, ModelConfig, Output, apply, init
    from ser_jax.recognizer import Estimate, Recognition, Recognizer, Segment, Window
    from ser_jax.runs import Data, Prediction, Runs, inputs, key, predict, stack
    from ser_jax.train import Progress, TrainConfig, fit, fit_runs
else:
    _HOMES = {
        "data": "Corpus Facts batches facts load prepare",
        "data.folds": "Fold folds",
        "data.labels": "classes",
        "data.standardize": "Membership affine grouping moments statistics",
        "engine": "Asked Done compute",
        "errors": "UserError",
        "inference": "Interval chance holm interval paired_test",
        "devices": "Machine use_all_cores",
        "metrics": "confusion pooled_uar recalls uar",
        "model": "Architecture ModelConfig Output apply init",
        "recognizer": "Estimate Recognition Recognizer Segment Window",
        "runs": "Data Prediction Runs inputs key predict stack",
        "train": "Progress TrainConfig fit fit_runs",
    }

    def __getattr__(name: str) -> object:
        """A public name, imported when it is asked for."""
        for home, names in _HOMES.items():
            if name in names.split():
                globals()[name] = getattr(importlib.import_module(f"ser_jax.{home}"), name)
                return globals()[name]
        if name in __all__:  # a module
            return importlib.import_module(f"ser_jax.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
