"""One page of HTML about runs, which asks no server and runs nothing that names in files say; titles of pictures."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

import ganzoo
from ganzoo import Image, Run, UserError
from ganzoo.images.animation import save_progress
from ganzoo.images.titles import columns_named

EVIL = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'"


class Page(HTMLParser):
    """Tags, what they refer to, and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.handlers: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "action", "data", "srcset"):
                self.sources.append(value or "")
            if name.startswith("on"):
                self.handlers.append(name)

    def handle_data(self, data: str) -> None:
        self.text += data


def made(root: Path, name: str, rate: float, evil: bool = False) -> Run:
    """Return a run folder as a training leaves it, written by hand."""
    path = root / name
    (path / "samples").mkdir(parents=True)
    (path / "config.toml").write_text(
        f'plugin = "torch-ganzoo/gan_fc"\nsteps = 40\n[model]\nlr = {rate}\n[data]\nname = "torch-ganzoo/gaussians"\n'
        f'[loss]\nname = "minimax"\n[metric."torch-ganzoo/modes"]\nsamples = 20\n'
        f"[environment]\ntorch = {json.dumps(EVIL if evil else '2.9')}\n"
    )
    rows = [{"step": step, "generator/loss": 1 / (step + 1), "modes/kl": rate * step} for step in range(0, 41, 2)]
    rows[3]["generator/loss"] = float("nan")
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    noise = np.random.default_rng(0).integers(0, 255, (700, 700), dtype=np.uint8)
    Pillow.fromarray(noise).save(path / "reals.png", compress_level=0)
    for step in range(0, 41, 4):
        (path / "samples" / f"{step:06d}.png").write_bytes((path / "reals.png").read_bytes())
    run = Run(path)
    run.note(20, "warning", EVIL if evil else "collapse")
    return run


def size_of(path: Path) -> tuple[int, int]:
    with Pillow.open(path) as image:
        return image.size


def test_a_page_holds_everything_and_asks_nobody(tmp_path: Path) -> None:
    runs = [made(tmp_path, "0001-a", 0.001), made(tmp_path, "0002-b", 0.002)]
    out = ganzoo.report(runs, tmp_path / "both.html")
    text = out.read_text(encoding="utf-8")
    page = Page(text)
    assert all(source.startswith("data:image/") for source in page.sources)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert "default-src 'none'" in text
    assert page.tags.count("figure") == 2 * 7, "six grids and the real samples of each"
    assert page.sources[0].startswith("data:image/svg+xml")
    for said in ("step 0", "step 40", "real", "model.lr", "0.002", "after step 20: collapse", "2.9", "modes/kl"):
        assert said in page.text, said
    assert re.search(r"<td class=best>0\.04</td><td>0\.08</td><td>lower", text), "the better one"
    assert len(text) < 14 * 500_000, "noise of 640 x 640 pixels, as WebP"
    assert ganzoo.report(runs, tmp_path / "again.html").read_bytes() == out.read_bytes()
    alone = Page(ganzoo.report([runs[0]], tmp_path / "one.html").read_text())
    assert "data.name" in alone.text, "all settings of one run"


def test_what_files_say_is_text(tmp_path: Path) -> None:
    run = made(tmp_path, "0003-<img src=x onerror=alert(1)>", 0.1, evil=True)
    (run.path / "eval.json").write_text(json.dumps({"figures": {f"{EVIL}/x": 1.0}}))
    (run.path / "metrics.jsonl").write_text(json.dumps({"step": 2, f"{EVIL}/loss": 1.0}) + "\n")
    (run.path / "samples" / "000000.png").write_bytes(b"no image")
    page = Page(ganzoo.report([run], tmp_path / "evil.html").read_text())
    assert not page.handlers
    assert "script" not in page.tags
    assert all(source.startswith("data:image/") for source in page.sources)
    assert page.text.count("alert(1)") >= 5, "it is read"


def test_the_command(tmp_path: Path, cli) -> None:
    made(tmp_path, "0001-a", 0.001)
    assert cli("report", "0001-a").out.strip() == "report.html"
    cli("report", "0001-a", "--out", "report.pdf").refused("a report is a .html")
    cli("report", "nowhere").refused("nowhere")
    with pytest.raises(UserError, match="name the runs"):
        ganzoo.report([])


def test_columns_are_named_and_frames_have_their_step(tmp_path: Path) -> None:
    pixels = np.zeros((64, 200, 3), np.uint8)
    named = columns_named(pixels, ["cat", "a very long name of a class"])
    assert named.shape == (84, 200, 3)
    assert (named[20:] == pixels).all()
    strip = named[:20].min(axis=(0, 2))
    assert strip[30:70].min() < 128, "in the middle of its column"
    assert strip[:30].min() == strip[199] == 255, "and not beyond it"
    samples = np.zeros((4, 1, 6, 6), np.float32)
    for name in ("with.png", "without.png"):
        names = ["0", "1"] if name == "with.png" else []
        ganzoo.save_grid(tmp_path / name, samples, Image(1, 6, 6), columns=2, names=names)
    sizes = [size_of(tmp_path / name) for name in ("with.png", "without.png")]
    assert sizes[0][1] == sizes[1][1] + 20
    grids = [tmp_path / "000000.png", tmp_path / "001500.png"]
    for grid in grids:
        Pillow.new("L", (90, 40), 128).save(grid)
    save_progress(tmp_path / "film.gif", grids)
    with Pillow.open(tmp_path / "film.gif") as film:
        frames = []
        for index in range(2):
            film.seek(index)
            frames.append(np.asarray(film.convert("L")).astype(int))
    assert frames[0].shape == (60, 90)
    assert (frames[0][20:] == 128).all()
    assert (abs(frames[0] - frames[1])[:20] > 64).sum() > 20, "other numbers"
