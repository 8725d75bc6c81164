"""The two trees of files, in the layouts of IEMOCAP and RECOLA."""

import csv
import itertools
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from scipy.io import wavfile

from ser_jax.data.synthetic import plan
from ser_jax.data.synthetic.plan import PAUSE, RECORDING, Turn, stream
from ser_jax.data.synthetic.voice import ENGLISH, FRENCH, RATE, ROOM_DB
from ser_jax.data.utterance import MARKER
from ser_jax.io import atomic_folder

DIALOGS = {
    1: ("Ses01F_impro01", "Ses01F_impro02", "Ses01M_impro01", "Ses01M_script01_1", "Ses01F_script02_2"),
    2: ("Ses02F_impro03", "Ses02M_impro04", "Ses02M_impro06", "Ses02F_script01_2", "Ses02M_script03_1"),
    3: ("Ses03M_impro07", "Ses03M_impro05a", "Ses03M_impro05b", "Ses03M_impro08a", "Ses03M_impro08b"),
    4: ("Ses04F_impro01", "Ses04M_impro02", "Ses04F_impro08", "Ses04M_script01_3", "Ses04F_script03_2"),
    5: ("Ses05F_impro03", "Ses05M_impro07", "Ses05M_script01_1", "Ses05M_script01_1b", "Ses05F_script02_1"),
}
RATERS = ("FM1 ", "FM2 ", "FM3 ", "FF1 ", "FF2 ", "FF3")  # RECOLA's own blanks
EMOTIONS = {(False, False): ("sad", "neu"), (True, False): ("ang", "fru"), (False, True): ("neu",),
            (True, True): ("hap", "exc", "sur")}  # fmt: skip
NAMES = {"sad": "Sadness", "neu": "Neutral", "ang": "Anger", "fru": "Frustration", "hap": "Happiness",
         "exc": "Excited", "sur": "Surprise", "xxx": "Other"}  # fmt: skip
APPLE_DOUBLE = b"\0\5\x16\7\0\2\0\0Mac OS X        " + bytes(8)
NOTICE = "This is synthesised sound in the layout of {0}; no part of it is {0} or human speech."
GRID = 0.04  # s, the step of RECOLA's annotation


def read_truth(out: Path) -> dict[str, dict[str, str]]:
    """Return utterance id to {"arousal": "low" | "high", "valence": "negative" | "positive"}."""
    with (Path(out) / "truth.csv").open(newline="", encoding="utf-8") as file:
        return {row.pop("utterance"): row for row in csv.DictReader(file)}


def synthesize(
    out: Path, utterances: int = 240, seed: int = 0, progress: Callable[[int, int], None] | None = None
) -> None:
    """Write both databases and their truth, atomically: OUT/IEMOCAP_full_release, OUT/RECOLA, OUT/truth.csv.

    The same arguments give the same bytes in every file.

    Args:
      out: a folder that does not exist yet or is empty.
      utterances: per language, spread evenly over 10 English and 23 French speakers.
      seed: not negative.
      progress: called with (utterances done, utterances in all), if given.
    Raises: SynthesisError if `out` is not empty, or `utterances` or `seed` is out of range.
    """
    turns = plan.plan(utterances, seed)
    done = itertools.count(1)

    def spoken(turn: Turn) -> np.ndarray:
        samples = plan.speak_turn(turn, seed)
        if progress:
            progress(next(done), len(turns))
        return samples

    english, french = ([turn for turn in turns if turn.language is language] for language in plan.LANGUAGES)
    with atomic_folder(out, plan.SynthesisError) as root:
        named = iemocap(root / "IEMOCAP_full_release", english, seed, spoken)
        named |= recola(root / "RECOLA", french, seed, spoken)
        rows = (
            f"{name},{('low', 'high')[turn.high]},{('negative', 'positive')[turn.positive]}"
            for name, turn in sorted(named.items())
        )
        write_lines(root / "truth.csv", ["utterance,arousal,valence", *rows])


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a text file, the same on every system."""
    path.write_text("\n".join([*lines, ""]), encoding="utf-8", newline="\n")


def save(path: Path, samples: np.ndarray, rng: np.random.Generator) -> None:
    """Write samples [n] (full scale at 1) with the room's noise as a 16-bit WAV file."""
    room = rng.standard_normal(len(samples), dtype=np.float32)
    room *= 10 ** (ROOM_DB / 20)
    room += samples
    room *= 32768
    np.clip(np.rint(room, out=room), -32768, 32767, out=room)
    wavfile.write(path, RATE, room.astype(np.int16))


