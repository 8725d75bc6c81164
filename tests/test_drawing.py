"""The picture of a recording: what stands where, against recognitions made by hand."""

import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.image import imread
from matplotlib.patches import Polygon, Rectangle, StepPatch
from ser_jax.recognizer.hearing import Heard
from ser_jax.recognizer.recognition import Estimate, Recognition, Segment, Window

from ser_jax.recognizer import drawing

TARGETS = ("arousal", "valence")


def estimate(rng, target, start, count):
    weight = rng.dirichlet(np.ones(count))
    segments = tuple(Segment(start + 0.9 * i, start + 0.9 * (i + 1), float(w)) for i, w in enumerate(weight))
    probability, spread = rng.random(2)
    return Estimate({"arousal": "high", "valence": "negative"}[target], probability, 0.3 * spread, segments)


def made_up(seconds, targets=TARGETS, seed=0):
    """A recording and what might be said of it."""
    rng = np.random.default_rng(seed)
    frames = max(1, round(100 * seconds) - 2)
    outline = np.sort(rng.uniform(-0.5, 0.5, (frames, 2)).astype(np.float32), axis=1)
    heard = Heard(seconds, rng.normal(-40, 10, (frames, 26)).astype(np.float32), outline)
    starts = [3.6 * i for i in range(1 + max(0, int(np.ceil((seconds - 7.5) / 3.6 - 1e-9))))]
    windows = tuple(
        Window(start, min(start + 7.5, seconds), {t: estimate(rng, t, start, 8) for t in targets})
        for start in starts
    )
    whole = {t: estimate(rng, t, 0.0, 8 + 4 * (len(starts) - 1)) for t in targets}
    return heard, Recognition(seconds, whole, windows)


def steps(axis):
    """(values, edges) of the steps that are drawn as lines."""
    return [patch.get_data()[:2] for patch in axis.patches if isinstance(patch, StepPatch) and not patch.fill]


def filled(axis):
    return [patch.get_data() for patch in axis.patches if isinstance(patch, StepPatch) and patch.fill]


def hatched(axis):
    found = [patch for patch in axis.patches if patch.get_hatch()]
    assert all(isinstance(patch, Rectangle | Polygon) for patch in found)
    return [(patch.get_x(), patch.get_x() + patch.get_width()) for patch in found]


def drawn(seconds, **options):
    heard, said = made_up(seconds, **options)
    *axes, attention = drawing.figure("a.wav", heard, said).axes
    return heard, said, axes, attention


@pytest.mark.parametrize("seconds", [0.025, 1.0, 7.5, 20.0, 1800.0])
def test_the_attention_of_a_recording_is_drawn_whole(seconds):
    _, said, (_, mels, *_), attention = drawn(seconds)
    assert mels.get_xlim() == attention.get_xlim() == (0, said.windows[-1].start + 7.5)
    for (density, edges), name in zip(steps(attention), TARGETS, strict=True):
        assert len(density) <= drawing.STEPS
        assert np.sum(density * np.diff(edges)) == pytest.approx(100)
        assert edges[-1] == pytest.approx(said.targets[name].attention[-1].end)
        assert edges[-1] <= attention.get_xlim()[1]
        assert density.max() < attention.get_ylim()[1]
    assert [text.get_text() for text in attention.get_legend().get_texts()] == list(TARGETS)


def test_the_attention_of_few_segments_is_that_of_each():
    _, said, _, attention = drawn(20.0)
    for (density, edges), name in zip(steps(attention), TARGETS, strict=True):
        segments = said.targets[name].attention
        np.testing.assert_allclose(edges[:-1], [segment.start for segment in segments])
        np.testing.assert_allclose(density * 0.9, [100 * segment.weight for segment in segments])


@pytest.mark.parametrize(("seconds", "count"), [(0.5, 1), (7.5, 1), (20.0, 5), (200.0, 55)])
def test_a_target_has_a_row_with_the_probability_of_each_window(seconds, count):
    _, said, (_, _, *rows), _ = drawn(seconds)
    for axis, name in zip(rows, TARGETS, strict=True):
        [(mean, edges)] = steps(axis)
        [(high, _, low)] = filled(axis)
        own = [window.targets[name] for window in said.windows]
        assert len(mean) == len(own) == count
        assert (edges[0], edges[-1]) == (0, seconds)
        for one, first, last, window in zip(mean, edges, edges[1:], said.windows, strict=False):
            assert first <= (window.start + window.end) / 2 <= last
            assert one in [estimate.probability for estimate in own]
        np.testing.assert_allclose(mean, [one.probability for one in own])
        np.testing.assert_allclose(high, [min(one.probability + one.spread, 1) for one in own])
        np.testing.assert_allclose(low, [max(one.probability - one.spread, 0) for one in own])
        assert any(set(line.get_ydata()) == {0.5} for line in axis.lines)
        assert axis.get_ylabel() == name
    assert [text.get_text() for text in rows[1].get_yticklabels()] == ["negative 0", "0.5", "positive 1"]


def test_one_target_has_one_row():
    *_, axes, attention = drawn(3.0, targets=("valence",))
    assert [axis.get_ylabel() for axis in axes] == ["sound", "mel band", "valence"]
    assert len(steps(attention)) == 1


@pytest.mark.parametrize("seconds", [1.0, 5.0, 20.0])
def test_padding_is_marked_from_the_end_of_the_sound(seconds):
    _, said, axes, _ = drawn(seconds)
    for axis in axes:
        [(start, end)] = hatched(axis)
        assert start == pytest.approx(seconds, abs=0.021)
        assert end == said.windows[-1].start + 7.5
    said = [text.get_text() for text in axes[1].texts]
    assert said == (["padding"] if seconds < 7 else [])


