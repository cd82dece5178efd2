"""The notebooks of docs/notebooks run from the first cell to the last, and were run as they are."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))

needs_kernel = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("nbclient", "ipykernel"))), reason="needs nbclient and ipykernel"
)


def execute(name: str) -> subprocess.CompletedProcess[str]:
    # No npm, which would fetch a package for the web page, and warnings are errors in the kernel as well.
    environment = {**os.environ, "PATH": str(Path(sys.executable).parent), "PYTHONWARNINGS": "error::UserWarning"}
    command = [sys.executable, "-W", "default", str(ROOT / "docs" / "notebooks.py"), "--check", name]
    return subprocess.run(command, env=environment, capture_output=True, text=True, encoding="utf-8", check=False)


@needs_kernel
@pytest.mark.parametrize(
    "notebook",
    [pytest.param(path, marks=() if path.stem == "conditions-and-editing" else pytest.mark.slow) for path in NOTEBOOKS],
    ids=lambda path: path.stem,
)
def test_notebooks_run(notebook: Path) -> None:
    done = execute(notebook.stem)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_is_stored_was_executed_and_is_small(notebook: Path) -> None:
    text = notebook.read_text(encoding="utf-8")
    cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    counts = [cell["execution_count"] for cell in cells]
    assert counts == list(range(1, len(cells) + 1)), "run: python docs/notebooks.py"
    assert not re.findall(r'"output_type": "error"|"name": "stderr"|/home/|/tmp/|/Users/|\\\\Users', text)
    assert len(text) < 300_000


def test_links_in_notebooks_lead_somewhere() -> None:
    for notebook in NOTEBOOKS:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
        for link in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text):
            assert (notebook.parent / link).exists(), f"{notebook.name}: {link}"
