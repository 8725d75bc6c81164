"""Every block of README.md and of docs/ does what it says; its commands are run on little synthetic speech.

A comment above a block, which readers do not see, says what else is to be done with it:

    test: --epochs 1 --seeds 1     flags to add to those of its commands that have them
    test: parse                    its commands need a licence, a network, hardware or time: only the names of
                                   commands and flags, or Python's syntax, are checked
    test: parse train arecord      the same for the commands with one of these words
    test: status 1                 exit status of its last command
    test: prints EXPRESSION        what must be found in its output
    test: output                   it is output of the block before, whatever the numbers
    test: keys                     it is like the JSON that the block before prints
"""

import contextlib
import functools
import io
import itertools
import re

import pytest
import soundfile
from pair import share
from reading import ROOT, blocks, check, command, flags, lines, ran, split
from recognisers import speech

from ser_jax.data.databases import DATABASES
from ser_jax.data.synthetic import read_truth
from ser_jax.model import AttentiveCNN
from ser_jax.recognizer import packaged, train

TUTORIAL = ROOT / "docs" / "tutorial.md"
PAGES = [
    ROOT / "README.md",
    *(page for page in sorted((ROOT / "docs").rglob("*.md")) if page.parent.name != "measured"),
    ROOT / "ser_jax" / "data" / "README.md",
]
SYNTHETIC = {"synthetic_en": ("iemocap", "IEMOCAP_full_release"), "synthetic_fr": ("recola", "RECOLA")}
RELEASES = {  # the layout of the publishers: names of recordings, ten speakers, seven emotions
    "emodb": ("wav/{0:02d}a01{1}a.wav", (3, 8, 9, *range(10, 17)), "WLEAFTN"),
    "ravdess": ("Actor_{0:02d}/03-01-{1:02d}-01-01-01-{0:02d}.wav", range(1, 11), range(1, 8)),
}
pytestmark = pytest.mark.usefixtures("hastily", "undrawn")


class Reader:
    """Does what a page says in a folder, block by block."""

    def __init__(self, folder, patch):
        self.folder, self.patch, self.names, self.printed = folder, patch, {}, ""

    def do(self, block):
        if block.language == "python":
            code = compile("\n" * block.line + block.text, str(block.page), "exec")
            with contextlib.redirect_stdout(io.StringIO()) as out:
                if block.marker("parse") is None:
                    exec(code, self.names)
            self.printed = out.getvalue()
        elif block.marker("keys") is not None:
            shown, printed = (set(re.findall(r'"\w+":', text)) for text in (block.text, self.printed))
            assert shown <= printed, f"{block}: {shown - printed}"
        elif block.marker("output") is not None:
            shown, printed = skeleton(block.text), skeleton(self.printed)
            assert all(line in printed for line in shown), f"{block}: {shown}\n{printed}"
        else:
            assert block.language == "", f"{block}: {block.language} without a marker"
            self.printed = "".join(self.commands(block))
        if (expression := block.marker("prints")) is not None:
            assert re.search(expression, self.printed), f"{block}: {self.printed}"

    def commands(self, block):
        parsed, todo = block.marker("parse"), lines(block.text)
        added = [marker.split() for marker in block.markers if marker.startswith("--")]
        for line in todo:
            check(line)
            if parsed == "" or (parsed and any(word in line for word in parsed.split())):
                continue
            if assigned := re.fullmatch(r"export (\w+)=(\S+)", line):
                self.patch.setenv(*assigned.groups())
                continue
            [words] = split(line)
            have = flags(command(words)) if added else {}
            for some in added:
                pairs = zip(some[::2], some[1::2], strict=True)
                words += [word for pair in pairs if pair[0] in have for word in pair]
            yield ran(words, int(block.marker("status") or 0) if line == todo[-1] else 0)[0]


def skeleton(text):
    """Return lines without what depends on how much was trained: numbers, and the widths of columns."""
    return [re.sub(r"[\d.,]+%?|-{2,}", "0", line).replace(" ", "") for line in text.splitlines()]


def read(page, folder, patch):
    reader = Reader(folder, patch)
    for block in blocks(page):
        reader.do(block)


