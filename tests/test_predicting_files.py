"""Which recordings `ser-jax predict` hears: files, folders and patterns, each once."""

import pytest
import recognisers

from ser_jax.cli import main
from ser_jax.recognizer import predicting


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    return recognisers.recordings(tmp_path_factory.mktemp("recordings"))


def names(root, *files):
    return [str(root / file) for file in files]


def test_folders_patterns_and_files_are_looked_up_in_order(recordings):
    every = names(recordings, "a.wav", "b.flac", "deep/c.WAV", "deep/it's =2+3; $x$.ogg")
    assert predicting.files([str(recordings)]) == every
    assert predicting.files([str(recordings / "*.flac"), every[0]]) == [every[1], every[0]]
    assert predicting.files([str(recordings / "**" / "*.[wW][aA][vV]")]) == [every[0], every[2]]
    assert predicting.files(["nowhere.wav", "-"]) == ["nowhere.wav", "-"]
    assert predicting.files([every[3]]) == [every[3]]


def test_what_links_lead_back_to_is_taken_once(recordings, tmp_path, monkeypatch):
    (tmp_path / "z [1]").mkdir()
    (tmp_path / ".hidden").mkdir()
    for name in ("loop", "other", "z [1]/up"):  # two of them: following both would never end
        (tmp_path / name).symlink_to(tmp_path)
    for name in ("z.wav", "z [1]/b.wav", ".hidden/c.wav", "z [1]/.d.wav"):
        (tmp_path / name).write_bytes((recordings / "a.wav").read_bytes())
    (tmp_path / "again.wav").symlink_to("z.wav")
    monkeypatch.chdir(tmp_path)
    both = ["z [1]/b.wav", "z.wav"]
    assert predicting.files(["**/*.wav"]) == predicting.files(["**//*.wav"]) == both
    assert predicting.files(["**/**/*.wav"]) == both
    assert predicting.files([f"{tmp_path}/**/*.wav"]) == names(tmp_path, *both)
    assert predicting.files([f"{tmp_path}/**"]) == names(tmp_path, *both)
    assert predicting.files(["l*/**/b.wav", "z.wav", "z.wav"]) == ["loop/z [1]/b.wav", "z.wav", "z.wav"]
    assert predicting.files(["z.wav", "*.wav"]) == ["z.wav", "z.wav"]  # named and found


def test_an_empty_name_is_not_the_current_folder(recordings, monkeypatch, capsys):
    monkeypatch.chdir(recordings)
    for typed in (["predict", ""], ["predict", "a.wav", "", "--json"]):
        with pytest.raises(SystemExit) as ended:
            main(typed)
        assert ended.value.code == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert "argument FILE: '', expected a path" in err
