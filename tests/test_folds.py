"""No speaker on two sides, every utterance tested once, speakers and sexes balanced."""

import dataclasses

import numpy as np
import pytest
from corpora import noise_corpus
from hypothesis import given
from hypothesis import strategies as st

from ser_jax.data.folds import FoldError, folds, groups, read_folds


@given(sessions=st.integers(5, 12), speakers=st.integers(1, 3))
def test_every_utterance_is_tested_once_and_no_speaker_stands_on_two_sides(sessions, speakers):
    corpus = noise_corpus(sessions=sessions, speakers_a_session=speakers, each=1)
    assert sorted(np.concatenate([fold.test for fold in folds(corpus, 5)])) == list(range(len(corpus)))
    for fold in folds(corpus, 5):
        sides = [set(corpus.speaker[rows]) for rows in (fold.train, fold.dev, fold.test)]
        assert all(sides)
        assert sum(map(len, sides)) == len(set.union(*sides)) == len(set(corpus.speaker))
        assert len(fold.train) + len(fold.dev) + len(fold.test) == len(corpus)
        assert not set(corpus.session[fold.test]) & set(corpus.session[np.r_[fold.train, fold.dev]])


@given(
    sessions=st.lists(st.integers(0, 40), min_size=90, max_size=90),
    speakers=st.lists(st.integers(0, 60), min_size=90, max_size=90),
)
def test_speakers_of_several_sessions_stand_on_one_side_too(sessions, speakers):
    base = noise_corpus(sessions=90, speakers_a_session=1, each=1)
    corpus = dataclasses.replace(base, session=np.array(sessions), speaker=np.array(speakers))
    try:
        divided = folds(corpus, 3)
    except FoldError:
        return
    for fold in divided:
        rest = np.r_[fold.train, fold.dev]
        assert not set(corpus.speaker[fold.test]) & set(corpus.speaker[rest])
        assert not set(corpus.session[fold.test]) & set(corpus.session[rest])
        assert not set(corpus.speaker[fold.train]) & set(corpus.speaker[fold.dev])


def people(sexes_by_session):
    """A corpus of one utterance per person: 'fm m f' is a dyad of both sexes and two single people."""
    words = sexes_by_session.split()
    session = np.concatenate([[f"s{i:02d}"] * len(word) for i, word in enumerate(words)])
    sex = np.array([{"f": "female", "m": "male", "?": "unknown"}[letter] for letter in "".join(words)])
    base = noise_corpus(sessions=len(sex), speakers_a_session=1, each=1)
    return dataclasses.replace(
        base, session=session, sex=sex, speaker=np.array([f"p{i}" for i in range(len(sex))])
    )


@pytest.mark.parametrize(
    "sexes",
    [
        "fm fm fm fm fm",
        "f m f m f m f m f m",
        "f f f f f m m m m m f m",
        "fm fm ff mm fm fm ff f m f m m f f m",  # 23 people in dyads and alone, as in RECOLA
        "? ? ? ? ? ? ?",
    ],
)
def test_groups_are_balanced_in_speakers_and_sex(sexes):
    corpus = people(sexes)
    group = groups(corpus, 5)
    for kind in ("female", "male", "unknown"):
        counts = np.bincount(group[corpus.sex == kind], minlength=5)
        assert counts.max() - counts.min() <= (1 if len(sexes.split()[0]) == 1 else 2)
    counts = np.bincount(group, minlength=5)
    assert counts.max() - counts.min() <= 1
    for session in np.unique(corpus.session):
        assert len(set(group[corpus.session == session])) == 1


def test_sessions_of_a_corpus_like_iemocap_are_the_folds_in_order():
    corpus = noise_corpus(sessions=5)
    for i, fold in enumerate(folds(corpus, 5)):
        assert set(corpus.session[fold.test]) == {f"s{i}"}
        assert len(set(corpus.speaker[fold.dev])) == 1
        assert len(set(corpus.speaker[fold.train])) == 7