@pytest.fixture(scope="module", autouse=True)
def _narrow():
    """Train recognisers of few channels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "fit", functools.partial(train.fit, network=AttentiveCNN(channels=8)))
        yield


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory, undrawn):
    """Return the tutorial's folder after its last block; the other pages use its speech and corpora.

    Its annotations of 23 speakers at 7,501 instants are read once.
    """
    folder, recola = tmp_path_factory.mktemp("tutorial"), DATABASES["recola"]
    known = functools.cache(recola.read)

    @functools.wraps(recola.read)
    def read_once(source, **options):
        return known(source.resolve(), **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DATABASES, "recola", recola._replace(read=read_once))
        with pytest.MonkeyPatch.context() as own:
            own.chdir(folder)
            own.setenv("TFDS_DATA_DIR", "nowhere")
            read(TUTORIAL, folder, own)
        share(folder / "first")
        yield folder


@pytest.fixture(scope="module")
def databases(tutorial, tmp_path_factory):
    """Return a folder of databases as released, and `data`, with what the tutorial prepared and two more."""
    folder = tmp_path_factory.mktemp("databases")
    for database, (layout, speakers, emotions) in RELEASES.items():
        for seed, names in enumerate(itertools.product(speakers, emotions)):
            path = folder / database / layout.format(*names)
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, speech(1.0, seed=seed), 16_000)
        where = ["--source", folder / database, "--data-dir", folder / "data", "--workers", 1]
        ran(["ser-jax", "prepare", database, *where])
    for name, (database, tree) in SYNTHETIC.items():
        (folder / tree).symlink_to(tutorial / "first" / "speech" / tree)
        (folder / "data" / database).mkdir()
        (folder / "data" / database / name).symlink_to(tutorial / "first" / "data" / database / name)
    return folder


def furnish(folder, page, databases):
    """Put what a page supposes into a folder: recordings, a model, databases, prepared corpora."""
    for path in (databases / "data").glob("*/*"):
        (folder / "data" / path.parent.name).mkdir(parents=True, exist_ok=True)
        (folder / "data" / path.parent.name / path.name).symlink_to(path)
    (folder / "results" / "demo").mkdir(parents=True)
    (folder / "results" / "demo" / "data").symlink_to(folder / "data")
    for tree in databases.iterdir():
        if tree.name != "data":
            (folder / tree.name).symlink_to(tree)
    (folder / "examples").symlink_to(ROOT / "examples")
    if "--out my-model" not in page.read_text():
        (folder / "my-model").symlink_to(packaged())
    (folder / "recordings").mkdir()
    for path in ("speech.wav", "recordings/speech.wav"):
        soundfile.write(folder / path, speech(9.0), 16_000)
    english = (databases / "IEMOCAP_full_release").resolve()
    truth, recordings = read_truth(english.parent), sorted(english.rglob("*.wav"))
    for number, path in enumerate(path for path in recordings if path.stem in truth):
        classes = truth[path.stem]
        speaker = folder / "my" / (path.stem[3:5] + path.stem.split("_")[-1][0])
        speaker.mkdir(parents=True, exist_ok=True)
        (speaker / f"{classes['arousal']}_{classes['valence']}_{number:03d}.wav").symlink_to(path)


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page != TUTORIAL and blocks(page)], ids=lambda page: page.stem
)
def test_a_page_does_what_it_says(page, databases, tmp_path, monkeypatch):
    """The tutorial is read by the fixtures."""
    furnish(tmp_path, page, databases)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(ROOT / "examples")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "data"))
    read(page, tmp_path, monkeypatch)


def test_every_file_of_a_results_folder_is_in_the_reference(tutorial):
    out, known = tutorial / "first" / "results", set()
    for row in (ROOT / "docs" / "reference" / "results_folder.md").read_text().splitlines():
        path = ""
        for name in re.findall(r"`([^`]+)`", row.partition(" | ")[0]) if row.startswith("| `") else ():
            path = path.rpartition(".")[0] + name if name.startswith(".") else name
            pattern = re.sub("SETTING|TRAIN|TEST|TASK", "[a-z0-9_+]+", re.escape(path))
            known.add(pattern.replace("<script>", "[a-z0-9_]+") + (".*" if path.endswith("/") else ""))
    there = [str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()]
    assert len(there) > 15
    assert not [path for path in there if not any(re.fullmatch(pattern, path) for pattern in known)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_in_sentences_exist(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for line in dict.fromkeys(re.findall(r"`((?:ser-jax [a-z]|python -m|make )[^`]*)`", text)):
        check(line)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_no_line_is_taken_for_a_comment(page):
    """MyST leaves out lines that begin with a percent sign."""
    assert not re.findall(r"^%.*", page.read_text(), flags=re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_tables_are_those_that_were_measured(page):
    """A table below `<!-- measured: NAME -->` is part of docs/measured/NAME.md."""
    for name, table in re.findall(r"<!-- measured: (\w+) -->\n((?:\|.*\n)+)", page.read_text()):
        measured = (ROOT / "docs" / "measured" / f"{name}.md").read_text()
        assert table in measured, f"{page}: {name}"
        assert re.match(r"`.*`; .*; \d{4}-\d\d-\d\d; commit [0-9a-f]{7}", measured), f"{name}: no provenance"
