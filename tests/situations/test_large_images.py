"""Images of many pixels: limits that are checked before anything is decoded, and tiles without seams."""

import struct
import subprocess
import sys
import zlib

import numpy as np
import PIL.Image
import pytest
import torch
from torch import nn

import ganzoo
from ganzoo import Image, ImageReader, Latent, Mask, Network, Signature, UserError
from ganzoo.images.reading import fitted
from ganzoo.inference import tiling
from ganzoo.inference.sampling import TorchSampler
from ganzoo.inference.tiling import Translator, tiles
from ganzoo_plugins.datasets.folder import Folder
from ganzoo_plugins.networks.unet import UNet
from ganzoo_plugins.translation.networks import ResNet

LOCAL = ("pix2pix-shapes", "discogan-shapes", "dualgan-shapes", "inpaint-shapes", "inpaint_z-mnist5k")
"""Translators of the zoo that can be computed in tiles."""


def bomb(path, width, height):
    """A PNG whose header promises what no machine holds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b""))
    chunks = [
        struct.pack(">I", len(part)) + kind + part + struct.pack(">I", zlib.crc32(kind + part)) for kind, part in parts
    ]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    return path


def scene(width, height, channels=3):
    """Something with edges, slopes and noise."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([(x // 7 + y // 5) * 9 % 256, (x * y // 50) % 256, 255 * ((x // 40 + y // 30) % 2)], -1)
    pixels = np.clip(pixels + rng.integers(-20, 20, pixels.shape), 0, 255).astype(np.uint8)
    return PIL.Image.fromarray(pixels).convert("RGB" if channels == 3 else "L")


# --- limits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "height"), [(200_000, 200_000), (12_000, 12_000)])
def test_too_many_pixels_are_refused_before_they_are_decoded(cli, tmp_path, width, height, caplog):
    path = bomb(tmp_path / "in" / "bomb.png", width, height)
    words = (
        f"{width:,} x {height:,} pixels" if width < 2e4 else f"{width * height:,} pixels",
        "the limit is 134,217,728",
    )
    for command in (("translate", "zoo:discogan-shapes", path, "out.png"), ("encode", "zoo:aae-mnist5k", path)):
        cli(*command).refused(*words, "--max-pixels N")
    scene(32, 32).save(tmp_path / "in" / "good.png")
    assert cli("translate", "zoo:discogan-shapes", "in", "out").code == 0
    assert "bomb.png" in caplog.text
    caplog.clear()
    assert Folder(Folder.Config(path=tmp_path / "in")).files == ("good.png",)
    assert "--set data.max_pixels=" in caplog.text


def test_the_limit_can_be_moved(cli, tmp_path, caplog):
    scene(40, 30).save(tmp_path / "a.png")
    for command in (("translate", "zoo:discogan-shapes", "a.png", "out.png"), ("encode", "zoo:aae-mnist5k", "a.png")):
        cli(*command, "--max-pixels", 1199).refused("40 x 30 pixels", "the limit is 1,199")
        assert cli(*command, "--max-pixels", 1200).code == 0
    with pytest.raises(UserError, match=r"no image in .* 40 x 30 pixels"):
        Folder(Folder.Config(path=tmp_path, max_pixels=1199))
    before = PIL.Image.MAX_IMAGE_PIXELS
    assert ImageReader(max_pixels=2**40).size(bomb(tmp_path / "b.png", 200_000, 200_000)) == (200_000, 200_000)
    assert before == PIL.Image.MAX_IMAGE_PIXELS


def test_formats_end_before_the_work_begins(cli, tmp_path):
    PIL.Image.new("RGB", (16_400, 8)).save(tmp_path / "wide.png")
    cli("translate", "zoo:discogan-shapes", "wide.png", "out.webp").refused("16,400", "WEBP", "16,383", ".png")


# --- how far a network sees -------------------------------------------------------------------------------------------


class Local(Network):
    """A network of the zoo's kind with other parts inside."""

    def __init__(self, body, multiple=1, channels=3):
        image = Image(channels, 8 * multiple, 8 * multiple, multiple=multiple)
        super().__init__(Signature((image,), image))
        self.body = body

    def forward(self, x):
        return torch.tanh(self.body(x))