def test_sound_that_fills_its_windows_has_no_padding():
    *_, axes, _ = drawn(11.1)
    assert not any(hatched(axis) for axis in (axes[0], *axes[2:]))


@given(st.integers(1, 9000), st.integers(1, 3000))
def test_groups_are_as_many_as_fit_and_of_like_size(count, most):
    groups = drawing._groups(count, most)
    sizes = np.diff(np.append(groups, count))
    assert len(groups) == min(count, most)
    assert groups[0] == 0
    assert sizes.sum() == count
    assert sizes.max() - sizes.min() <= 1


def test_a_long_recording_is_drawn_in_few_columns_that_keep_its_peaks():
    heard, _, (sound, mels, *rows), _ = drawn(7300.0)
    [(high, edges, low)] = filled(sound)
    assert len(high) == drawing.COLUMNS
    assert (low.min(), high.max()) == (heard.outline.min(), heard.outline.max())
    assert edges[-1] == pytest.approx(len(heard.outline) / 100)
    [image] = mels.images
    level = image.get_array()
    assert level.shape == (26, drawing.COLUMNS)
    assert level.mean() == pytest.approx(heard.logmel.mean(), abs=0.01)
    [(mean, _)] = steps(rows[0])
    assert len(mean) == drawing.COLUMNS


def test_the_log_mels_of_a_short_recording_stand_at_their_time_and_band():
    heard, _, (_, mels, *_), _ = drawn(5.0)
    [image] = mels.images
    np.testing.assert_array_equal(image.get_array(), heard.logmel.T)
    assert image.get_extent() == [0, 4.98, -0.5, 25.5] or image.get_extent() == (0, 4.98, -0.5, 25.5)
    assert image.origin == "lower"


def test_the_title_says_what_was_heard_and_what_was_found():
    heard, said = made_up(1.0)
    arousal = said.targets["arousal"]._replace(probability=0.71, spread=0.06)
    valence = said.targets["valence"]._replace(probability=0.3, spread=0.0)
    said = said._replace(targets={"arousal": arousal, "valence": valence})
    title = drawing.figure("a/b.wav", heard, said).get_suptitle()
    assert title == "a/b.wav\narousal high (high: 0.71 ± 0.06)     valence negative (positive: 0.30)"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("$x^{$ \\frac.wav", "$x^{$ \\frac.wav"),
        ("two\nlines\x1b[31m.wav", "two\\nlines\\x1b[31m.wav"),
        ("语音.wav", "\u25a1\u25a1.wav"),
        ("voil\u00e0 \u0420\u0443.wav", "voil\u00e0 \u0420\u0443.wav"),
        ("not \udcff text.wav", "not \\udcff text.wav"),
        ("a" * 300 + ".wav", "a" * 60 + " ... " + "a" * 31 + ".wav"),
    ],
)
def test_a_name_is_shown_as_text_whatever_it_holds(tmp_path, name, shown):
    heard, said = made_up(0.5)
    assert drawing.figure(name, heard, said).get_suptitle().split("\n")[0] == shown
    drawing.draw(tmp_path / "a.png", name, heard, said)


def test_silence_is_drawn(tmp_path):
    heard, said = made_up(1.0)
    silent = heard._replace(logmel=np.full_like(heard.logmel, -100), outline=np.zeros_like(heard.outline))
    drawing.draw(tmp_path / "a.png", "a.wav", silent, said)


def test_a_picture_is_the_same_to_the_byte_and_changes_no_settings(tmp_path):
    heard, said = made_up(3.0)
    before = dict(mpl.rcParams)
    for name in ("a.png", "b.png", "b.png"):
        drawing.draw(tmp_path / name, "a.wav", heard, said)
    assert dict(mpl.rcParams) == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.png", "b.png"]
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert b"atplotlib" not in (tmp_path / "a.png").read_bytes()
    high, wide, _ = imread(tmp_path / "a.png").shape
    assert 600 < high < wide == 1350


def test_what_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    heard, said = made_up(1.0)
    with pytest.raises(FileNotFoundError):
        drawing.draw(tmp_path / "nowhere" / "a.png", "a.wav", heard, said)
    (tmp_path / "a.png").write_text("what was there")
    monkeypatch.setattr(Path, "replace", lambda *_: full())
    with pytest.raises(OSError, match="No space left"):
        drawing.draw(tmp_path / "a.png", "a.wav", heard, said)
    assert [file.read_text() for file in tmp_path.iterdir()] == ["what was there"]


def full():
    raise OSError("No space left on device")


def test_matplotlib_is_loaded_for_drawing_alone_and_never_with_its_windows(tmp_path):
    code = (
        "import sys; import numpy as np; from pathlib import Path\n"
        "from ser_jax.recognizer import predicting\n"
        "from ser_jax.recognizer.hearing import Heard\n"
        "from ser_jax.recognizer.recognition import Estimate, Recognition, Segment, Window\n"
        "print('matplotlib' in sys.modules)\n"
        "from ser_jax.recognizer import drawing\n"
        "targets = {'arousal': Estimate('low', 0.2, 0.1, (Segment(0.0, 0.9, 1.0),))}\n"
        "heard = Heard(1.0, np.zeros((98, 26), 'f4'), np.zeros((98, 2), 'f4'))\n"
        "said = Recognition(1.0, targets, (Window(0.0, 1.0, targets),))\n"
        "drawing.draw(Path(sys.argv[1]), 'a', heard, said); print('matplotlib.pyplot' in sys.modules)"
    )
    command = [sys.executable, "-c", code, tmp_path / "a.png"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "False\nFalse\n"
