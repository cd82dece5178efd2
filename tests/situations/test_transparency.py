"""Transparency: laid on a color, learned as a fourth channel, and left alone by the colors of augmentation."""

import numpy as np
import PIL.Image
import pytest
import torch
from test_own_images import flat, load, pixels_of, trained_on

from ganzoo_plugins.datasets.domains import Paired


def test_transparency_is_laid_on_a_color_of_ones_choice(cli, tmp_path):
    flat(tmp_path / "in" / "a.png", (255, 0, 0, 0))
    flat(tmp_path / "in" / "b.png", (255, 0, 0, 128))
    pixels = {name: image[0, 0].tolist() for name, image in trained_on(load(tmp_path / "in")).items()}
    assert pixels == {"a.png": [255, 255, 255], "b.png": [255, 127, 127]}
    pixels = {
        name: image[0, 0].tolist() for name, image in trained_on(load(tmp_path / "in", background="#000080")).items()
    }
    assert pixels == {"a.png": [0, 0, 128], "b.png": [128, 0, 64]}
    flat(tmp_path / "both" / "a.png", (255, 0, 0, 0))
    pair = Paired(Paired.Config(path=tmp_path / "both", background="blue")).batch(torch.arange(1), torch.Generator())
    assert pair["a"][0, :, 0, 0].tolist() == [0, 0, 255]
    PIL.Image.new("L", (8, 8)).save(tmp_path / "nowhere.png")
    arguments = ("translate", "zoo:inpaint-shapes", "in/a.png", "out.png", "--mask", "nowhere.png")
    assert cli(*arguments, "--background", "rgb(1, 2, 3)").code == 0
    assert pixels_of(tmp_path / "out.png")[0, 0].tolist() == [1, 2, 3]
    for color in ("nocolor", "#ffffff80", "rgb(", ""):
        cli(*arguments, "--background", color).refused(repr(color), "#RRGGBB")
    train = ("train", "-p", "wgan_gp_conv", "--data", "folder", "--set", "data.path=in")
    cli(*train, "--set", "data.background=nocolor").refused("data.background", "laid on a color")


@pytest.fixture(scope="module")
def clear(tmp_path_factory):
    """A folder of images that are transparent in part, and runs of few steps on them by model."""
    from ganzoo.cli import main

    folder = tmp_path_factory.mktemp("clear")
    rng = np.random.default_rng(0)
    (folder / "images").mkdir()
    for index in range(12):
        PIL.Image.fromarray(rng.integers(0, 256, (8, 8, 4), np.uint8)).save(folder / "images" / f"{index:02}.png")
    made = {"images": folder / "images"}
    data = ("--data", "folder", "--set", f"data.path={folder / 'images'}", "--set", "data.mode=rgba")
    small = ("--steps", "2", "-q", "--set", "batch_size=4", "--set", "model.width=2")
    extra = {
        "wgan_gp_conv": ("--set", "model.latent_dim=4", "--set", 'model.augment.policy=["color"]'),
        "inpaint": ("--set", "model.discriminator_width=2", "--set", "model.patch_layers=1"),
    }
    for model, settings in extra.items():
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            main(["train", "-p", model, *data, *small, *settings, "--out", model])
            (made[model],) = (folder / model).iterdir()
            if model == "wgan_gp_conv":
                main(["export", str(made[model]), "--onnx"])
    return made


def test_a_gan_learns_and_draws_transparency(cli, clear, tmp_path):
    run = clear["wgan_gp_conv"]
    (sheet, *_) = sorted(run.glob("samples/*.png"))
    assert pixels_of(sheet).shape[-1] == 4
    assert pixels_of(sheet)[0, 0].tolist() == [255] * 4
    assert "RGBA" in (run / "README.md").read_text()
    for model in (run, run / "generator.onnx"):
        assert cli("sample", model, "-n", 4, "--out", "sheet.png").code == 0
        assert pixels_of(tmp_path / "sheet.png").shape[-1] == 4
        assert cli("sample", model, "-n", 4, "--out", "folder").code == 0
        alpha = pixels_of(tmp_path / "folder" / "000000.png")[..., 3]
        assert alpha.min() < 255
        assert cli("interpolate", model, "--out", "walk.gif", "--steps", 3).code == 0
        with PIL.Image.open(tmp_path / "walk.gif") as image:
            assert image.convert("RGBA").getchannel("A").getextrema() == (255, 255)
    assert cli("eval", run, "--metric", "memorization", "-n", 6, "--out", "judged").code == 0
    assert pixels_of(tmp_path / "judged" / "memorization.png").shape[-1] == 4


def test_networks_of_four_channels_are_given_them(cli, clear, tmp_path):
    images = clear["images"]
    PIL.Image.new("L", (8, 8)).save(tmp_path / "nowhere.png")
    assert cli("translate", clear["inpaint"], images, "out", "--mask", "nowhere.png").code == 0
    for path in images.iterdir():
        np.testing.assert_array_equal(pixels_of(tmp_path / "out" / path.name), pixels_of(path))
    cli("translate", clear["inpaint"], images / "00.png", "out.jpg", "--mask", "nowhere.png").refused(
        "transparency", "JPEG", ".png"
    )


def test_the_colors_of_augmentation_leave_transparency_alone():
    from ganzoo import Augment, AugmentConfig

    images = torch.rand(8, 4, 6, 6)
    changed = Augment(AugmentConfig(policy=("color",)), (0, 1))(images)
    assert torch.equal(changed[:, 3], images[:, 3])
    assert not torch.equal(changed[:, :3], images[:, :3])
