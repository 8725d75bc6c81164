"""A trained model as people want it: sound in, arousal and valence out.

    from ser_jax.recognizer import Recognizer
    recognizer = Recognizer.load("my-model")            # without a path: a demonstration, of synthetic speech
    said = recognizer("speech.wav")                     # or recognizer(samples, rate)
    said.targets["arousal"].label, said.targets["arousal"].probability

A recording is heard in windows of 7.5 s, each of which all networks, five seeds a target, are asked about.
"""

from ser_jax.recognizer.hearing import Heard, SoundError
from ser_jax.recognizer.recognition import Estimate, Recognition, Segment, Window, schema
from ser_jax.recognizer.recognizer import HopError, Recognizer
from ser_jax.recognizer.trained import ModelError, Trained, demonstration

__all__ = [
    "Estimate", "Heard", "HopError", "ModelError", "Recognition", "Recognizer", "Segment", "SoundError",
    "Trained", "Window", "demonstration", "schema",
]  # fmt: skip
