"""What a model knows of speakers it never heard: what it is asked, and measures of calibrated answers."""

import json

import jax
import numpy as np
import pytest
import recognisers
from corpora import noise_corpus
from scipy.special import expit
from sklearn.metrics import log_loss

from ser_jax import model
from ser_jax.metrics import uar
from ser_jax.model import AttentiveCNN
from ser_jax.recognizer import evaluation

pytestmark = pytest.mark.usefixtures("hastily")


def test_utterances_are_asked_about_whole_short_louder_and_softer():
    frames = np.array([20, 48, 49, 198, 199, 750])
    wanted = evaluation.variants(frames)
    whole = np.isinf(wanted.cut)
    assert [wanted.level[whole].tolist().count(level) for level in (0, -10, 10)] == [6, 6, 6]
    for seconds, most, longer in (
        (0.5, 48, [2, 3, 4, 5]),
        (1, 98, [3, 4, 5]),
        (2, 198, [4, 5]),
        (4, 398, [5]),
    ):
        own = wanted.only(wanted.cut == seconds)
        assert own.row.tolist() == longer
        assert (own.frames == most).all()
        assert not own.level.any()
    assert (wanted.frames[whole] == frames[wanted.row[whole]]).all()


def test_margins_are_those_of_each_utterance_by_itself():
    trained = recognisers.drawn(seeds=2, sizes=AttentiveCNN(channels=4))
    [corpus] = [noise_corpus("de", sessions=2, each=2, frames=300)]
    rows = np.array([5, 2, 7])
    wanted = evaluation.variants(corpus.frames[rows])
    found = evaluation.margins(trained, corpus.features, rows, wanted)
    for place in range(len(wanted.row)):
        frames = wanted.frames[place]
        x = corpus.features[rows[wanted.row[place]], :frames]
        x = np.maximum(x + np.float32(wanted.level[place]), -100)
        padded = np.zeros((1, 750, 26), np.float32)
        padded[0, :frames] = (x - trained.mean) * trained.scale
        for k, target in enumerate(trained.targets.values()):
            for seed in range(2):
                params = jax.tree.map(lambda leaf: leaf[seed], target.params)  # noqa: B023
                logits = model.apply(trained.sizes, params, padded).outputs[0]
                assert found[k, seed, place] == pytest.approx(float(logits[1] - logits[0]), abs=1e-4)


def drawn_answers(people="abcd"):
    """Answers that are three times too sure of whole utterances, and worth nothing of half a second."""
    draw = np.random.default_rng(0)
    heard = evaluation.HeldOut(
        draw.integers(0, 2, 200), np.repeat(list(people), 200 // len(people)), np.repeat(["x", "y"], 100)
    )
    wanted = evaluation.variants(np.full(200, 750))
    labels = heard.labels[wanted.row]
    margin = np.repeat(3 * draw.normal(2 * labels - 1, 1.5)[None], 3, axis=0)
    worthless = wanted.cut == 0.5
    margin[:, worthless] = 3 * draw.normal(0, 1.5, worthless.sum())
    return margin, wanted, heard


def test_the_measures_are_of_calibrated_probabilities():
    margin, wanted, heard = drawn_answers()
    temperature, found = evaluation.measured(margin, wanted, heard)
    whole = np.isinf(wanted.cut) & (wanted.level == 0)
    decided = (expit(margin[0, whole]) > 0.5).astype(int)
    assert found["uar"] == pytest.approx(uar(heard.labels, decided), abs=1e-6)
    assert found["uar_seeds"] == pytest.approx([found["uar"]] * 3, abs=1e-6)
    assert found["uar_interval"][0] < found["uar"] < found["uar_interval"][1]
    assert np.sum(found["confusion"]) == found["utterances"] == found["asked"] == 200
    assert found["log_loss"] < found["uncalibrated"]["log_loss"]
    assert (
        found["seconds"]["0.5"]["log_loss"]
        < log_loss(heard.labels, expit(margin[0, wanted.cut == 0.5])) - 0.3
    )
    assert list(found["seconds"]) == ["0.5", "1", "2", "4"]
    assert list(found["louder"]) == ["-10 dB", "+10 dB"]
    assert temperature.value > 1
    assert temperature.decay > 0
    assert set(found["corpora"]) == {"x", "y"}
    assert json.loads(json.dumps(found)) == found


def test_a_single_speaker_is_judged_uncalibrated():
    margin, wanted, heard = drawn_answers("a")
    temperature, found = evaluation.measured(margin, wanted, heard)
    assert {name: found[name] for name in found["uncalibrated"]} == found["uncalibrated"]
    assert temperature.value > 1
