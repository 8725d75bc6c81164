"""What this host lends to a process: cores, and memory as its devices share it."""

import math
import os

import numpy as np

DEVICE_FLAG = "xla_force_host_platform_device_count"  # XLA's, which makes devices of a processor's cores
ALIGNMENT = 64  # bytes; what begins at a multiple of them is not copied where a processor computes


def cores() -> int:
    """How many cores; of the whole processor where the system does not tell which are this process's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def aligned(shape: tuple[int, ...]) -> np.ndarray:
    """An array float32 of a shape [...], not filled, that begins at a multiple of `ALIGNMENT` bytes."""
    count = math.prod(shape)
    memory = np.empty(count + ALIGNMENT // 4, np.float32)
    start = -memory.ctypes.data % ALIGNMENT // 4
    return memory[start : start + count].reshape(shape)
