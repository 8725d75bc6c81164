"""Speaker-independent cross-validation (Sec. 4)."""

import dataclasses

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ser_jax.data.corpus import Corpus
from ser_jax.errors import UserError


class FoldError(UserError):
    """A corpus that cannot be divided as asked."""


@dataclasses.dataclass(frozen=True)
class Fold:
    """One division of a corpus into rows that train, develop and test; no speaker is on two sides.

    Attributes:
      train, dev, test: [M] int32 rows of the corpus, M of each its own, ascending and disjoint; together
        all of it.
    """

    train: np.ndarray
    dev: np.ndarray
    test: np.ndarray


def companies(corpus: Corpus) -> np.ndarray:
    """Numbers the sets of people who must not be split between training and test: all who met, or by others.

    Usually these are the corpus's sessions; a speaker of several sessions joins them.

    Args:
      corpus: the utterances.
    Returns: [N] int, numbered from 0 in the order of their first session.

    >>> from types import SimpleNamespace
    >>> session, speaker = np.array(["a", "a", "b", "c"]), np.array(["Ann", "Bob", "Bob", "Eve"])
    >>> companies(SimpleNamespace(session=session, speaker=speaker)).tolist()  # Bob joins a and b
    [0, 0, 0, 1]
    """
    session = np.unique(corpus.session, return_inverse=True)[1]
    speaker = np.unique(corpus.speaker, return_inverse=True)[1]
    people = session.max() + 1
    nodes = people + speaker.max() + 1
    met = coo_array((np.ones(len(session)), (session, people + speaker)), shape=(nodes, nodes))
    return connected_components(met, directed=False)[1][session]


def groups(corpus: Corpus, count: int) -> np.ndarray:
    """Deals the corpus's companies into groups balanced in number of speakers and in sex.

    Companies are dealt whole, the largest first, each to the group that leaves the squared numbers of
    women, men and speakers smallest. IEMOCAP's five sessions make five groups in their order; RECOLA's
    dyads stay together.

    Args:
      corpus: the utterances.
      count: how many groups.
    Returns: [N] int32, 0 to count - 1.
    Raises: FoldError when fewer than two groups are asked for, or there are fewer companies than groups.
    """
    company = companies(corpus)
    sizes = [_tally(corpus, company == c) for c in range(company.max() + 1)]
    if count < 2 or len(sizes) < count:
        raise FoldError(
            f"corpus {corpus.name} has {len(sizes)} separate sessions (people recorded together), which "
            f"cannot make {count} folds; expected at least 2 folds, and as many sessions"
        )
    dealt = np.zeros(len(sizes), np.int32)
    members = np.zeros((count, 3), int)
    for c in sorted(range(len(sizes)), key=lambda c: (-sum(sizes[c]), *sizes[c], c)):
        tally = np.array([*sizes[c][:2], sum(sizes[c])])
        cost = ((members + tally) ** 2 - members**2).sum(axis=1)
        filled = members[:, 2] > 0
        dealt[c] = np.lexsort((np.arange(count), cost, filled))[0]
        members[dealt[c]] += tally
    return dealt[company]


def folds(corpus: Corpus, count: int = 5) -> list[Fold]:
    """Divides the corpus so that every utterance is tested exactly once.

    Fold i tests on group i. The development part is the smallest that keeps speakers apart, taken from the
    group after it: its smallest company, or, where the group is a single one of several people (as in
    IEMOCAP), one of them, women and men by turns. Everything else trains. Paper silent on how the four
    remaining sessions were divided.

    Args:
      corpus: the utterances.
      count: how many folds.
    Returns: `count` folds.
    Raises: FoldError where the corpus has too few sessions.
    """
    group, company = groups(corpus, count), companies(corpus)
    result = []
    for i in range(count):
        dev = _development(corpus, company, group == (i + 1) % count, i)
        test = group == i
        train = ~test & ~dev
        if not train.any():
            raise FoldError(
                f"corpus {corpus.name} has too few speakers to train, develop and test in {count} folds; "
                "expected at least three"
            )
        result.append(Fold(*(np.flatnonzero(rows).astype(np.int32) for rows in (train, dev, test))))
    return result


def _tally(corpus: Corpus, rows: np.ndarray) -> tuple[int, int, int]:
    """How many women, men and people of unknown sex speak in these rows."""
    people = set(zip(corpus.speaker[rows], corpus.sex[rows], strict=True))
    return tuple(sum(sex == wanted for _, sex in people) for wanted in ("female", "male", "unknown"))


def _development(corpus: Corpus, company: np.ndarray, rows: np.ndarray, turn: int) -> np.ndarray:
    present, sizes = np.unique(company[rows], return_counts=True)
    if len(present) > 1:
        return rows & (company == present[np.argmin(sizes)])
    speakers = np.unique(corpus.speaker[rows])
    return rows & (corpus.speaker == speakers[turn % len(speakers)])
