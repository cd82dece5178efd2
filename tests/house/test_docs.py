"""The documents show the files that are tested, as they are."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from conftest import ROOT

DOCS = ROOT / "docs"
GUIDE = DOCS / "write-a-plugin.md"

sys.path.insert(0, str(DOCS))
from embed import embed, shown  # noqa: E402


@pytest.mark.parametrize("document", sorted(DOCS.glob("*.md")), ids=lambda path: path.name)
def test_files_are_shown_as_they_are(document: Path) -> None:
    assert embed(document) == document.read_text(encoding="utf-8"), "run: python docs/embed.py"


def test_the_guide_shows_every_file_of_the_outsider() -> None:
    package = ROOT / "tests" / "outsider"
    files = {package / "pyproject.toml", *package.glob("ganzoo_outsider/*.py")} - {
        package / "ganzoo_outsider/__init__.py"
    }
    paths = [(DOCS / link).resolve() for link in shown(GUIDE.read_text(encoding="utf-8"))]
    assert set(paths) == files
    assert len(paths) == len(files)


def test_a_change_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    document = tmp_path / "a.md"
    document.write_text("Text.\n\n[`a.py`](a.py)\n\n```python\n```\n\nMore.\n")
    assert "x = 1" in embed(document)
    document.write_text("Text.\n\n[`b.py`](b.py)\n\n```python\n```\n")
    with pytest.raises(FileNotFoundError):
        embed(document)


@pytest.mark.parametrize("document", sorted(DOCS.glob("*.md")), ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for link in re.findall(r"\]\(([^)#:\s]+)\)", document.read_text(encoding="utf-8")):
        assert (document.parent / link).exists(), link
