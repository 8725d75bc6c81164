"""Extract features by the encoder of OpenAI's Whisper: pure functions of its weights, and a front end.

The encoder (Radford et al. 2022, arXiv 2212.04356, Sec. 2.2) computes 80 or 128 log-mels every 10 ms, two
convolutions, the second of which halves the rate to 50 Hz, and transformer blocks. Whisper pads recordings to
30 s; here the padding of a batch is masked, so that features depend on the recording alone.
"""

import contextlib
import contextvars
import dataclasses
import functools
import hashlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ser_jax.features import HOP, RATE, WINDOW, Frontend, FrontendError
from ser_jax.features.spectrum import power
from ser_jax.shapes import Array, Float, Float16, Int, Shaped

PACKAGED = Path(__file__).parent / "whisper_tiny_en"
HEAD = 64  # numbers per head of attention, in Whisper of any size
POSITIONS = 50  # per second
BATCH = 8  # recordings encoded at a time
BUCKET = 24_000  # samples; batches are padded to multiples of it, since every length is compiled
EPSILON = 1e-5  # of the layer norms
DYNAMIC_RANGE = 8.0  # of the log-mels below their maximum, in powers of ten
LOUDEST = 1.0  # of relative log-mels, in powers of ten
LOUD, STEADY = 10, 5  # frames of 10 ms whose mean power is compared to find speech
Weights = Mapping[str, Any]  # arrays
_offline = contextvars.ContextVar("offline", default=False)
# The axes of tensors: the width, mel bands, positions, and hidden units of a block.
_STEM = {
    "conv1.weight": "d m 3", "conv1.bias": "d", "conv2.weight": "d d 3", "conv2.bias": "d",
    "embed_positions.weight": "p d", "layer_norm.weight": "d", "layer_norm.bias": "d",
}  # fmt: skip
_BLOCK = {
    **{f"self_attn.{name}_proj.weight": "d d" for name in ("q", "k", "v", "out")},
    **{f"self_attn.{name}_proj.bias": "d" for name in ("q", "v", "out")},
    "fc1.weight": "h d", "fc1.bias": "h", "fc2.weight": "d h", "fc2.bias": "d",
    **{f"{name}_layer_norm.{part}": "d" for name in ("self_attn", "final") for part in ("weight", "bias")},
}  # fmt: skip


class Encoder(NamedTuple):
    """The weights of an encoder of L blocks and width d, float32.

    Attributes:
      stem: those of the two convolutions, the positions [P, d] and the last layer norm.
      blocks: those of the blocks, each with a leading L.
    """

    stem: Weights
    blocks: Weights

    @property
    def bands(self) -> int:
        """The number of mel bands."""
        return self.stem["conv1.weight"].shape[1]

    @property
    def width(self) -> int:
        """The numbers per frame, d."""
        return self.stem["conv1.weight"].shape[0]

    @property
    def depth(self) -> int:
        """The number of blocks, L."""
        return len(self.blocks["fc1.bias"])


def read_encoder(place: Path) -> Encoder:
    """Read an encoder from a file of safetensors, or a folder of them.

    Tensors have the names of the Hugging Face hub. A decoder in the same files is not read.

    Raises: FrontendError naming the file, and the tensor that is missing or has another shape.
    """
    from safetensors import SafetensorError, safe_open

    files = sorted(place.glob("*.safetensors")) if place.is_dir() else [place]
    found: dict[str, np.ndarray] = {}
    origin: dict[str, Path] = {}
    try:
        for file in files:
            with safe_open(file, "numpy") as tensors:
                for name in tensors.keys():  # noqa: SIM118  not a mapping
                    _, encoder, own = name.rpartition("encoder.")
                    if encoder:
                        found[own], origin[own] = tensors.get_tensor(name).astype(np.float32), file
    except (OSError, SafetensorError, TypeError) as error:
        raise FrontendError(f"{file}: {error}, expected Whisper's weights as safetensors") from error
    depth = len({name.split(".")[1] for name in found if name.startswith("layers.")})
    each = [{name: f"layers.{number}.{name}" for name in _BLOCK} for number in range(max(depth, 1))]
    axes = _STEM | {full: _BLOCK[name] for block in each for name, full in block.items()}
    sizes: dict[str, Any] = {"3": 3}
    for name, own in axes.items():
        if name not in found:
            raise FrontendError(f"{place}: lacks {name}, expected the encoder of a Whisper model")
        shape = list(found[name].shape)
        sizes = dict(zip(own.split(), shape, strict=False)) | sizes  # the first tensor with an axis decides
        if shape != (expected := [sizes.get(axis, "any") for axis in own.split()]):
            raise FrontendError(f"{origin[name]}: {name} is {shape}, expected {expected}")
    if sizes["d"] % HEAD:
        raise FrontendError(f"{place}: encoder of width {sizes['d']}, expected a multiple of {HEAD}")
    blocks = {name: np.stack([found[block[name]] for block in each]) for name in _BLOCK}
    return Encoder({name: found[name] for name in _STEM}, blocks)


