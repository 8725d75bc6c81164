"""Whisper encoders of random weights."""

import os
import tempfile

import numpy as np
from safetensors.numpy import save_file

WIDTH, DEPTH, POSITIONS = 128, 3, 400


def draw(seed=0, prefix="model.encoder.", depth=DEPTH):
    """Return random weights by their names on the hub, width 128 in two heads."""
    rng = np.random.default_rng(seed)
    shapes = {
        "conv1.weight": (WIDTH, 80, 3), "conv1.bias": (WIDTH,), "conv2.weight": (WIDTH, WIDTH, 3),
        "conv2.bias": (WIDTH,), "embed_positions.weight": (POSITIONS, WIDTH), "layer_norm.weight": (WIDTH,),
        "layer_norm.bias": (WIDTH,),
    }  # fmt: skip
    for layer in range(depth):
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes[f"layers.{layer}.self_attn.{name}.weight"] = (WIDTH, WIDTH)
            if name != "k_proj":
                shapes[f"layers.{layer}.self_attn.{name}.bias"] = (WIDTH,)
        for name, out, into in (("fc1", 4 * WIDTH, WIDTH), ("fc2", WIDTH, 4 * WIDTH)):
            shapes[f"layers.{layer}.{name}.weight"], shapes[f"layers.{layer}.{name}.bias"] = (
                (out, into),
                (out,),
            )
        for name in ("self_attn_layer_norm", "final_layer_norm"):
            shapes |= {f"layers.{layer}.{name}.{part}": (WIDTH,) for part in ("weight", "bias")}
    found = {}
    for name, shape in shapes.items():
        scale = 1 / np.sqrt(np.prod(shape[1:])) if len(shape) > 1 else 0.3
        found[prefix + name] = (scale * rng.standard_normal(shape)).astype(np.float32)
    return found


def written(**options):
    """Write such an encoder and return the path of its folder."""
    folder = tempfile.mkdtemp(dir=os.environ["SER_JAX_SHARED"])
    save_file(draw(**options), f"{folder}/model.safetensors")
    return folder
