"""The pages of the docs: every link inside the project leads somewhere."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("weights/*/*.md")])


def links(text):
    """Targets of the links and pictures of a page that stay within the project."""
    return [target for target in re.findall(r"\]\(([^)\s]+)\)", text) if ":" not in target]


def anchors(text):
    """Names that GitHub gives to the headings of a page."""
    titles = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def broken(page):
    """Links of a page that lead nowhere."""
    for link in links(page.read_text()):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target.read_text())):
            yield link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    assert list(broken(page)) == []


def named_code(text):
    """Files, folders and modules of this project that a text names outside its examples, as paths.

    `NAME` stands for what a reader adds.
    """
    text = re.sub(r"^```(?!mermaid).*?^```", "", text, flags=re.M | re.S)
    top = "(?:diffsynth|pipeline|tests|benchmarks|examples|docs)"
    files = re.findall(rf"(?<![\w/.-]){top}/[\w./-]*\w", text)
    modules = re.findall(r"(?<![\w/.-])(?:diffsynth|pipeline)(?:\.[a-z_]\w*)+", text)
    paths = {name.replace(".", "/") for name in modules if not name.endswith((".flac", ".db"))}
    return {path for path in {*files, *paths} if "NAME" not in path}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_and_modules_that_pages_name_exist(page):
    paths = sorted(ROOT / name for name in named_code(page.read_text()))
    assert [path for path in paths if not path.exists() and not path.with_suffix(".py").exists()] == []


def test_a_name_of_code_is_found():
    text = "(`diffsynth/midi/`, `tests/test_docs.py`) `diffsynth.midi.events` docs/diffsynth.flac data/demo"
    assert named_code(text) == {
        *("diffsynth/midi", "tests/test_docs.py", "diffsynth/midi/events", "docs/diffsynth.flac")
    }


def test_a_broken_link_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# A word, and `code`\n[a](#a-word-and-code) [b](#b) [c](c.md) ![d](page.md) [e](https://example.org/x)\n"
    )
    assert list(broken(page)) == ["#b", "c.md"]