@functools.cache
def mel_filters(bands: int) -> np.ndarray:
    """Return the mel filters [201, bands] float32, Slaney's, 0 to 8 kHz."""
    from librosa.filters import mel

    return np.ascontiguousarray(mel(sr=RATE, n_fft=WINDOW, n_mels=bands).T)


def log_mel(
    samples: Float[Array, "B samples"],
    length: Int[Array, " B"],
    filters: Float[Array, "bins bands"],
    relative: bool = False,
) -> Float[Array, "B t bands"]:
    """Return Whisper's log-mels of recordings of `length` samples, zero-padded; t = samples // 160.

    Frames are centred every 160 samples; a level is log10 of the power, at least the recording's maximum
    minus 8, scaled by (level + 4) / 4. Those of padding mean nothing. If `relative`, the maximum of every
    recording is 1.25.
    """
    count = samples.shape[1] // HOP
    half = WINDOW // 2
    padded = jnp.concatenate([samples[:, half:0:-1], samples, jnp.zeros_like(samples[:, :half])], axis=1)
    least = -30.0 if relative else -10.0
    level = jnp.log10(jnp.maximum(power(padded)[:, :count] @ filters, 10**least))
    valid = np.arange(count)[None, :, None] < (length // HOP)[:, None, None]
    peak = jnp.max(level, axis=(1, 2), keepdims=True, where=valid, initial=least)
    level = jnp.maximum(level, peak - DYNAMIC_RANGE)
    return ((level - (peak - LOUDEST) if relative else level) + 4) / 4


def trim(
    mel: Float[Array, "B t bands"], frames: Int[Array, " B"], below: float
) -> tuple[Float[Array, "B t bands"], Int[Array, " B"]]:
    """Move speech to the beginning of log-mels, and count its frames.

    Speech starts with the first, and ends with the last, 50 ms whose mean power is at most `below` dB less
    than that of the loudest 100 ms.
    """
    place = np.arange(mel.shape[1])[None]
    power = jnp.where(place < frames[:, None], (10 ** (4 * mel - 4)).sum(axis=2), 0)

    def mean(width: int) -> Array:
        padded = jnp.pad(power, [(0, 0), (width // 2, width - 1 - width // 2)])
        each = [padded[:, i : i + mel.shape[1]] for i in range(width)]
        return sum(each[1:], each[0]) / width

    threshold = mean(LOUD).max(axis=1, keepdims=True) * 10 ** (-below / 10)
    is_speech = (mean(STEADY) >= threshold) & (place < frames[:, None])
    first = jnp.where(is_speech, place, mel.shape[1]).min(axis=1)
    last = jnp.where(is_speech, place, 0).max(axis=1)
    moved = jnp.minimum(first[:, None] + place, mel.shape[1] - 1)
    return mel[np.arange(len(mel))[:, None], moved], last - first + 1


def encode(
    encoder: Encoder, mel: Float[Array, "B t bands"], frames: Int[Array, " B"]
) -> Float[Array, "blocks B p d"]:
    """Return the embedding and the output of every block, of p = (t + 1) // 2 positions.

    Args:
      encoder: the weights; at least p positions.
      mel: log-mels, of which the first `frames` are not padding. Outputs beyond (frames + 1) // 2 positions
        mean nothing; no other output depends on padding.
    """
    stem = encoder.stem
    x = _convolve(_keep(mel, frames), stem["conv1.weight"], stem["conv1.bias"], 1)
    x = _convolve(_keep(x, frames), stem["conv2.weight"], stem["conv2.bias"], 2)
    valid = np.arange(x.shape[1])[None] < ((frames + 1) // 2)[:, None]
    x = x + stem["embed_positions.weight"][None, : x.shape[1]]

    def step(x: Array, block: Weights) -> tuple[Array, Array]:
        x = _block(x, block, valid)
        return x, x

    return jnp.concatenate([x[None], lax.scan(step, x, encoder.blocks)[1]])


def normalize(
    x: Float[Array, "B p d"], weight: Float[Array, " d"], bias: Float[Array, " d"]
) -> Float[Array, "B p d"]:
    """Return a layer norm, such as the encoder's last of the output of its last block."""
    centred = x - x.mean(-1, keepdims=True)
    scale = lax.rsqrt((centred**2).mean(-1, keepdims=True) + EPSILON)
    return centred * scale * weight[None, None] + bias[None, None]


def _keep(x: Array, frames: Array) -> Array:
    """Set frames from `frames` on to zero, as a convolution pads."""
    return jnp.where(np.arange(x.shape[1])[None, :, None] < frames[:, None, None], x, 0)


def _convolve(x: Array, weight: Array, bias: Array, stride: int) -> Array:
    layout = ("NWC", "OIW", "NWC")
    found = lax.conv_general_dilated(x, weight, (stride,), [(1, 1)], dimension_numbers=layout)
    return jax.nn.gelu(found + bias[None, None], approximate=False)


def _block(x: Array, block: Weights, valid: Any) -> Array:
    """Return the output of a pre-norm transformer block; only `valid` [B, p] positions are attended to."""

    def linear(name: str, x: Array) -> Array:
        product = x @ block[f"{name}.weight"].T
        bias = block.get(f"{name}.bias")  # the keys have none
        return product if bias is None else product + bias[None, None]

    def norm(name: str, x: Array) -> Array:
        return normalize(x, block[f"{name}.weight"], block[f"{name}.bias"])

    heads = (*x.shape[:2], -1, HEAD)
    own = norm("self_attn_layer_norm", x)
    q, k, v = (linear(f"self_attn.{one}_proj", own).reshape(heads) for one in "qkv")
    scores = jnp.einsum("bqhc,bkhc->bhqk", q / math.sqrt(HEAD), k)
    weights = jax.nn.softmax(jnp.where(valid[:, None, None], scores, -jnp.inf))
    attended = jnp.einsum("bhqk,bkhc->bqhc", weights, v).reshape(x.shape)
    x = x + linear("self_attn.out_proj", attended)
    own = jax.nn.gelu(linear("fc1", norm("final_layer_norm", x)), approximate=False)
    return x + linear("fc2", own)


@dataclasses.dataclass(frozen=True)
class Whisper(Frontend):
    """Outputs of an encoder's blocks, side by side, averaged over `stride` positions of 20 ms.

    Attributes:
      weights: a file of safetensors, a folder of them, or the name of a repository on the Hugging Face hub,
        as in "openai/whisper-base" (extra `hub`); by default the first two blocks of tiny.en, which come with
        the package.
      revision: a branch, tag or commit of that repository, by default the latest commit; resolved to a
        commit, which configurations store.
      layers: the blocks, counted from 1, without the encoder's last layer norm; 0 is the embedding.
      stride: positions of 20 ms to average per frame.
      relative: whether levels are relative to the loudest of the samples, so that the gain does not matter.
      trim: cut off the sound before and after speech that is more than this many dB below the loudest, as in
        `trim`; times of frames count from the cut. By default nothing is cut.
    """

    name: ClassVar[str] = "whisper"
    weights: str = ""
    revision: str = "main"
    layers: tuple[int, ...] = (2,)
    stride: int = 4
    relative: bool = False
    trim: float | None = None

    def __post_init__(self) -> None:
        place, revision = self._located
        object.__setattr__(self, "revision", revision)
        encoder, _ = _read(place)
        if not self.layers or not all(0 <= layer <= encoder.depth for layer in self.layers):
            raise FrontendError(f"layers {self.layers}, expected some of 0 to {encoder.depth}")
        most = len(encoder.stem["embed_positions.weight"]) / POSITIONS
        if not 1 <= self.stride <= self.seconds * POSITIONS <= most * POSITIONS:
            given = f"stride {self.stride} and {self.seconds:g} s"
            raise FrontendError(f"{given}, expected positions of 20 ms within {most:g} s")
        if self.trim is not None and not 0 < self.trim <= 60:
            raise FrontendError(f"trim {self.trim:g}, expected more than 0, at most 60 dB")

    @property
    def rate(self) -> float:  # type: ignore[override]  # follows from a field
        """The frames per second."""
        return POSITIONS / self.stride

    @property
    def frames(self) -> int:
        """T, to which shorter utterances are padded with zeros."""
        return math.ceil(self.seconds * POSITIONS / self.stride)

    @property
    def dims(self) -> int:  # type: ignore[override]
        """F, the width of all layers."""
        return len(self.layers) * self._encoder.width

    @functools.cached_property
    def _located(self) -> tuple[Path, str]:
        return _locate(self.weights, self.revision)

    @functools.cached_property
    def _encoder(self) -> Encoder:
        encoder, _ = _read(self._located[0])
        blocks = {name: weight[: max(self.layers)] for name, weight in encoder.blocks.items()}
        return encoder._replace(blocks=blocks)

    def description(self) -> dict[str, Any]:
        """Return what determines the features, the weights by their SHA-256."""
        _, digest = _read(self._located[0])
        own = {key: getattr(self, key) for key in ("seconds", "layers", "stride")}
        changed = {key: value for key in ("relative", "trim") if (value := getattr(self, key))}
        return {"sha256": digest, "dtype": "float16", **own, **changed}

    def extract(self, samples: Shaped[np.ndarray, " n"]) -> Float16[np.ndarray, "t F"]:
        """Return the features of one recording."""
        return self.extract_batch([samples])[0]

    def extract_batch(
        self, recordings: Sequence[Shaped[np.ndarray, "_"]]
    ) -> list[Float16[np.ndarray, "_ F"]]:
        """Return the features of several recordings; those of similar length are encoded together."""
        limit, found = round(self.seconds * RATE), [np.zeros(0, np.float16)] * len(recordings)
        lengths = np.array([min(len(one), limit) for one in recordings])
        for part in np.split(np.argsort(lengths, kind="stable"), range(BATCH, len(lengths), BATCH)):
            length = np.full(1 if len(part) == 1 else BATCH, WINDOW)
            length[: len(part)] = lengths[part]
            samples = np.zeros((len(length), min(limit, -(-length.max() // BUCKET) * BUCKET)), np.float32)
            for row, i in zip(samples, part, strict=False):
                row[: lengths[i]] = recordings[i][: lengths[i]]
            x, counts = map(np.asarray, self._compute(samples, length))
            for row, count, i in zip(x, counts, part, strict=False):
                found[i] = row[:count]
        return found

    def traceable(self, samples: Any, count: Any) -> tuple[Any, Any]:
        """Return the features of one recording in JAX, rounded to float16 as those that are stored."""
        x = samples[None].astype(np.float32)
        features, frames = self._compute(x, count[None])
        return features[0], frames[0]

    def _compute(self, samples: Any, length: Any) -> tuple[Array, Array]:
        how = self.layers, self.stride, self.relative, self.trim
        return _extract(self._encoder, samples, length, *how)


@functools.partial(jax.jit, static_argnums=(3, 4, 5, 6))
def _extract(
    encoder: Encoder,
    samples: Array,
    length: Array,
    layers: tuple[int, ...],
    stride: int,
    relative: bool,
    below: float | None,
) -> tuple[Array, Array]:
    """Return the features [B, T, F] float16 of zero-padded recordings, and how many frames are theirs [B]."""
    frames = length // HOP
    mel = log_mel(samples, length, jnp.asarray(mel_filters(encoder.bands)), relative)
    if below is not None:
        mel, frames = trim(mel, frames, below)
    each = encode(encoder, mel, frames)
    x = jnp.concatenate([each[layer] for layer in layers], axis=-1)
    count = -(-x.shape[1] // stride)
    valid = np.arange(count * stride)[None] < ((frames + 1) // 2)[:, None]
    x = jnp.pad(x, [(0, 0), (0, count * stride - x.shape[1]), (0, 0)])
    grouped = jnp.where(valid[..., None], x, 0).reshape(len(x), count, stride, -1)
    valid_count = jnp.maximum(valid.reshape(len(x), count, stride).sum(2), 1)
    largest = float(jnp.finfo(jnp.float16).max)  # which blocks of large models exceed
    found = jnp.clip(grouped.sum(2) / valid_count[..., None], -largest, largest).astype(jnp.float16)
    return found, -(-((frames + 1) // 2) // stride)


@functools.lru_cache(maxsize=2)
def _read(place: Path) -> tuple[Encoder, str]:
    """Return an encoder, and the SHA-256 of its weights in hexadecimal."""
    encoder = read_encoder(place)
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(encoder):
        digest.update(np.ascontiguousarray(leaf).data)
    return encoder, digest.hexdigest()


@contextlib.contextmanager
def offline() -> Iterator[None]:
    """Find weights on the Hugging Face hub only if they were downloaded before."""
    token = _offline.set(True)
    try:
        yield
    finally:
        _offline.reset(token)


def _locate(weights: str, revision: str) -> tuple[Path, str]:
    """Return the file or folder of weights, and their revision: the commit if they are on the hub.

    Raises: FrontendError naming the weights.
    """
    place = Path(weights).expanduser() if weights else PACKAGED
    if place.exists():
        return place, revision
    absent = f"--features.weights {weights}: no such file or folder"
    if not re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", weights):
        raise FrontendError(f"{absent}, expected one, or the name of a repository, as in openai/whisper-base")
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        extra = 'expected a file or folder, or the extra: pip install "ser_jax[hub]"'
        raise FrontendError(f"{absent}, {extra}") from error
    options: dict[str, Any] = {"revision": revision, "allow_patterns": ["*.safetensors"]}
    try:
        place = Path(snapshot_download(weights, local_files_only=_offline.get(), **options))
    except Exception as error:  # the hub's own errors and those of its HTTP client
        if _offline.get():
            expected = f"expected revision {revision} of that repository to be downloaded before"
            raise FrontendError(f"{absent}, {expected}") from error
        raise FrontendError(
            f"--features.weights {weights}: {error}, expected a repository of Whisper's"
        ) from error
    return place, place.name  # a snapshot is named by its commit
