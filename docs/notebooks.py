"""Executes docs/notebooks/*.ipynb, each in an empty folder, and stores what they show.

With ``--check`` nothing is stored: it fails if a cell fails, or shows something of another kind than what is stored,
as it does after an edit that was not executed. Needs nbclient and ipykernel.

Usage: python docs/notebooks.py [--check] [NAME ...]
"""

import base64
import io
import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

HERE = Path(__file__).parent / "notebooks"
_WIDTH = 560  # pixels of a stored picture
_LIMIT = 300_000  # bytes of a notebook: pictures in it are small


def execute(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return the notebook as it is after a run in a new kernel; a cell that fails raises CellExecutionError."""
    # As the tests run; a kernel that compiles frozen modules warns about its debugger otherwise.
    os.environ |= {"OMP_NUM_THREADS": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GANZOO_CACHE"] = str(Path(folder, "cache"))
        where = {"metadata": {"path": folder}}
        client = NotebookClient(notebook, timeout=600, kernel_name="python3", resources=where, record_timing=False)
        executed: nbformat.NotebookNode = client.execute()
    for output in (each for cell in executed.cells for each in cell.get("outputs", [])):
        if "image/png" in output.get("data", {}):
            output.data["image/png"] = _smaller(output.data["image/png"])
    executed.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return executed


def _smaller(png: str) -> str:
    """Return a .png, in base64, with so few colors and pixels that a repository can hold it."""
    with Image.open(io.BytesIO(base64.b64decode(png))) as picture:
        picture.thumbnail((_WIDTH, _WIDTH), Image.Resampling.BOX)
        stored = io.BytesIO()
        picture.convert("RGB").quantize(64, dither=Image.Dither.NONE).save(stored, "PNG", optimize=True)
    return base64.b64encode(stored.getvalue()).decode()


def shown(notebook: nbformat.NotebookNode) -> list[list[str]]:
    """Return what kinds of things each cell shows: which streams, which media types."""
    return [
        [str(output.get("name") or sorted(output.get("data", {"error": ""}))) for output in cell.get("outputs", [])]
        for cell in notebook.cells
    ]


def main() -> None:
    """Execute the notebooks that are named, or all."""
    check = "--check" in sys.argv
    names = [name for name in sys.argv[1:] if name != "--check"]
    for path in [HERE / f"{name}.ipynb" for name in names] or sorted(HERE.glob("*.ipynb")):
        stored = nbformat.read(path, as_version=4)
        kinds = shown(stored)
        fresh = execute(stored)
        if any("stderr" in kinds_of_cell for kinds_of_cell in shown(fresh)):
            sys.exit(f"{path.name} writes to stderr, which is no part of a story")
        if not check:
            nbformat.write(fresh, path)
        elif shown(fresh) != kinds:
            sys.exit(f"{path.name} was changed and not executed; run: python docs/notebooks.py {path.stem}")
        if path.stat().st_size > _LIMIT:
            sys.exit(f"{path.name} has {path.stat().st_size:,} bytes of at most {_LIMIT:,}: show smaller pictures")


if __name__ == "__main__":
    main()
