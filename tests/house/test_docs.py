"""The documents show the files that are tested, as they are."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from ganzoo.plugin.spec import KINDS

DOCS = ROOT / "docs"
DOCUMENTS = sorted(DOCS.rglob("*.md"))

sys.path.insert(0, str(DOCS))
from embed import embed, shown  # noqa: E402


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(DOCS).as_posix())
def test_files_are_shown_as_they_are(document: Path) -> None:
    assert embed(document) == document.read_text(encoding="utf-8"), "run: python docs/embed.py"


def test_the_guide_shows_every_file_of_the_sample_plugins_once() -> None:
    package = ROOT / "examples" / "plugins"
    files = {package / "pyproject.toml", *package.glob("ganzoo_examples/*.py")}
    files.remove(package / "ganzoo_examples" / "__init__.py")
    pages = sorted((DOCS / "plugins").glob("*.md"))
    paths = [(page.parent / link).resolve() for page in pages for link in shown(page.read_text(encoding="utf-8"))]
    assert set(paths) == files
    assert len(paths) == len(files)


def test_the_guide_has_a_page_for_each_kind() -> None:
    pages = {page.stem for page in (DOCS / "plugins").glob("*.md")}
    assert pages == {"index", "hooks", *KINDS}
    index = (DOCS / "plugins" / "index.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| \[(\w+)\]\(\1\.md\)", index, re.MULTILINE)) == {"hooks", *KINDS}


def test_a_change_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    document = tmp_path / "a.md"
    document.write_text("Text.\n\n[`a.py`](a.py)\n\n```python\n```\n\nMore.\n")
    assert "x = 1" in embed(document)
    document.write_text("Text.\n\n[`b.py`](b.py)\n\n```python\n```\n")
    with pytest.raises(FileNotFoundError):
        embed(document)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(DOCS).as_posix())
def test_links_lead_somewhere(document: Path) -> None:
    for link in re.findall(r"\]\(([^)#:\s]+)\)", document.read_text(encoding="utf-8")):
        assert (document.parent / link).exists(), link


@pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("mkdocs", "material", "mkdocstrings"))), reason="needs the extra 'docs'"
)
def test_the_site_is_built_and_refers_to_nothing_outside_of_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    # No server answers: what is built may not depend on one.
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "HTTPS_PROXY": "http://127.0.0.1:9"}
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, encoding="utf-8")
    assert built.returncode == 0, built.stderr
    pages = sorted(tmp_path.rglob("*.html"))
    assert len(pages) > len(DOCUMENTS) + len(list(DOCS.glob("notebooks/*.ipynb")))  # each and 404.html
    for page in pages:
        text = page.read_text(encoding="utf-8")
        # What a browser loads by itself; where a reader may go is another matter.
        assert not re.findall(r"<(?:script|link|img|iframe|source)\b[^>]*=[\"']?(?:https?:)?//[^>]*>", text), page
        assert 'class="mermaid"' not in text, "the theme loads what draws it from another server"
        for picture in re.findall(r'<img[^>]* src="([^"]+)"', text):
            assert (page.parent / picture).is_file(), picture
    for sheet in tmp_path.rglob("*.css"):
        assert not re.search(r"(?:url\(|@import\s+)[\"']?(?:https?:)?//", sheet.read_text(encoding="utf-8")), sheet
    reference = (tmp_path / "api" / "index.html").read_text(encoding="utf-8")
    assert 'id="ganzoo.training.train.train"' in reference
    assert "Train a GAN into a new run folder" in reference
