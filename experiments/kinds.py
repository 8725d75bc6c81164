"""What settings are called. Names are parts of file names: what they say is written and read here alone."""

import re
from typing import NamedTuple

TABLE2 = ("monolingual", "multilingual", "crosslingual", "finetuned")


def tuned(kernel: int, pool: int) -> str:
    """The setting of a network of this kernel width, frames, and pool size, positions."""
    return f"tuning_k{kernel}_p{pool}"


def refined(samples: int) -> str:
    """The setting that refines on so many utterances per fold."""
    return f"finetuned_{samples}"


def equalised(name: str) -> str:
    """A setting on features that are equalised towards those it trains on."""
    return f"{name}_histogram"


class Kind(NamedTuple):
    """What a setting's name says.

    Attributes:
      way: how it trains and tests, whatever is changed: "monolingual" of "monolingual_cut".
      sizes: kernel width and pool size of one that is tuned; None for others.
      samples: utterances per fold that one of the learning curve refines on, 0 across; None for others.
      equalised: whether its features are.
    """

    way: str
    sizes: tuple[int, int] | None
    samples: int | None
    equalised: bool

    @property
    def within_a_corpus(self) -> bool:
        """Whether it is trained on one corpus, or, to tell languages apart, standardised as if on one."""
        return self.way in ("monolingual", "tuning", "language")


def kind(name: str) -> Kind:
    """Reads a setting's name."""
    size = re.fullmatch(r"tuning_k(\d+)_p(\d+)", name)
    count = re.fullmatch(r"crosslingual|finetuned_(\d+)", name)
    return Kind(
        name.partition("_")[0],
        (int(size[1]), int(size[2])) if size else None,
        int(count[1] or 0) if count else None,
        name.endswith("_histogram"),
    )