def iemocap(root: Path, turns: list[Turn], seed: int, spoken: Callable) -> dict[str, Turn]:
    """Write the five sessions; return the turns by name."""
    root.mkdir(parents=True)
    write_lines(root / MARKER, [NOTICE.format("IEMOCAP")])
    named = name_turns(turns)
    for session, dialogs in DIALOGS.items():
        labels = root / f"Session{session}" / "dialog" / "EmoEvaluation"
        for kind in ("Attribute", "Categorical", "Self-evaluation"):
            (labels / kind).mkdir(parents=True)
        for dialog in dialogs:
            folder = root / f"Session{session}" / "sentences" / "wav" / dialog
            folder.mkdir(parents=True)
            present = {name: turn for name, turn in named.items() if name.rpartition("_")[0] == dialog}
            for name, turn in present.items():
                rng = stream(seed, ENGLISH, turn.speaker, turn.index, 1)
                save(folder / f"{name}.wav", spoken(turn), rng)
            write_labels(labels, dialog, present, seed)
            if dialog == dialogs[0]:  # as macOS leaves them
                for path in (labels / f"{dialog}.txt", *sorted(folder.iterdir())):
                    path.with_name(f"._{path.name}").write_bytes(APPLE_DOUBLE)
    return named


def name_turns(turns: list[Turn]) -> dict[str, Turn]:
    """Give the turns names as in IEMOCAP.

    Positive turns fill a session's dialogs from the first, negative ones from the last, so that every dialog
    has turns, and the first one a positive turn.
    """
    dealt: Counter[tuple[str, bool]] = Counter()
    numbers: Counter[tuple[str, str]] = Counter()
    named = {}
    for turn in turns:
        dialogs, letter = DIALOGS[int(turn.speaker[:2])], turn.speaker[-1]
        dealt[turn.speaker, turn.positive] += 1
        rank = dealt[turn.speaker, turn.positive] - 1
        dialog = dialogs[(rank if turn.positive else -1 - rank) % len(dialogs)]
        named[f"{dialog}_{letter}{numbers[dialog, letter]:03d}"] = turn
        numbers[dialog, letter] += 1
    return named


def write_labels(labels: Path, dialog: str, turns: dict[str, Turn], seed: int) -> None:
    """Write a dialog's consensus file and three of its raters' own files."""
    lines = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", ""]
    dimensions, categories = [], []
    start = 5.0
    for name, turn in sorted(turns.items(), key=lambda item: (item[1].index, item[0])):
        rng = stream(seed, ENGLISH, turn.speaker, turn.index, 2)
        start += rng.uniform(0.3, 3.0)
        rated = rate(turn, dialog, rng)
        emotion = "xxx" if rng.random() < 0.25 else str(rng.choice(EMOTIONS[turn.high, turn.positive]))
        vector = ", ".join(f"{value:.4f}" for value in rated)
        lines += [f"[{start:.4f} - {start + turn.seconds:.4f}]\t{name}\t{emotion}\t[{vector}]"]
        lines += [f"C-{rater}:\t{NAMES[emotion]};\t()" for rater in ("E2", "E3", "E4", "F1")]
        if turn.index % 8 != 5:  # some of IEMOCAP's turns lack them
            for rater, rounded in (("E3", np.floor), ("E4", np.ceil)):
                v, a, d = np.clip(rounded(rated), 1, 5).astype(int)
                lines += [f"A-{rater}:\tval {v}; act {a}; dom  {d};\t()"]
        lines += [""]
        dimensions += [f"{name} :act {rng.integers(1, 6)}; :val {rng.integers(1, 6)}; :dom  3; :()"]
        categories += [f"{name} :{NAMES[emotion]}; :()"]
        start += turn.seconds
    for path, content in (
        (labels / f"{dialog}.txt", lines),
        (labels / "Attribute" / f"{dialog}_e3_atr.txt", dimensions),
        (labels / "Categorical" / f"{dialog}_e2_cat.txt", categories),
        (labels / "Self-evaluation" / f"{dialog}_f1_atr.txt", dimensions),
    ):
        write_lines(path, content)


def rate(turn: Turn, dialog: str, rng: np.random.Generator) -> np.ndarray:
    """Return [valence, activation, dominance]; exactly 2.5 is a low activation but a positive valence."""
    valence = rng.choice((2.5, 2.5, 3.0, 3.5, 4.0, 4.5) if turn.positive else (1.5, 2.0))
    activation = rng.choice((3.0, 3.5, 4.0, 4.5) if turn.high else (1.5, 2.0, 2.5, 2.5))
    dominance = rng.choice((1.5, 2.0, 2.5, 3.0, 3.5, 4.0))
    if dialog == "Ses03M_impro07" and turn.positive:
        valence = 5.5
    if turn.index % 9 == 4:
        dominance = 0.5
    return np.array([valence, activation, dominance])


