"""Detectors: their features against references, what they are trained on, their figures, and the command."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Command
from PIL import Image as Pillow

from ganzoo import UserError, load_registry
from ganzoo_plugins.detection import training
from ganzoo_plugins.detection.corruption import augmented
from ganzoo_plugins.detection.detector import Detector, middle, scores
from ganzoo_plugins.detection.networks import Residual, Spectrum
from ganzoo_plugins.detection.training import Settings, figures, split, threshold_of, train

RANDOM = np.random.default_rng(0)


def noise(count: int, size: tuple[int, int] = (20, 20)) -> list[np.ndarray]:
    return list(RANDOM.integers(0, 256, (count, *size, 3)).astype(np.uint8))


def upsampled(count: int) -> list[np.ndarray]:
    """Images whose every 2 x 2 pixels are one: what a bad generator leaves."""
    return [image.repeat(2, axis=0).repeat(2, axis=1) for image in noise(count, (10, 10))]


@pytest.mark.parametrize("size", [(16, 16), (17, 40)])
def test_features_are_those_of_the_definition(size: tuple[int, int]) -> None:
    images = RANDOM.uniform(0, 255, (2, 3, *size))
    found = Spectrum(16).double().features(torch.from_numpy(images)).numpy()
    gray = images.mean(axis=1) / 255
    rows, columns = (np.arange(side) for side in size)
    window = np.outer(*(np.sin(np.pi * (np.arange(side) + 0.5) / side) ** 2 for side in size))
    gray = (gray - (gray * window).sum((1, 2), keepdims=True) / window.sum()) * window
    power: dict[int, list[Any]] = {}
    for u in range(-16, 17):
        for v in range(17):
            wave = np.exp(-2j * np.pi * (u / 32 * rows[:, None] + v / 32 * columns))
            power.setdefault(round(np.hypot(u, v)), []).append(np.abs((gray * wave).sum((1, 2))) ** 2)
    radial = np.stack([np.mean(power[radius], axis=0) for radius in range(24)], axis=1) / (window**2).sum()
    np.testing.assert_allclose(found[:, :24], np.log(radial + 1e-6), atol=1e-5)
    even = images[:, :, : size[0] // 2 * 2, : size[1] // 2 * 2]
    residual = np.abs(even - even[:, :, ::2, ::2].repeat(2, axis=2).repeat(2, axis=3))
    for index, (down, across) in enumerate(((0, 1), (1, 0), (1, 1))):
        part = residual[:, :, down::2, across::2].reshape(2, -1)
        wanted = [np.log((part**2).mean(1) + 1e-3), np.log(part.mean(1) + 1e-3), (part < 0.5).mean(1)]
        np.testing.assert_allclose(found[:, 24 + 3 * index : 27 + 3 * index], np.stack(wanted, 1), atol=1e-9)


def test_upsampling_is_found_in_the_zeros() -> None:
    batch = torch.from_numpy(np.stack(upsampled(2)).transpose(0, 3, 1, 2).astype(np.float32))
    assert Spectrum(20).features(batch)[:, 26::3].eq(1).all()


def test_the_threshold_keeps_the_rate() -> None:
    real = RANDOM.permutation(100).astype(float)
    assert threshold_of(real, 0.05) == 94
    assert (real > threshold_of(real, 0.05)).mean() == 0.05
    assert threshold_of(real, 0.001) == 99  # none of so few
    found = figures(np.array([0.0, 1, 2, 5]), np.array([3.0, 4, 6, -1]), 2.5)
    # By decreasing score: 6 fake, 5 real, 4 fake, 3 fake, 2, 1, 0 real, -1 fake.
    assert found["average_precision"] == pytest.approx((1 / 1 + 2 / 3 + 3 / 4 + 4 / 8) / 4)
    assert (found["accuracy"], found["found"], found["accuracy_at_half"]) == (0.75, 0.75, 0.5)


def test_parts_share_no_image() -> None:
    images = [np.full((1, 1, 3), index, np.uint8) for index in range(50)]
    parts = split(images, 3)
    assert [len(part) for part in parts] == [30, 10, 10]
    assert sorted(int(image[0, 0, 0]) for part in parts for image in part) == list(range(50))


def test_augmentation_blurs_half_and_compresses_half(monkeypatch: pytest.MonkeyPatch) -> None:
    import ganzoo_plugins.detection.corruption as corruption

    qualities: list[int] = []
    monkeypatch.setattr(corruption, "as_jpeg", lambda image, quality: qualities.append(quality) or image)
    random, image = np.random.default_rng(0), noise(1, (24, 30))[0]
    results = [augmented(image, random, 20) for _ in range(400)]
    assert {result.shape for result in results} == {(20, 20, 3)}
    crops = {image[top : top + 20, left : left + 20].tobytes() for top in range(5) for left in range(11)}
    crops |= {image[top : top + 20, left : left + 20][:, ::-1].tobytes() for top in range(5) for left in range(11)}
    assert 0.4 < np.mean([result.tobytes() not in crops for result in results]) < 0.6
    assert 0.4 < len(qualities) / 400 < 0.6
    assert (min(qualities), max(qualities)) == (30, 100)
    assert middle(np.zeros((300, 20, 3), np.uint8)).shape == (256, 20, 3)


@pytest.mark.parametrize("method", ["cnn", "spectrum"])
def test_a_detector_learns_and_its_file_scores_any_size(method: Any, tmp_path: Path) -> None:
    settings = Settings(method, steps=12, batch=16)
    trained = train(noise(60), {"up": upsampled(60)}, settings, quiet=True)
    again = train(noise(60), {"up": upsampled(60)}, settings, quiet=True)
    assert trained.network.signature == again.network.signature
    if method == "spectrum":
        assert trained.report()["sources"]["up"]["average_precision"] > 0.9
    report = trained.report()
    trained.export(tmp_path / "detector.onnx", report)
    detector = Detector(tmp_path)
    assert detector.threshold == trained.threshold
    assert detector.about["sources"] == report["sources"]
    images = [*noise(2), *noise(1, (33, 18)), *noise(1, (256, 40))]

    def in_torch(batch: np.ndarray) -> np.ndarray:
        return trained.network(torch.from_numpy(batch)).numpy()

    np.testing.assert_allclose(detector.scores(images), scores(in_torch, images), atol=1e-4)


def test_the_network_works_at_any_size_and_keeps_details() -> None:
    network = Residual(16, width=4).eval()
    assert network(torch.zeros(2, 3, 16, 31)).shape == (2, 1)
    assert [block.shortcut.stride[0] if hasattr(block.shortcut, "stride") else 1 for block in network.blocks] == [
        1,
        2,
        2,
    ]


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for name, images in (("real", noise(40)), ("fake", upsampled(40))):
        (tmp_path / name).mkdir()
        for index, image in enumerate(images):
            Pillow.fromarray(image).save(tmp_path / name / f"{index}.png")
    return tmp_path / "real", tmp_path / "fake"


def test_the_command(cli: Command, folders: tuple[Path, Path], caplog: pytest.LogCaptureFixture) -> None:
    real, fake = folders
    (real / "broken.png").write_bytes(b"no image")
    arguments = ("--real", real, "--fake", fake, "--fake", "zoo:gan_fc-mnist5k", "--method", "spectrum", "--out", "d")
    outcome = cli("detect", "train", *arguments)
    assert outcome.code == 0, outcome.err
    assert "broken.png" in caplog.text
    report = json.loads(Path("d/report.json").read_text())
    assert set(report["sources"]) == {str(fake), "zoo:gan_fc-mnist5k"}
    assert report["trained_on"]["zoo:gan_fc-mnist5k"] == 40
    with Pillow.open("d/roc.png") as opened:
        assert opened.width > 300
    for path in ("d", "d/detector.onnx"):
        found = json.loads(cli("detect", fake, real / "0.png", "--with", path, "--json").out)
        assert len(found["images"]) == 41
        assert np.mean([record["generated"] for record in found["images"][:40]]) > 0.5
    assert "of 1 above" in cli("detect", real / "0.png", "--with", "d").err
    # With NumPy and onnxruntime alone, in a process of its own.
    code = "import sys; from ganzoo.cli import main; main(sys.argv[1:]); assert 'torch' not in sys.modules"
    command = [sys.executable, "-c", code, "detect", str(real / "0.png"), "--with", "d"]
    assert subprocess.run(command, capture_output=True, timeout=120).returncode == 0


def test_what_cannot_be_is_refused(
    cli: Command, folders: tuple[Path, Path], trained: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, fake = folders
    cli("detect", real, "--with", "zoo:gan_fc-mnist5k").refused("no detector", "detect train")
    cli("detect", real / "none.png", "--with", "none").refused("none")

    def told(*arguments: object, real: Path = real) -> Any:
        return cli("detect", "train", "--real", real, "--out", "d", *arguments)

    told("--fake", fake, real=fake / "0.png").refused("--real is a folder")
    told("--fake", fake, "--fake", fake).refused("twice")
    told("--fake", fake, "--fake", real).refused("given as real and as generated")
    told("--fake", "zoo:nothing").refused("nothing")
    told("--fake", fake, "--false-positives", 1.5).refused("between 0 and 1")
    told("--fake", trained["gaussians"]).refused("points")
    told("--fake", trained["digits"]).refused("16 x 16")
    (fake / "few").mkdir()
    Pillow.new("RGB", (20, 20)).save(fake / "few" / "a.png")
    told("--fake", fake / "few").refused("and a detector takes at least 20")
    monkeypatch.setattr(training, "_fit_residual", None)  # it is not trained for nothing
    told("--fake", fake, "--out", fake / "0.png" / "d").refused("cannot write")
    Pillow.new("RGB", (20, 9)).save(real / "small.png")
    cli("detect", "train", "--real", real, "--fake", fake, "--out", fake / "0.png").refused("--out is a folder")
    assert not Path("d").exists()


def test_a_threshold_from_outside_is_a_number(tmp_path: Path) -> None:
    writer = load_registry().get("format", "onnx").spec.load()()
    network = Spectrum(16).eval().requires_grad_(False)
    model = {"key": "detector", "plugin": "someone", "version": "1"}
    writer.export(network, tmp_path / "x.onnx", {"model": model, "detector": {"threshold": "high"}})
    with pytest.raises(UserError, match="no detector"):
        Detector(tmp_path / "x.onnx")
