"""Cross-lingual and multilingual speech emotion recognition: the attentive CNN of Neumann & Vu (ICASSP 2018).

Dimensions of arrays, as in `Float[Array, "B T F"]` ("*R" stands for a leading R or none):

    N  utterances of a corpus            R  runs trained at once, one per task, fold and seed
    M  some of them, in a list           A  targets of a recogniser, each with R seeds
    B  utterances of a batch             W  epochs after which development utterances are predicted
    U  of these without labels           G  groups of utterances that share one scaler
    T  frames, 10 ms apart (750)         P  positions of the convolution, `stride` frames apart
    t  frames of any sound               S  segments: what the max-pooling leaves (8)
    F  numbers per frame, bands (26)     C  channels: kernels of the convolution (200)
    K  outputs: classes (2) or numbers   D  embedding: what the last layer sees

The public interface, imported when it is first used; everything else may change without notice:

    prepare, load, facts           a database to a prepared corpus, to arrays, to facts without arrays
    Corpus, Facts                  what these return
    batches                        of a corpus, for a training loop of your own
    features                       a module: front ends, samples to features
    Frontend, LogMel, Waveform     their base, and those that come with the package

    tasks                          a module: what is predicted, with labels, loss and scores
    Task, Binary, Categorical      the interface; arousal or valence; emotions
    Regression                     ratings as numbers, by CCC
    classes                        annotations to classes, by one of the paper's two rules
    folds, Fold                    speaker-independent cross-validation
    moments, fit_scaler, Scaler    standardisation, from sums over every utterance
    Membership, group              which utterances share a scaler

    Architecture, Output           the interface of a network, and what it returns
    AttentiveCNN, Probe            the paper's network; the linear baseline
    init, apply                    parameters, and outputs for a batch
    augment, objectives            modules: augmentations, and what is minimised

    TrainConfig, Procedure         how runs are trained; with network and loss
    fit, fit_runs                  training of one run, and of a stack of them
    Data, Runs, stack              what runs share, what distinguishes them, several as one
    inputs, predict                the standardized features of a run; predictions of a stack
    Machine, use_all_cores         the devices of this host; every core of a processor as one
    compute, RunSpec, RunResult    any number of runs on them, with their predictions
    key                            of a run, from its seed, stream and fold
    Config                         of an experiment, the source of all defaults

    uar, recalls, confusion, ccc   metrics
    statistics                     a module: intervals and tests over seeds and speakers
    attention                      a module: which segment wins, by how much (Sec. 6)

    Recognizer                     a trained model: recordings to predictions
    Prediction, Window             its predictions for a recording, and for 7.5 s
    Estimate, Segment              of one task, and where its attention lies

    UserError                      base class of errors that a user can fix
"""

import importlib
from typing import TYPE_CHECKING

__version__ = "2.0.0.dev0"
__all__ = [
    "Architecture", "AttentiveCNN", "Binary", "Categorical", "Config", "Corpus", "Data", "Estimate", "Facts",
    "Fold", "Frontend", "LogMel", "Machine", "Membership", "Output", "Prediction", "Probe", "Procedure",
    "Recognizer", "Regression", "RunResult", "RunSpec", "Runs", "Scaler", "Segment", "Task", "TrainConfig",
    "UserError", "Waveform", "Window", "apply", "attention", "augment", "batches", "ccc", "classes",
    "compute", "confusion", "facts", "features", "fit", "fit_runs", "fit_scaler", "folds", "group", "init",
    "inputs", "key", "load", "moments", "objectives", "predict", "prepare", "recalls", "stack", "statistics",
    "tasks", "uar", "use_all_cores",
]  # fmt: skip

if TYPE_CHECKING:
    from ser_jax import attention, augment, features, objectives, statistics, tasks
    from ser_jax.data import Corpus, Facts, batches, facts, load, prepare
    from ser_jax.data.folds import Fold, folds
    from ser_jax.data.labels import classes
    from ser_jax.data.standardize import Membership, Scaler, fit_scaler, group, moments
    from ser_jax.devices import Machine, use_all_cores
    from ser_jax.engine import RunResult, RunSpec, compute
    from ser_jax.errors import UserError
    from ser_jax.experiment.config import Config
    from ser_jax.features import Frontend, LogMel, Waveform
    from ser_jax.metrics import ccc, confusion, recalls, uar
    from ser_jax.model import Architecture, AttentiveCNN, Output, Probe, apply, init
    from ser_jax.recognizer import Estimate, Prediction, Recognizer, Segment, Window
    from ser_jax.tasks import Binary, Categorical, Regression, Task
    from ser_jax.train import Data, Procedure, Runs, TrainConfig, fit, fit_runs, inputs, key, predict, stack
else:
    _HOMES = {
        "data": "Corpus Facts batches facts load prepare",
        "data.folds": "Fold folds",
        "data.labels": "classes",
        "data.standardize": "Membership Scaler fit_scaler group moments",
        "devices": "Machine use_all_cores",
        "engine": "RunResult RunSpec compute",
        "errors": "UserError",
        "experiment.config": "Config",
        "features": "Frontend LogMel Waveform",
        "metrics": "ccc confusion recalls uar",
        "model": "Architecture AttentiveCNN Output Probe apply init",
        "recognizer": "Estimate Prediction Recognizer Segment Window",
        "tasks": "Binary Categorical Regression Task",
        "train": "Data Procedure Runs TrainConfig fit fit_runs inputs key predict stack",
    }

    def __getattr__(name: str) -> object:
        """Import a public name when it is first used."""
        for home, names in _HOMES.items():
            if name in names.split():
                globals()[name] = getattr(importlib.import_module(f"ser_jax.{home}"), name)
                return globals()[name]
        if name in __all__:  # a module
            return importlib.import_module(f"ser_jax.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