def recola(root: Path, turns: list[Turn], seed: int, spoken: Callable) -> dict[str, Turn]:
    """Write the 23 recordings; return the turns by name."""
    audio, timings = root / "RECOLA-Audio-recordings", root / "RECOLA-Audio_timings"
    annotation = root / "RECOLA-Annotation" / "emotional_behaviour"
    for folder in (audio, timings, annotation / "arousal", annotation / "valence", root / "RECOLA-Metadata"):
        folder.mkdir(parents=True)
    write_lines(root / MARKER, [NOTICE.format("RECOLA")])
    users = ["User;Group_id;Sex;Mother_tongue"]
    named: dict[str, Turn] = {}
    for group, dyad in enumerate(plan.DYADS, start=1):
        for user in dyad:
            name, mine = f"P{user[:2]}", [turn for turn in turns if turn.speaker == user]
            rng = stream(seed, FRENCH, user, 0, 2)
            bounds = place_turns(np.array([turn.seconds for turn in mine]), rng)
            recording = np.zeros(int(RECORDING * RATE), np.float32)
            for turn, (start, stop) in zip(mine, np.rint(bounds * RATE).astype(int), strict=True):
                recording[start:stop] = spoken(turn)
            save(audio / f"{name}.wav", recording, rng)
            rows = (f"{start:.2f};{stop:.2f}" for start, stop in bounds)
            write_lines(timings / f"{name}.csv", ["start;stop", *rows])
            classes = {"arousal": [turn.high for turn in mine], "valence": [turn.positive for turn in mine]}
            for dimension, high in classes.items():
                trace = annotate(bounds, np.array(high), rng)
                write_trace(annotation / dimension / f"{name}.csv", trace)
            users.append(f"{name};{group};{'female' if user[-1] == 'F' else 'male'};French")
            named |= {f"{name}_{turn.index:03d}": turn for turn in mine}
    write_lines(root / "RECOLA-Metadata" / "recola_user_info.csv", users)
    return named


def place_turns(seconds: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return start and stop [turns, 2], s, of turns of `seconds` [turns], in order and `PAUSE` apart."""
    spare = RECORDING - PAUSE - np.sum(seconds + PAUSE)
    pauses = PAUSE + np.floor(100 * spare * rng.dirichlet(np.ones(len(seconds) + 1)))[:-1] / 100
    stop = np.cumsum(pauses + seconds)
    return np.round(np.stack([stop - seconds, stop], axis=1), 2)


def annotate(bounds: np.ndarray, high: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return six raters' traces [7501, 6], in whole 1/10000, for turns within `bounds` [turns, 2], s.

    In a turn the raters' mean is at least 0.08 away from 0, on the side of its class (`high` [turns]), and
    it moves linearly from turn to turn. In one of five low turns the raters cancel out: every row holds
    three values and their negatives.
    """
    grid = GRID * np.arange(round(RECORDING / GRID) + 1)
    consensus = np.where(high, 1, -1) * rng.uniform(0.08, 0.6, len(high))
    cancels = ~high & (np.cumsum(~high) % 5 == 1)
    consensus[cancels] = 0

    def steady(turns: np.ndarray) -> np.ndarray:
        return np.interp(grid, bounds.ravel(), turns)

    knots = np.arange(0, RECORDING + 5, 5)
    apart = np.stack([np.interp(grid, knots, rng.normal(0, 0.06, len(knots))) for _ in RATERS], axis=1)
    apart = apart - apart.mean(axis=1, keepdims=True)
    against = np.concatenate([apart[:, :3], -apart[:, :3]], axis=1)
    weight = steady(np.repeat(cancels.astype(float), 2))[:, None]
    values = steady(np.repeat(consensus, 2))[:, None] + (1 - weight) * apart + weight * against
    return np.rint(1e4 * np.clip(values, -1, 1)).astype(int)


def write_trace(path: Path, values: np.ndarray) -> None:
    """Write traces [7501, 6], in whole 1/10000, as RECOLA does: time first, six raters, semicolons."""
    table = np.column_stack([GRID * np.arange(len(values)), values / 1e4 + 0.0])
    np.savetxt(path, table, ["%.2f"] + ["%.4f"] * 6, ";", header="time;" + ";".join(RATERS), comments="")
