"""Cross-lingual and multilingual speech emotion recognition: the attentive CNN of Neumann & Vu (ICASSP 2018).

Dimensions of arrays, as in `Float[Array, "B T F"]` ("*R" is an optional leading R):

    N  utterances of a corpus            R  runs trained at once, one per task, fold and seed
    M  some of them, in a list           A  targets of a recogniser, each with R seeds
    B  utterances of a batch             W  epochs after which development utterances are predicted
    U  unlabelled utterances of it       G  groups of utterances that share one scaler
    T  frames, 10 ms apart (750)         P  positions of the convolution, `stride` frames apart
    t  frames before padding             S  segments: outputs of the max-pooling (8)
    F  numbers per frame, bands (26)     C  channels: kernels of the convolution (200)
    K  outputs: classes (2) or numbers   D  embedding: inputs of the last layer

The public interface, imported when it is first used; everything else may change without notice:

    prepare, load, facts           prepare a database; load a corpus with or without features
    Corpus, Facts                  the results of load and facts
    batches                        batches of a corpus, for your own training loop
    features                       a module: front ends, samples to features
    Frontend, LogMel, Waveform     the base class of front ends, and two of them

    tasks                          a module: labels, losses and scores
    Task, Binary, Categorical      the interface; arousal or valence; emotions
    Regression                     ratings as numbers, scored by CCC
    classes                        annotations to classes, by one of the paper's two rules
    folds, Fold                    speaker-independent cross-validation
    moments, fit_scaler, Scaler    standardisation, from sums over every utterance
    Membership, group              which utterances share a scaler

    Architecture, Output           the interface of a network, and its outputs
    AttentiveCNN, Probe            the paper's network; the linear baseline
    init, apply                    initialise parameters; compute the outputs for a batch
    augment, objectives            modules: augmentations; what training minimises

    TrainConfig, Procedure         how to train; this with network and loss
    fit, fit_runs                  train one run, or a stack of runs
    Data, Runs, stack              data that runs share; arrays per run; make a stack of runs
    inputs, predict                the standardized features of a run; predictions of a stack
    Machine, use_all_cores         the devices of this host; use every core as a device
    compute, RunSpec, RunResult    train and predict any number of runs on all devices
    key                            the random key of a run, from its seed, stream and fold
    Config                         the configuration of an experiment, with all defaults

    uar, recalls, confusion, ccc   metrics
    statistics                     a module: intervals and tests over seeds and speakers
    attention                      a module: where the largest weight is, and by how much (Sec. 6)

    Recognizer                     a trained model: recordings to predictions
    Prediction, Window             the predictions for a recording, and for 7.5 s
    Estimate, Segment              the prediction of one task, and its attention

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
