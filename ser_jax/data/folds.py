"""Speaker-independent cross-validation (Sec. 4)."""

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ser_jax.data.catalog import read_table
from ser_jax.data.corpus import Corpus
from ser_jax.errors import UserError
from ser_jax.shapes import Int

_log = logging.getLogger(__name__)
NO_SPLIT: Mapping[str, str] = {}  # folds follow from a rule


class FoldError(UserError):
    """A corpus that cannot be divided as requested."""


@dataclasses.dataclass(frozen=True)
class Fold:
    """One division of a corpus: [M] int32 rows of each part, ascending; no speaker is in two parts."""

    train: np.ndarray
    dev: np.ndarray
    test: np.ndarray


def connected_speakers(session: ArrayLike, speaker: ArrayLike) -> Int[np.ndarray, "N"]:
    """Number the sets of speakers who met, directly or through others, from sessions and speakers [N].

    Usually these are the corpus's sessions, in their order; a speaker of several sessions joins them.

    >>> connected_speakers(["a", "a", "b", "c"], ["Ann", "Bob", "Bob", "Eve"]).tolist()  # Bob joins a and b
    [0, 0, 0, 1]
    """
    place, who = (np.unique(each, return_inverse=True)[1] for each in (session, speaker))
    sessions = place.max() + 1
    nodes = sessions + who.max() + 1
    met = coo_array((np.ones(len(place)), (place, sessions + who)), shape=(nodes, nodes))
    return connected_components(met, directed=False)[1][place]


def read_folds(file: Path) -> dict[str, str]:
    """Read a table with the columns `id` and `fold`, such as a published split.

    Returns: the fold of each id.
    Raises: DatabaseError, or FoldError for an id in two folds.
    """
    found: dict[str, str] = {}
    for place, cells in read_table(file, "the folds of utterances", ("id", "fold"))[1]:
        if found.setdefault(cells["id"], cells["fold"]) != cells["fold"]:
            raise FoldError(f"{place}: {cells['id']} is in another fold already, expected it in one")
    return found


def groups(corpus: Corpus, count: int, fold_of: Mapping[str, str] = NO_SPLIT) -> Int[np.ndarray, "N"]:
    """Number the groups that are tested together: the folds given by id, if the corpus has any of these ids.

    Otherwise there are `count` groups, or one per separate session if these are fewer, balanced in speakers
    and in sex.

    The sets of connected speakers are assigned one by one, the largest first, each to the group that
    minimises the sum of squared numbers of women, men and speakers. IEMOCAP's five sessions become five
    groups, in order.

    Raises: FoldError if that would be fewer than two groups, or some of the corpus's ids have no fold.
    """
    if not fold_of.keys().isdisjoint(corpus.id.tolist()):
        return _given(corpus, fold_of)
    connected = connected_speakers(corpus.session, corpus.speaker)
    sizes = [_tally(corpus, connected == c) for c in range(connected.max() + 1)]
    count = min(count, len(sizes))
    if count < 2:
        raise FoldError(
            f"corpus {corpus.name} has {len(sizes)} separate sessions (people recorded together), enough for "
            f"{count} folds; expected at least 2"
        )
    assigned = np.zeros(len(sizes), np.int32)
    members = np.zeros((count, 3), int)
    for c in sorted(range(len(sizes)), key=lambda c: (-sum(sizes[c]), *sizes[c], c)):
        tally = np.array([*sizes[c][:2], sum(sizes[c])])
        cost = ((members + tally) ** 2 - members**2).sum(axis=1)
        occupied = members[:, 2] > 0
        assigned[c] = np.lexsort((np.arange(count), cost, occupied))[0]
        members[assigned[c]] += tally
    return assigned[connected]


def _given(corpus: Corpus, fold_of: Mapping[str, str]) -> np.ndarray:
    if absent := [name for name in corpus.id.tolist() if not fold_of.get(name)]:
        raise FoldError(
            f"{len(absent)} of {len(corpus)} utterances of corpus {corpus.name} have no fold, {absent[0]} "
            "the first, expected a fold for each"
        )
    names, number = np.unique([fold_of[name] for name in corpus.id.tolist()], return_inverse=True)
    if len(names) < 2:
        raise FoldError(f"corpus {corpus.name} has one fold, {names[0]}, expected at least two")
    for who in np.unique(corpus.speaker):
        if len(own := np.unique(number[corpus.speaker == who])) > 1:
            sentence = "%s: speaker %s is in the folds %s, so that results do not hold for other speakers"
            _log.warning(sentence, corpus.name, who, ", ".join(names[own]))
            break
    return number.astype(np.int32)


def folds(
    corpus: Corpus, count: int = 5, dev: str = "speaker", fold_of: Mapping[str, str] = NO_SPLIT
) -> list[Fold]:
    """Divide a corpus so that every utterance is tested exactly once; for `fold_of` see `groups`.

    Fold i tests group i. The development set comes from the next group: its smallest set of connected
    speakers. If this set is the whole group and has several speakers (as in IEMOCAP), the development set is
    one of them, alternately a woman and a man, and the dialogue partner is in the training set. With `dev`
    "session" it is the whole group, with "none" it is empty. All other utterances are the training set. The
    paper does not state how the four remaining sessions were divided. If `count` is at least the number of
    sets of connected speakers, each fold leaves out one set, usually one speaker.

    Returns: `count` folds; fewer if there are fewer sets of connected speakers.
    Raises: FoldError if there are too few speakers to train, develop and test.
    """
    number, connected = groups(corpus, count, fold_of), connected_speakers(corpus.session, corpus.speaker)
    count = number.max() + 1
    result = []
    for i in range(count):
        develops = _development(corpus, connected, number == (i + 1) % count, i, dev)
        test = number == i
        train = ~test & ~develops
        if not train.any():
            raise FoldError(
                f"corpus {corpus.name} has too few speakers to train, develop and test in {count} folds; "
                "expected at least three"
            )
        result.append(Fold(*(np.flatnonzero(rows).astype(np.int32) for rows in (train, develops, test))))
    return result


def _tally(corpus: Corpus, rows: np.ndarray) -> tuple[int, int, int]:
    """Count the women, men and speakers of unknown sex in these rows."""
    people = set(zip(corpus.speaker[rows], corpus.sex[rows], strict=True))
    return tuple(sum(sex == wanted for _, sex in people) for wanted in ("female", "male", "unknown"))


def _development(corpus: Corpus, connected: np.ndarray, rows: np.ndarray, turn: int, dev: str) -> np.ndarray:
    present, sizes = np.unique(connected[rows], return_counts=True)
    if dev == "none":
        return np.zeros_like(rows)
    if len(present) > 1 or dev == "session":
        return rows & (connected == present[np.argmin(sizes)])
    speakers = np.unique(corpus.speaker[rows])
    return rows & (corpus.speaker == speakers[turn % len(speakers)])