class Place(nn.Module):
    """Tells where in the image a pixel is."""

    def forward(self, x):
        return x + torch.linspace(0, 1, x.shape[3])


class Attention(nn.Module):
    """Of every pixel to those of its row."""

    def forward(self, x):
        rows = x.permute(0, 2, 3, 1)
        return (torch.softmax(rows @ rows.mT, dim=-1) @ rows).permute(0, 3, 1, 2)


def convolution(size, **options):
    return nn.Conv2d(3, 3, size, padding=size // 2, **options)


@pytest.mark.parametrize(
    ("body", "multiple", "reach"),
    [
        (lambda: convolution(1), 1, 1),  # one multiple at least
        (lambda: convolution(7), 1, 3),
        (lambda: nn.Sequential(convolution(7, padding_mode="reflect"), nn.ReLU(), convolution(5)), 1, 5),
        (lambda: nn.Conv2d(3, 3, 5, padding=40, dilation=20), 1, 40),
        (lambda: nn.Sequential(*[nn.Conv2d(3, 3, 5, padding=64, dilation=32) for _ in range(2)]), 1, 128),
        (lambda: UNet(3, 3, 4, 3), 8, 16),
        (lambda: UNet(3, 3, 4, 5, skips=False), 32, 64),
        (lambda: nn.InstanceNorm2d(3), 1, None),
        (lambda: ResNet(3, 3, 4, 1), 4, None),
        (Place, 1, None),
        (Attention, 1, None),
        (lambda: nn.Sequential(convolution(3), nn.GroupNorm(1, 3)), 1, None),
    ],
)
def test_how_far_a_network_sees_is_measured(body, multiple, reach):
    torch.manual_seed(1)
    network = Local(body(), multiple)
    for parameter in network.parameters():  # as strong as trained ones: what is far away does not fade
        torch.nn.init.normal_(parameter, std=0.3)
    assert Translator(TorchSampler(network, {"signature": network.signature.to_json()})).reach == reach


@pytest.mark.parametrize("name", LOCAL)
def test_the_zoo_s_local_networks_are_found_to_be(name):
    assert Translator(ganzoo.load(f"zoo:{name}")).reach in (8, 16, 64)


def test_instance_norm_is_found_in_a_file():
    assert Translator(ganzoo.load("zoo:cyclegan-shapes")).reach is None


# --- tiles ------------------------------------------------------------------------------------------------------------


def test_tiles_cover_the_image_once():
    seen = np.zeros((96, 136), int)
    for inner, outer in tiles(96, 136, 8, 48, 8):
        left, upper, right, lower = inner
        seen[upper:lower, left:right] += 1
        assert max(outer[2] - outer[0], outer[3] - outer[1]) <= 48
        assert all(side % 8 == 0 for side in outer[:2])
        for (edge, further), end in zip(zip(inner, outer, strict=True), (0, 0, 136, 96), strict=True):
            assert abs(edge - further) == 8 or further == end
    assert (seen == 1).all()


@pytest.mark.parametrize("name", LOCAL)
def test_seams_are_below_one_level(name):
    """Numbers before rounding: what is drawn in tiles against the whole image at once."""
    model = ganzoo.load(f"zoo:{name}")
    mine = Translator(model)
    size = 600 if mine.reach == 64 else 200
    image = scene(size, size - 30, mine.field.channels)
    hole = PIL.Image.fromarray(
        np.where(np.random.default_rng(1).random(image.size[::-1]) < 0.7, 255, 0).astype(np.uint8)
    )

    def run(box):
        inputs = []
        for field in mine.signature.inputs:
            match field:
                case Latent():
                    inputs.append(np.ones((1, *field.shape), np.float32))
                case Mask():
                    inputs.append(np.ascontiguousarray(fitted(hole, field, box)[None], np.float32) / 255)
                case _:
                    inputs.append(np.ascontiguousarray(fitted(image, field, box)[None], np.float32) / 127.5 - 1)
        return model(*inputs)[0]

    whole = run(None)
    apart, count = 0.0, 0
    for (left, upper, right, lower), outer in tiles(*whole.shape[1:], mine.reach, 4 * mine.reach, mine.multiple):
        part = run(outer)[:, upper - outer[1] : lower - outer[1], left - outer[0] : right - outer[0]]
        apart = max(apart, float(np.abs(part - whole[:, upper:lower, left:right]).max()) / 2)
        count += 1
    assert count > 10
    assert apart < 1 / 255 / 4


@pytest.mark.parametrize("name", ["pix2pix-shapes", "discogan-shapes", "inpaint-shapes"])
def test_large_images_are_translated_in_tiles_to_the_same_pixels(cli, tmp_path, monkeypatch, name):
    image = scene(331, 290)
    image.save(tmp_path / "in.png")
    hole = PIL.Image.new("L", image.size)
    hole.paste(255, (50, 60, 300, 280))
    hole.save(tmp_path / "mask.png")
    mask = ("--mask", "mask.png") if name.startswith("inpaint") else ()
    outputs = []
    for at_once in (2**22, 1000):
        monkeypatch.setattr(tiling, "_AT_ONCE", at_once)
        monkeypatch.setattr(tiling, "_TILE", 64)
        outcome = cli("translate", f"zoo:{name}", "in.png", "out.png", *mask)
        assert outcome.code == 0
        assert ("tile " in outcome.err) == (at_once == 1000)
        with PIL.Image.open(tmp_path / "out.png") as drawn:
            outputs.append(np.asarray(drawn).astype(int))
    assert outputs[0].shape == (290, 331, 3)
    difference = np.abs(outputs[0] - outputs[1])
    assert difference.max() <= 1  # where a number is rounded the other way
    assert (difference > 0).mean() < 0.001


def test_networks_that_see_the_whole_image_are_given_it_or_refuse(cli, tmp_path, monkeypatch, caplog):
    scene(64, 60).save(tmp_path / "in.png")
    arguments = ("translate", "zoo:cyclegan-shapes", "in.png", "out.png")
    assert cli(*arguments).code == 0
    usual = (tmp_path / "out.png").read_bytes()
    monkeypatch.setattr(tiling, "_AT_ONCE", 1000)
    outcome = cli(*arguments)
    assert outcome.code == 0
    assert "tile" not in outcome.err
    assert (tmp_path / "out.png").read_bytes() == usual
    PIL.Image.new("RGB", (5000, 4000)).save(tmp_path / "large.png")
    sentence = cli(*arguments[:2], "large.png", "out.png").refused("whole image at once", "5,000 x 4,000", "16,777,216")
    assert "--max-pixels 20000000" in sentence
    (tmp_path / "in").mkdir()
    for name in ("in.png", "large.png"):
        (tmp_path / name).rename(tmp_path / "in" / name)
    assert cli(*arguments[:2], "in", "out").code == 0
    assert "1 of 2 images" in caplog.text
    assert "5,000 x 4,000" in caplog.text


def test_networks_of_one_size_take_large_images(cli, tmp_path):
    PIL.Image.new("L", (3000, 2500), 200).save(tmp_path / "in.png")
    assert cli("encode", "zoo:aae-mnist5k", "in.png").code == 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["run", "file"])
