"""Recognisers by lot, their exported files, and sounds that they are asked about."""

import functools
from typing import NamedTuple

import jax
import numpy as np
import onnxruntime
import recognisers

from ser_jax import model
from ser_jax.features import logmel
from ser_jax.model import AttentiveCNN
from ser_jax.recognizer import Recognizer, exporting
from ser_jax.recognizer.trained import Target, Temperature, Trained

TOLERANCE = 1e-4  # what is promised
CLOSE = 1e-5  # what float32 gives; features in float32 would not
REACH = 120_240  # samples of a window: 750 frames
RATE = 16_000
RNG = np.random.default_rng(0)

SOUNDS = {
    "one frame": RNG.uniform(-1, 1, 400),
    "0.3 s": recognisers.speech(0.3),
    "3 s": recognisers.speech(3),
    "7.5 s": recognisers.speech(7.5),
    "all frames": recognisers.speech(8)[:REACH],
    "longer": recognisers.speech(9),
    "silence": np.zeros(48_000),
    "a click": np.where(np.arange(48_000) == 24_000, 1.0, 0.0),
    "a square": np.where(np.arange(48_000) // 50 % 2, 1.0, -1.0),
    "next to nothing": RNG.uniform(-1e-6, 1e-6, 48_000),
    "at the floor": RNG.uniform(-1e-4, 1e-4, 48_000),
    "noise on an offset": 0.9 + RNG.uniform(-1e-4, 1e-4, 48_000),
    "a chirp": 0.9 * np.sin(np.arange(48_000) ** 2 / 2e6),
}
MODELS = {
    "two targets": {},
    "one target": {
        "targets": ("valence",),
        "seeds": 3,
        "sizes": AttentiveCNN(channels=24, kernel=7, stride=2, pool=25),
    },
    "one seed": {"seeds": 1, "sizes": AttentiveCNN(precision="bfloat16")},
}


class Exported(NamedTuple):
    """A recogniser and both of its files, ready to be asked."""

    recognizer: Recognizer
    session: onnxruntime.InferenceSession
    call: object

    def expected(self, samples):
        """What Python says of the first window."""
        found = {}
        for target, estimate in self.recognizer(samples, RATE).windows[0].targets.items():
            found[f"{target}_probability"] = estimate.probability
            found[f"{target}_spread"] = estimate.spread
            found[f"{target}_attention"] = [segment.weight for segment in estimate.attention]
        return found

    def onnx(self, samples):
        names = [output.name for output in self.session.get_outputs()]
        return dict(zip(names, self.session.run(names, {"samples": samples}), strict=True))

    def stablehlo(self, samples):
        count = min(len(samples), REACH)
        padded = np.zeros(REACH, np.float32)
        padded[:count] = samples[:count]
        return jax.device_get(self.call(padded, np.int32(count)))

    def hold(self, samples):
        """Both files against Python."""
        samples = samples.astype(np.float32)
        expected = self.expected(samples)
        rounds = self.recognizer.model.sizes.precision == "bfloat16"  # what differs at all may round apart
        close = TOLERANCE if rounds else CLOSE
        for found in (self.onnx(samples), self.stablehlo(samples)):
            assert found.keys() == expected.keys()
            for name, value in expected.items():
                np.testing.assert_allclose(found[name], value, rtol=0, atol=close, err_msg=name)


def by_lot(targets=("arousal", "valence"), seeds=5, sizes=None, facts=None) -> Trained:
    """No parameter is zero, as biases are before training, and all are so large that small faults show."""
    sizes = sizes or AttentiveCNN()
    rng = np.random.default_rng(1)

    def drawn(leaf):
        return rng.uniform(-0.15, 0.15, (seeds, *leaf.shape)).astype(np.float32)

    return Trained(
        sizes=sizes,
        filters=logmel.filterbank().toarray(),
        mean=rng.normal(-40, 5, sizes.bands).astype(np.float32),
        scale=(1 / rng.uniform(10, 20, sizes.bands)).astype(np.float32),
        targets={
            name: Target(Temperature(3.0 + i, 0.7 * i), jax.tree.map(drawn, model.shapes(sizes)))
            for i, name in enumerate(targets)
        },
        facts={**recognisers.FACTS, "seeds": seeds, **(facts or {})},
    )


@functools.cache
def exported(kind) -> Exported:
    trained = by_lot(**MODELS[kind])
    session = session_of(exporting.onnx(trained))
    call = jax.jit(jax.export.deserialize(bytearray(exporting.stablehlo(trained))).call)
    return Exported(Recognizer(trained), session, call)


def session_of(content) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors are raised; they need not be printed, too
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
