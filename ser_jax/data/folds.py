"""Speaker-independent cross-validation (Sec. 4)."""

import dataclasses

import numpy as np

from ser_jax.data.corpus import Corpus
from ser_jax.errors import UserError


class FoldError(UserError):
    """A corpus that cannot be divided as asked."""


@dataclasses.dataclass(frozen=True)
class Fold:
    """One division of a corpus into rows that train, develop and test; no speaker is on two sides.

    Attributes:
      train, dev, test: int32 rows of the corpus, ascending and disjoint; together all of it.
    """

    train: np.ndarray
    dev: np.ndarray
    test: np.ndarray


def groups(corpus: Corpus, count: int) -> np.ndarray:
    """Deals the corpus's sessions into groups balanced in number of speakers and in sex.

    Sessions, people who were recorded together, are dealt whole, the largest first, each to the group
    that leaves the squared numbers of women, men and speakers smallest. IEMOCAP's five sessions make five
    groups in their order; RECOLA's dyads stay together.

    Args:
      corpus: the utterances.
      count: how many groups.

    Returns:
      [N] int32, 0 to count - 1.

    Raises:
      FoldError: fewer than two groups asked for, or fewer sessions than groups.
    """
    sessions = {str(name): _speakers(corpus, corpus.session == name) for name in np.unique(corpus.session)}
    if count < 2 or len(sessions) < count:
        raise FoldError(
            f"corpus {corpus.name} has {len(sessions)} sessions (people recorded together), which cannot "
            f"make {count} folds; expected a number of folds from 2 to {len(sessions)}"
        )
    dealt: dict[str, int] = {}
    members = np.zeros((count, 3), int)
    for name in sorted(sessions, key=lambda s: (-sum(sessions[s]), *sessions[s], s)):
        tally = np.array([*sessions[name][:2], sum(sessions[name])])
        cost = ((members + tally) ** 2 - members**2).sum(axis=1)
        empty_first = members[:, 2] > 0
        dealt[name] = int(np.lexsort((np.arange(count), cost, empty_first))[0])
        members[dealt[name]] += tally
    return np.array([dealt[str(name)] for name in corpus.session], np.int32)


def folds(corpus: Corpus, count: int = 5) -> list[Fold]:
    """Divides the corpus so that every utterance is tested exactly once.

    Fold i tests on group i. The development part is the smallest that keeps speakers apart, taken from the
    group after it: one of its sessions, or, where the group is a single session of several people (as in
    IEMOCAP), one of them, women and men by turns. Everything else trains. Paper silent on how the four
    remaining sessions were divided.

    Args:
      corpus: the utterances.
      count: how many folds.

    Returns:
      `count` folds.

    Raises:
      FoldError: the corpus has too few sessions.
    """
    group = groups(corpus, count)
    result = []
    for i in range(count):
        dev = _development(corpus, group == (i + 1) % count, i)
        test = group == i
        train = ~test & ~dev
        if not train.any():
            raise FoldError(
                f"corpus {corpus.name} has too few speakers to train, develop and test in {count} folds; "
                "expected at least three"
            )
        result.append(Fold(*(np.flatnonzero(rows).astype(np.int32) for rows in (train, dev, test))))
    return result


def _speakers(corpus: Corpus, rows: np.ndarray) -> tuple[int, int, int]:
    """How many women, men and people of unknown sex speak in these rows."""
    people = set(zip(corpus.speaker[rows], corpus.sex[rows], strict=True))
    return tuple(sum(sex == wanted for _, sex in people) for wanted in ("female", "male", "unknown"))


def _development(corpus: Corpus, rows: np.ndarray, turn: int) -> np.ndarray:
    sessions, sizes = np.unique(corpus.session[rows], return_counts=True)
    if len(sessions) > 1:
        return rows & (corpus.session == sessions[np.argmin(sizes)])
    speakers = np.unique(corpus.speaker[rows])
    return rows & (corpus.speaker == speakers[turn % len(speakers)])
