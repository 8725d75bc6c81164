"""Small corpora of noise for tests that need shapes and speakers, not speech."""

import numpy as np

from ser_jax.data.corpus import Corpus
from ser_jax.features import LogMel, describe


def noise_corpus(
    name="noise",
    sessions=5,
    speakers_a_session=2,
    each=6,
    seed=0,
    frames=60,
    database="manifest",
    frontend=LogMel(),  # noqa: B008
):
    """Speakers F and M alternate; some bands of an utterance's noise are louder if its arousal is high."""
    draw = np.random.default_rng(seed)
    n = sessions * speakers_a_session * each
    session = np.repeat([f"s{i}" for i in range(sessions)], speakers_a_session * each)
    member = np.tile(np.repeat(np.arange(speakers_a_session), each), sessions)
    arousal, valence = (np.arange(n) % 2).astype(float), (np.arange(n) // 2 % 2).astype(float)
    length = draw.integers(frames // 2, frames + 1, n).astype(np.int32)
    features = np.zeros((n, frontend.frames, frontend.dims), np.float32)
    for i in range(n):
        features[i, : length[i]] = draw.normal(-50, 8, (length[i], 26))
        features[i, : length[i], :6] += 14 * arousal[i]
        features[i, : length[i], 12:18] += 14 * valence[i]
    return Corpus(
        name=name,
        database=database,
        synthetic=False,
        fingerprint=f"{name}{seed}",
        frontend=describe(frontend),
        thresholds={"arousal": 0.5, "valence": 0.5},
        id=np.array([f"{name}{i:04d}" for i in range(n)]),
        speaker=np.char.add(session, np.array(["F", "M"])[member % 2]),
        session=session,
        sex=np.array(["female", "male"])[member % 2],
        language=np.full(n, "xx"),
        emotion=np.full(n, ""),
        dialogue=np.full(n, ""),
        raters=np.full(n, ""),
        seconds=length / 100,
        features=features,
        frames=length,
        arousal=arousal,
        valence=valence,
        dominance=np.full(n, np.nan),
    )
