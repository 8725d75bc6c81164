"""Use a trained model: map recordings to predictions of arousal, valence or any other task.

    from ser_jax.recognizer import Recognizer
    recognizer = Recognizer.load("my-model")      # without a path: the default model of the package
    prediction = recognizer("speech.wav")         # or recognizer(samples, rate)
    prediction.tasks["arousal"].label, prediction.tasks["arousal"].values["high"]

A recording is cut into overlapping windows of 7.5 s; each is predicted by all networks, five seeds per task.
"""

from ser_jax.recognizer.recognizer import Estimate, HopError, Prediction, Recognizer, Segment, Window, schema
from ser_jax.recognizer.recording import Recording, RecordingError, read_recording
from ser_jax.recognizer.trained import ModelError, TaskModel, Trained, packaged

__all__ = [
    "Estimate", "HopError", "ModelError", "Prediction", "Recognizer", "Recording", "RecordingError",
    "Segment", "TaskModel", "Trained", "Window", "packaged", "read_recording", "schema",
]  # fmt: skip
