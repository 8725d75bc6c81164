"""Derive classes from annotations by one of the paper's two rules, and annotations from emotions."""

from typing import Literal, get_args

import numpy as np

from ser_jax.data.corpus import Facts
from ser_jax.errors import UserError, meant
from ser_jax.shapes import Int

CLASS_NAMES = {"arousal": ("low", "high"), "valence": ("negative", "positive")}
Rule = Literal["footnote", "table1"]

# The arousal (0 low, 1 high) and the valence (0 negative, 1 positive) that an emotion stands for. All but
# calm are clustered so by B. Schuller et al., "Acoustic emotion recognition: a benchmark comparison of
# performances" (ASRU 2009) and "Cross-corpus acoustic emotion recognition: variances and strategies" (IEEE
# Trans. Affective Computing 1(2), 2010), which also need two classes and therefore count neutral as low and
# positive. Calm is our addition: low and positive, as in J. A. Russell's circumplex (J. Personality and
# Social Psychology 39(6), 1980).
EMOTIONS = {
    "anger": (1.0, 0.0),
    "boredom": (0.0, 0.0),
    "calm": (0.0, 1.0),
    "disgust": (0.0, 0.0),
    "fear": (1.0, 0.0),
    "happiness": (1.0, 1.0),
    "neutral": (0.0, 1.0),
    "sadness": (0.0, 0.0),
    "surprise": (1.0, 1.0),
}
ADJECTIVES = {
    "angry": "anger",
    "bored": "boredom",
    "disgusted": "disgust",
    "fearful": "fear",
    "happy": "happiness",
    "sad": "sadness",
    "surprised": "surprise",
}
IEMOCAP_EMOTIONS = {
    "ang": "anger",
    "hap": "happiness",
    "exc": "excitement",
    "neu": "neutral",
    "sad": "sadness",
    "fru": "frustration",
    "fea": "fear",
    "sur": "surprise",
    "dis": "disgust",
    "oth": "",
    "xxx": "",  # the raters disagree
}


class LabelError(UserError):
    """A dimension or rule that does not exist."""


def classes(corpus: Facts, dimension: str, rule: str = "footnote") -> Int[np.ndarray, "N"]:
    """Return the class of every utterance.

    An annotation above the corpus's threshold is class 1, one on it class 0, as in Table 1. The paper
    contradicts itself on IEMOCAP's valence: the class counts of its footnote 1 (3,421 negative, 6,618
    positive) come out only if 2.5 counts as positive. Rule "footnote" does that; "table1" does not.

    Args:
      dimension: "arousal" or "valence".
      rule: "footnote" or "table1"; they differ for IEMOCAP's valence only.
    Returns: 0 low or negative, 1 high or positive, -1 not annotated.
    Raises: LabelError if there is no such dimension or rule.
    """
    for what, name, known in (("dimension", dimension, CLASS_NAMES), ("label rule", rule, get_args(Rule))):
        if name not in known:
            hint = meant(name, known)
            raise LabelError(f"no {what} {name!r}, expected one of {', '.join(known)}{hint}")
    annotation, threshold = getattr(corpus, dimension), corpus.thresholds.get(dimension, np.nan)
    on_threshold_is_high = rule == "footnote" and dimension == "valence" and corpus.database == "iemocap"
    high = annotation >= threshold if on_threshold_is_high else annotation > threshold
    return np.where(np.isnan(annotation + threshold), -1, high.astype(np.int64))


def counts(corpus: Facts, rule: str = "footnote") -> dict[str, dict[str, int]]:
    """Return dimension to class name to number of annotated utterances; see `classes`."""
    found = {}
    for dimension, names in CLASS_NAMES.items():
        each = classes(corpus, dimension, rule)
        found[dimension] = {name: int((each == index).sum()) for index, name in enumerate(names)}
    return found


def by_emotion(corpus: Facts) -> bool:
    """Return whether arousal and valence were derived from emotions by `EMOTIONS`, not rated."""
    annotations = np.stack([corpus.arousal, corpus.valence], axis=1)
    expected = np.array([EMOTIONS.get(name, (np.nan, np.nan)) for name in canonical(corpus).tolist()])
    given = ~np.isnan(annotations).all(axis=1)
    return bool(given.any()) and np.array_equal(annotations[given], expected[given])


def noun(emotion: str) -> str:
    """Return an emotion as this package writes it, in lower case: "anger" for "Angry"."""
    return ADJECTIVES.get(emotion.lower(), emotion.lower())


def canonical(corpus: Facts) -> np.ndarray:
    """Return every utterance's emotion, [N] str, in one vocabulary for all databases, as in "anger".

    IEMOCAP's abbreviations are written out; the names of other databases are passed to `noun`. "" if the
    database names none or its raters disagree.
    """
    names, each = np.unique(corpus.emotion, return_inverse=True)
    known = IEMOCAP_EMOTIONS if corpus.database == "iemocap" else {}
    return np.array([known.get(name, noun(name)) for name in names.tolist()])[each]
