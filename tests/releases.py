"""Databases in the layouts of their publishers: a second of noise by ten speakers in seven emotions."""

import recognisers
import soundfile

SPEAKERS = {
    "emodb": ["03", "08", "09", *map(str, range(10, 17))],
    "cafe": range(1, 11),
    "ravdess": range(1, 11),
}
EMOTIONS = {"emodb": "WLEAFTN", "cafe": "CDJNPST", "ravdess": range(1, 8)}
NAMES = {
    "emodb": "wav/{0}a01{1}a.wav",
    "cafe": "{0:02d}-{1}-1-1.wav",
    "ravdess": "Actor_{0:02d}/03-01-{1:02d}-01-01-01-{0:02d}.wav",
}


def release(database, folder):
    """Writes one of them."""
    for speaker in SPEAKERS[database]:
        for number, emotion in enumerate(EMOTIONS[database]):
            path = folder / NAMES[database].format(speaker, emotion)
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, recognisers.speech(1.0, seed=10 * int(speaker) + number), 16_000)
