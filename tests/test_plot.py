"""The picture of a recording shows the sound, the attention and the windows' predictions."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
import recognisers
from matplotlib.patches import Rectangle, StepPatch

from ser_jax.recognizer import Estimate, Prediction, Recording, Segment, Window, plot


def made_up(seconds, **names):
    """Return a recording and a prediction of windows 3.6 s apart; names are values or classes by task."""
    rng = np.random.default_rng(0)

    def estimates(start, segments):
        found = {}
        for task, values in names.items():
            weights = rng.dirichlet(np.ones(segments))
            attention = [Segment(start + 0.9 * i, start + 0.9 * (i + 1), w) for i, w in enumerate(weights)]
            numbers = dict(zip(values, rng.dirichlet(np.ones(len(values))).tolist(), strict=True))
            label = None if task == "dimensions" else values[0]
            found[task] = Estimate(numbers, dict.fromkeys(values, 0.05), label, tuple(attention))
        return found

    starts = np.arange(1 + max(0, -int(-(seconds - 7.5) // 3.6))) * 3.6
    windows = [Window(start, min(seconds, start + 7.5), estimates(start, 8)) for start in starts]
    tasks = estimates(0.0, 8 + 4 * (len(starts) - 1))
    recording = Recording(seconds, recognisers.speech(seconds).astype(np.float32))
    return recording, Prediction(seconds, tasks, tuple(windows))


EMOTIONS = ["anger", "joy", "calm"]
TASKS = {"arousal": ["low", "high"], "emotion": EMOTIONS, "dimensions": ["arousal", "valence"]}


def stairs(axis, is_filled):
    patches = [patch for patch in axis.patches if isinstance(patch, StepPatch)]
    return [patch.get_data() for patch in patches if patch.get_fill() == is_filled]


@pytest.mark.parametrize("seconds", [0.5, 20.0, 120.0])
def test_attention_and_predictions_are_drawn_whole(seconds):
    recording, prediction = made_up(seconds, **TASKS)
    _, mels, *rows, attention = plot.figure("a.wav", recording, prediction).axes
    assert mels.get_xlim()[1] == attention.get_xlim()[1] >= max(seconds, 7.2)
    drawn = zip(stairs(attention, False), prediction.tasks.values(), strict=True)
    for (density, edges, _), estimate in drawn:
        assert len(density) <= plot.STEPS
        assert np.sum(density * np.diff(edges)) == pytest.approx(100)
        assert edges[-1] == pytest.approx(estimate.attention[-1].end)
    assert [row.get_ylabel() for row in rows] == list(TASKS)
    for row, (task, names) in zip(rows, TASKS.items(), strict=True):
        shown = names[1:] if len(names) == 2 and task != "dimensions" else names
        drawn = zip(shown, stairs(row, False), stairs(row, True), strict=True)
        for name, (mean, edges, _), (high, _, low) in drawn:
            values = [window.tasks[task].values[name] for window in prediction.windows]
            np.testing.assert_allclose(mean, values)
            np.testing.assert_allclose(high - low, 0.1)
            assert (edges[0], edges[-1]) == (0, seconds)
            for first, last, window in zip(edges, edges[1:], prediction.windows, strict=False):
                assert first <= (window.start + window.end) / 2 <= last


@pytest.mark.parametrize(("seconds", "is_padded"), [(1.0, True), (14.4, False)])
def test_padding_is_marked(seconds, is_padded):
    recording, prediction = made_up(seconds, arousal=["low", "high"])
    for axis in plot.figure("a.wav", recording, prediction).axes[:3]:
        marked = [patch for patch in axis.patches if isinstance(patch, Rectangle) and patch.get_hatch()]
        assert len(marked) == is_padded
        assert all(patch.get_x() == pytest.approx(seconds) for patch in marked)


def test_long_recordings_are_drawn_in_few_columns_that_keep_their_peaks(monkeypatch):
    monkeypatch.setattr(plot, "COLUMNS", 50)
    recording, prediction = made_up(60.0, arousal=["low", "high"])
    waveform, mels, *_ = plot.figure("a.wav", recording, prediction).axes
    [(high, edges, low)] = stairs(waveform, True)
    assert len(high) == mels.images[0].get_array().shape[1] == plot.COLUMNS
    assert (low.min(), high.max()) == (recording.samples.min(), recording.samples.max())
    assert edges[-1] == pytest.approx(60)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("$x^{$ \\frac.wav", "$x^{$ \\frac.wav"),
        ("two\nlines\x1b[31m.wav", "two\\nlines\\x1b[31m.wav"),
        ("语音.wav", "语音.wav"),
        ("not \udcff text.wav", "not \\udcff text.wav"),
        ("a" * 300 + ".wav", "a" * 60 + " ... " + "a" * 31 + ".wav"),
    ],
)
def test_names_are_shown_literally(name, shown):
    recording, prediction = made_up(0.5, arousal=["low", "high"])
    assert plot.figure(name, recording, prediction).get_suptitle().split("\n")[0] == shown


def test_a_picture_is_the_same_to_the_byte_and_changes_no_settings(tmp_path, monkeypatch):
    recording, prediction = made_up(1.0, arousal=["low", "high"])
    prediction = prediction._replace(tasks={"arousal": prediction.tasks["arousal"]._replace(attention=())})
    recording, before = recording._replace(samples=np.zeros_like(recording.samples)), dict(mpl.rcParams)
    for name in ("a.png", "b.png"):
        plot.draw(tmp_path / name, "語 $a$.wav", recording, prediction)
    assert dict(mpl.rcParams) == before
    content = (tmp_path / "a.png").read_bytes()
    assert content == (tmp_path / "b.png").read_bytes()
    assert b"atplotlib" not in content
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        plot.draw(tmp_path / "a.png", "a.wav", recording, prediction)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.png", "b.png"]
    assert (tmp_path / "a.png").read_bytes() == content
