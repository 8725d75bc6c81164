"""From annotations to classes, by one of the paper's two rules."""

import numpy as np

from ser_jax.data.corpus import TARGETS, Corpus
from ser_jax.errors import UserError

CLASS_NAMES = {"arousal": ("low", "high"), "valence": ("negative", "positive")}
RULES = ("footnote", "table1")


class LabelError(UserError):
    """A target or rule that does not exist, or classes that cannot be trained on."""


def classes(corpus: Corpus, target: str, rule: str = "footnote") -> np.ndarray:
    """Decides the class of every utterance.

    An annotation above the corpus's threshold is class 1, one on it class 0, as in Table 1. The paper
    contradicts itself on IEMOCAP's valence: only with 2.5 counted as positive do the class counts of its
    footnote 1 come out (3,421 negative, 6,618 positive). Rule "footnote" does that; "table1" does not.

    Args:
      corpus: the utterances.
      target: "arousal" or "valence".
      rule: "footnote" or "table1"; they differ for IEMOCAP's valence only.
    Returns: [N] int8: 0 low or negative, 1 high or positive.
    Raises: LabelError where there is no such target or rule.
    """
    if target not in TARGETS:
        raise LabelError(f"no target {target!r}, expected one of {', '.join(TARGETS)}")
    if rule not in RULES:
        raise LabelError(f"no label rule {rule!r}, expected one of {', '.join(RULES)}")
    annotation, threshold = getattr(corpus, target), corpus.thresholds[target]
    on_threshold_is_high = rule == "footnote" and target == "valence" and corpus.builder == "iemocap"
    high = annotation >= threshold if on_threshold_is_high else annotation > threshold
    return high.astype(np.int8)
