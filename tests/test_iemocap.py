"""IEMOCAP's layout and its irregularities."""

import json
import shutil

import pytest

from ser_jax.data import iemocap

HEADER = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"
RATERS = "C-E2:\tNeutral;\t()\nA-E3:\tval 1; act 1; dom  1;\t(Ses01F_is_no_turn)\n\n"


def read(source):
    return iemocap.read(source).utterances


def turn(name, valence=2.5, activation=3.5, dominance=1.5, emotion="neu"):
    return f"[6.2901 - 8.2357]\t{name}\t{emotion}\t[{valence:.4f}, {activation:.4f}, {dominance:.4f}]\n"


def dialog(root, name, lines, wavs=()):
    """Writes one dialog's label file and its recordings (never opened by the reader)."""
    session = root / f"Session{name[4]}"
    labels = session / "dialog" / "EmoEvaluation"
    labels.mkdir(parents=True, exist_ok=True)
    (labels / f"{name}.txt").write_text(HEADER + "".join(lines), encoding="latin-1")
    folder = session / "sentences" / "wav" / name
    folder.mkdir(parents=True, exist_ok=True)
    for wav in wavs:
        (folder / f"{wav}.wav").touch()
    return labels / f"{name}.txt"


@pytest.fixture
def release(tmp_path):
    root = tmp_path / "IEMOCAP_full_release"
    f, m = "Ses01F_impro01_F000", "Ses01F_impro01_M003"
    dialog(root, "Ses01F_impro01", [turn(f), RATERS, turn(m, 5.5, 2.5, 0.5, "xxx"), RATERS], [f, m])
    return root


def test_arousal_is_the_second_number_and_the_speaker_the_last_letter(release):
    first, second = read(release)
    assert (first.id, first.valence, first.arousal) == ("Ses01F_impro01_F000", 2.5, 3.5)
    assert (first.speaker, first.sex, first.session, first.language) == ("01F", "female", "1", "en")
    assert (second.speaker, second.sex) == ("01M", "male")
    assert second.path == release / "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_M003.wav"
    assert (second.start, second.stop) == (0.0, None)


def test_dominance_dialogue_and_raters_are_kept(release, tmp_path):
    first, second = read(release)
    assert (first.dominance, second.dominance) == (1.5, 0.5)
    rated = {"E2": {"emotion": ["Neutral"]}, "E3": {"valence": 1.0, "arousal": 1.0, "dominance": 1.0}}
    assert json.loads(first.raters) == rated
    assert iemocap.read(release).scales == dict.fromkeys(("arousal", "valence", "dominance"), (1.0, 5.0))
    name = "Ses01M_script01_1"
    lines = "C-E2:\tAnger; Disgust;\t(very)\nC-E4:\t;\t()\nA-E3:\tval 2; act ; dom  4.5;\t()\nA-E4:\t;\n"
    dialog(tmp_path / "other", name, [turn(f"{name}_F001"), lines, turn(f"{name}_F002")])
    scripted, unrated = read(tmp_path / "other")
    assert (first.dialogue, scripted.dialogue) == ("improvised", "scripted")
    raters = {"E2": {"emotion": ["Anger", "Disgust"]}, "E3": {"valence": 2.0, "dominance": 4.5}}
    assert json.loads(scripted.raters) == raters
    assert unrated.raters == ""


@pytest.mark.parametrize("name", ["Ses03M_impro05a", "Ses05M_script01_1b", "Ses05M_script01_1"])
def test_odd_dialog_names(tmp_path, name):
    dialog(tmp_path, name, [turn(f"{name}_F001")])
    (utterance,) = read(tmp_path)
    assert (utterance.id, utterance.speaker) == (f"{name}_F001", f"0{name[4]}F")
    assert utterance.path.parent.name == name


def test_copies_made_on_a_mac_and_raters_folders_are_passed_over(release):
    labels = release / "Session1/dialog/EmoEvaluation"
    (labels / "._Ses01F_impro01.txt").write_bytes(b"\x00\x05\x16\x07Mac OS X\xb0")
    (labels / "Categorical").mkdir()
    (labels / "Categorical" / "Ses01F_impro01_e1.txt").write_text("Ses01F_impro01_F000 :neutral; ()")
    assert len(read(release)) == 2


@pytest.mark.parametrize("source", ["", "IEMOCAP_full_release", "IEMOCAP_full_release/Session1"])
def test_some_sessions_or_one_are_enough(release, source, caplog):
    assert read(release.parent / source) == read(release)
    assert "no Session2, Session3, Session4, Session5; IEMOCAP has Session1 to Session5" in caplog.text


def test_labels_are_read_without_recordings(release):
    before = read(release)
    shutil.rmtree(release / "Session1/sentences")
    assert read(release) == before
    assert before[1].place == f"{release / 'Session1/dialog/EmoEvaluation/Ses01F_impro01.txt'}:7"


def test_what_a_release_lacks_is_warned_of(release, caplog):
    (release / "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F009.wav").touch()
    (release / "Session1/sentences/wav/Ses01F_impro01/._Ses01F_impro01_F000.wav").touch()
    catalog = iemocap.read(release)
    assert len(catalog.utterances) == 2
    (absent,) = (record.getMessage() for record in caplog.records)
    assert absent.endswith("no Session2, Session3, Session4, Session5; IEMOCAP has Session1 to Session5")
    (unlabelled,) = catalog.unlabelled
    assert unlabelled == str(release / "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F009.wav")