def test_a_hundred_megapixels_take_less_than_two_gigabytes(tmp_path, cli, kind):
    image = PIL.Image.new("RGB", (10_000, 10_000))
    patch = scene(1000, 1000)
    for left in range(0, 10_000, 1000):
        for upper in range(0, 10_000, 1000):
            image.paste(patch, (left, upper))
    image.save(tmp_path / "in.png", compress_level=1)
    del image
    model = "zoo:discogan-shapes"
    if kind == "run":
        small = ("--set", "model.width=2", "--set", "model.discriminator_width=2")
        assert cli("train", "-p", "pix2pix", "--steps", 1, "-q", *small).code == 0
        (model,) = (tmp_path / "runs").iterdir()
    code = (
        "import resource, subprocess, sys\n"
        "done = subprocess.run(sys.argv[1:], capture_output=True)\n"
        "print(done.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    command = [sys.executable, "-m", "ganzoo", "translate", str(model), "in.png", "out.png"]
    said = subprocess.run(
        [sys.executable, "-c", code, *command], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    returned, peak = map(int, said.stdout.split())
    assert returned == 0
    assert peak * (1 if sys.platform == "darwin" else 1024) < 2 * 10**9
    assert ImageReader().size(tmp_path / "out.png") == (10_000, 10_000)
