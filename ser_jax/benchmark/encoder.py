"""Compare the speed of the Whisper encoder with that of CTranslate2, on the same weights and log-mels.

Both compute in float32 on all cores of this machine, in one process, alternately.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ser_jax.benchmark import BenchmarkError
from ser_jax.devices import cores
from ser_jax.features.whisper import HEAD, Encoder, encode, normalize, read_encoder
from ser_jax.io import markdown_table

FRAMES = 750  # of log-mels, 7.5 s
VOCABULARY = 8  # of a decoder that is never used
TOLERANCE = 1e-3  # between the outputs


def compare(weights: Path, rounds: int, batches: tuple[int, ...]) -> str:
    """Return the table of both programs' times per utterance of 7.5 s, for batches of several sizes.

    Raises: BenchmarkError without CTranslate2, or if the outputs differ.
    """
    encoder = read_encoder(weights)
    lines = [["utterances at a time", "ser_jax, ms", "CTranslate2, ms", "speed of ser_jax / CTranslate2"]]
    with tempfile.TemporaryDirectory() as folder:
        other = _ctranslate2(encoder, Path(folder))
        for batch in batches:
            mel = np.random.default_rng(0).standard_normal((batch, FRAMES, encoder.bands), np.float32)
            seconds: list[tuple[float, float]] = []
            for _ in range(1 + rounds):  # the first compiles
                moments = [time.perf_counter()]
                found = np.asarray(_encoded(encoder, jnp.asarray(mel)))
                moments.append(time.perf_counter())
                expected = other(mel)
                moments.append(time.perf_counter())
                seconds.append((moments[1] - moments[0], moments[2] - moments[1]))
                difference = np.abs(found - expected).max()
                if difference > TOLERANCE:
                    raise BenchmarkError(f"outputs differ by {difference:.1g}, expected {TOLERANCE} at most")
            ours, theirs = (1e3 * statistics.median(each) / batch for each in zip(*seconds[1:], strict=True))
            lines.append([str(batch), f"{ours:.1f}", f"{theirs:.1f}", f"{theirs / ours:.2f}"])
    return markdown_table(lines)


@jax.jit
def _encoded(encoder: Encoder, mel: jax.Array) -> jax.Array:
    """Return the encoder's output of log-mels [B, t, bands] without padding."""
    found = encode(encoder, mel, jnp.full(len(mel), mel.shape[1]))[-1]
    return normalize(found, *(jnp.asarray(encoder.stem[f"layer_norm.{part}"]) for part in ("weight", "bias")))


def _ctranslate2(encoder: Encoder, folder: Path) -> Callable[[np.ndarray], np.ndarray]:
    """Return CTranslate2's encoder of the same weights, beside a decoder that is never used."""
    try:
        import ctranslate2
        from ctranslate2.specs.whisper_spec import WhisperSpec
    except ImportError as error:
        raise BenchmarkError(f"no CTranslate2 ({error}), expected: pip install ctranslate2") from error
    width = encoder.width
    spec = WhisperSpec(encoder.depth, width // HEAD, 1, 1)

    def put(place: Any, name: str, weights: Mapping[str, Any]) -> None:
        for own, part in (("weight", "weight"), ("bias", "bias"), ("gamma", "weight"), ("beta", "bias")):
            if hasattr(place, own):
                setattr(place, own, np.asarray(weights[f"{name}.{part}"], np.float32))

    for name in ("conv1", "conv2", "layer_norm"):
        put(getattr(spec.encoder, name), name, encoder.stem)
    spec.encoder.position_encodings.encodings = encoder.stem["embed_positions.weight"]
    for number, layer in enumerate(spec.encoder.layer):
        block = {name: weight[number] for name, weight in encoder.blocks.items()}
        put(layer.self_attention.layer_norm, "self_attn_layer_norm", block)
        put(layer.self_attention.linear[1], "self_attn.out_proj", block)
        put(layer.ffn.layer_norm, "final_layer_norm", block)
        put(layer.ffn.linear_0, "fc1", block)
        put(layer.ffn.linear_1, "fc2", block)
        joined, none = layer.self_attention.linear[0], np.zeros(width, np.float32)
        joined.weight = np.concatenate([block[f"self_attn.{one}_proj.weight"] for one in "qkv"])
        joined.bias = np.concatenate([block.get(f"self_attn.{one}_proj.bias", none) for one in "qkv"])
    for name, shape in _decoder_shapes(width).items():
        *path, last = name.split(".")
        place = spec.decoder
        for part in path:
            place = place[int(part)] if part.isdecimal() else getattr(place, part)
        setattr(place, last, np.zeros(shape, np.float32))
    spec.register_vocabulary(list(map(str, range(VOCABULARY))))
    spec.validate()
    spec.save(str(folder))
    options = {"device": "cpu", "compute_type": "float32", "intra_threads": cores()}
    model = ctranslate2.models.Whisper(str(folder), **options)

    def call(mel: np.ndarray) -> np.ndarray:
        view = ctranslate2.StorageView.from_array(np.ascontiguousarray(mel.transpose(0, 2, 1)))
        return np.array(model.encode(view))

    return call


def _decoder_shapes(width: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the weights of a decoder of one block, which CTranslate2 does not do without."""
    found: dict[str, tuple[int, ...]] = {
        "embeddings.weight": (VOCABULARY, width), "position_encodings.encodings": (1, width),
        "projection.weight": (VOCABULARY, width),
    }  # fmt: skip
    for name in ("", "layer.0.self_attention.", "layer.0.attention.", "layer.0.ffn."):
        found |= {f"{name}layer_norm.{part}": (width,) for part in ("gamma", "beta")}
    linear = {
        "self_attention.linear.0": (3, 1), "self_attention.linear.1": (1, 1), "attention.linear.0": (1, 1),
        "attention.linear.1": (2, 1), "attention.linear.2": (1, 1), "ffn.linear_0": (4, 1),
        "ffn.linear_1": (1, 4),
    }  # fmt: skip
    for own, (out, into) in linear.items():
        name = f"layer.0.{own}"
        found |= {f"{name}.weight": (out * width, into * width), f"{name}.bias": (out * width,)}
    return found
