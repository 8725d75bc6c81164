"""The documentation as pages: built without a warning, nothing loaded from elsewhere, no lost link."""

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = ("docs", "ser_jax", "experiments", "examples", "tests")
LOADING = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "audio": "src"}


class Page(HTMLParser):
    """The anchors of a page, its links, and what a browser loads with it."""

    def __init__(self, path):
        super().__init__()
        self.ids, self.links, self.loaded = set(), set(), set()
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.ids |= {found[name] for name in ("id", "name") if found.get(name)}
        if tag in ("a", "area") and found.get("href"):
            self.links.add(found["href"])
        if tag == "link" and found.get("rel") not in ("index", "search", "next", "prev", "canonical"):
            self.loaded.add(found["href"])
        if tag in LOADING and found.get(LOADING[tag]):
            self.loaded.add(found[LOADING[tag]])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Build the pages from a copy, as `make docs` builds them."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    ignored = shutil.ignore_patterns("__pycache__", "modules")
    for folder in SOURCES:
        shutil.copytree(ROOT / folder, source / folder, ignore=ignored)
    for file in ROOT.iterdir():
        if file.is_file() and not file.name.startswith("."):
            shutil.copy(file, source)
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-c", "docs", ".", str(out)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def pages(site):
    return {path: Page(path) for path in site.rglob("*.html")}


def test_nothing_is_loaded_from_elsewhere(site, pages):
    loaded = {path: page.loaded for path, page in pages.items()}
    for path in site.rglob("*.css"):
        loaded[path] = set(re.findall(r"(?:url\(|@import )\s*['\"]?([^'\")\s]+)", path.read_text()))
    for path, names in loaded.items():
        assert not [name for name in names if re.match(r"(?!data:)[a-z]+:|//", name)], path


def test_links_lead_somewhere(site, pages):
    lost = []
    for path, page in pages.items():
        for link in page.links | page.loaded:
            parts = urlsplit(link)
            if parts.scheme or link.startswith("//"):
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            there = target.is_file()
            if there and parts.fragment and target.suffix == ".html":
                there = unquote(parts.fragment) in pages[target].ids
            if not there:
                lost.append(f"{path.relative_to(site)}: {link}")
    assert not lost, "\n".join(sorted(lost))