def test_sessions_may_develop_as_a_whole():
    corpus = noise_corpus(sessions=5)
    for i, fold in enumerate(folds(corpus, 5, dev="session")):
        assert set(corpus.session[fold.dev]) == {f"s{(i + 1) % 5}"}
        assert len(set(corpus.session[fold.train])) == 3
    alone = people("f m f m f m f m f m")
    for one, other in zip(folds(alone), folds(alone, dev="session"), strict=True):
        np.testing.assert_array_equal(one.dev, other.dev)
    with pytest.raises(FoldError, match="too few speakers to train, develop and test"):
        folds(noise_corpus(sessions=2), dev="session")


@pytest.mark.parametrize("speakers", [3, 4])
def test_as_many_folds_as_separate_speakers(speakers):
    corpus = people("m " * speakers)  # as in SAVEE, of four men
    assert len(folds(corpus, 5)) == speakers
    for fewer, own in zip(folds(corpus, 5), folds(corpus, speakers), strict=True):
        for part in ("train", "dev", "test"):
            np.testing.assert_array_equal(getattr(fewer, part), getattr(own, part))


def test_twenty_four_actors_make_six_folds_of_four():
    """As in RAVDESS: two women and two men each, and the other twenty train."""
    corpus = people("m f " * 12)
    for fold in folds(corpus, 6, dev="none"):
        assert sorted(corpus.sex[fold.test]) == ["female"] * 2 + ["male"] * 2
        assert len(fold.train) == 20


@given(sessions=st.integers(2, 12), speakers=st.integers(1, 3))
def test_nobody_need_develop(sessions, speakers):
    """Then all that is not tested trains, and two groups of speakers are enough."""
    corpus = noise_corpus(sessions=sessions, speakers_a_session=speakers, each=2)
    for fold in folds(corpus, 5, dev="none"):
        assert not len(fold.dev)
        assert sorted([*fold.train, *fold.test]) == list(range(len(corpus)))
    every = folds(corpus, 10**9, dev="none")  # one session is left out at a time
    tested = [set(corpus.session[fold.test]) for fold in every]
    assert [len(one) for one in tested] == [1] * sessions
    assert set.union(*tested) == set(corpus.session)


def test_too_few_speakers_are_named():
    for corpus, count in ((noise_corpus(sessions=1), 5), (noise_corpus(), 1)):
        with pytest.raises(
            FoldError,
            match=r"corpus noise has \d separate sessions .* enough for 1 folds; expected at least 2",
        ):
            folds(corpus, count)
    with pytest.raises(FoldError, match="too few speakers to train, develop and test in 2 folds"):
        folds(noise_corpus(sessions=2, speakers_a_session=1), 5)


def test_a_split_that_is_given_takes_the_place_of_the_rule(tmp_path, caplog):
    corpus = noise_corpus(sessions=6, speakers_a_session=2, each=2)
    other = noise_corpus(sessions=6, speakers_a_session=2, each=2)
    other.id[:] = [f"other {name}" for name in other.id]
    split = {
        name: "A" if session[-1] in "12" else "B"
        for name, session in zip(corpus.id, corpus.session, strict=True)
    }
    (tmp_path / "split.csv").write_text(
        "id;fold\n" + "".join(f"{name};{fold}\n" for name, fold in split.items())
    )
    given = read_folds(tmp_path / "split.csv")
    tested = [set(np.array(list(split.values()))[fold.test]) for fold in folds(corpus, 5, fold_of=given)]
    assert tested == [{"A"}, {"B"}]
    np.testing.assert_array_equal(groups(other, 5, given), groups(other, 5))
    assert not caplog.messages
    first = corpus.id[0]
    groups(corpus, 5, given | {first: "C"})
    assert f"speaker {corpus.speaker[0]} is in the folds" in caplog.text
    with pytest.raises(
        FoldError, match=f"1 of {len(corpus)} utterances of corpus .* no fold, {first} the first"
    ):
        groups(corpus, 5, {name: fold for name, fold in given.items() if name != first})
    with pytest.raises(FoldError, match="has one fold, A, expected at least two"):
        groups(corpus, 5, dict.fromkeys(given, "A"))
    with (tmp_path / "split.csv").open("a") as file:
        file.write(f"{first};C\n")
    with pytest.raises(FoldError, match=rf"split.csv:{len(corpus) + 2}: {first} is in another fold already"):
        read_folds(tmp_path / "split.csv")
