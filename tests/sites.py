"""Folders like site-packages, with distributions and plugins made for a test."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import invalidate_caches
from pathlib import Path
from zipfile import ZipFile

from conftest import ROOT

from ganzoo.plugin.registry import Registry, load_registry


@dataclass
class Site:
    """A folder like site-packages."""

    folder: Path

    def add(self, distribution: str, version: str = "1.0", at: str = "", **sources: str) -> None:
        """Install a distribution with one plugin for each keyword, whose source is the value."""
        folder = self.folder / at
        stem = distribution.replace("-", "_").replace(".", "_")
        metadata = folder / f"{stem}-{version}.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        lines = ["[console_scripts]", "x = y:z", "[ganzoo.plugins]"]
        for name, source in sources.items():
            (folder / f"{stem}_{name}.py").write_text(f"from ganzoo import Spec, hookimpl\n{source}")
            lines.append(f"{name} = {stem}_{name}")
        (metadata / "entry_points.txt").write_text("\n".join(lines))
        invalidate_caches()

    def load(self) -> Registry:
        return Registry([str(self.folder)])


@contextmanager
def importable(folder: Path) -> Iterator[None]:
    """Put the folder on sys.path, and forget afterwards what was imported from it, and the registry that knows it."""
    path = sys.path  # a test may put another list in its place
    path.insert(0, str(folder))
    invalidate_caches()
    load_registry.cache_clear()
    try:
        yield
    finally:
        path.remove(str(folder))
        load_registry.cache_clear()
        for name, module in list(sys.modules.items()):
            if (getattr(module, "__file__", None) or "").startswith(str(folder)):
                del sys.modules[name]


def install_samples(folder: Path) -> Path:
    """Build the wheel of the sample plugins, ``examples/plugins``, and return a folder that it is installed into."""
    source, site = folder / "source", folder / "site"
    shutil.copytree(ROOT / "examples" / "plugins", source, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=source, check=True, capture_output=True)
    (wheel,) = folder.glob("ganzoo_examples-0.1.0-*.whl")
    ZipFile(wheel).extractall(site)  # of pure Python nothing else is to be done
    return site
