"""How much of the processor this process may use."""

import os


def available() -> int:
    """How many cores; of the whole processor where the system does not tell which are this process's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
