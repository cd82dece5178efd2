"""``ganzoo translate``, ``encode`` and ``eval`` on networks that take images, from runs and from files."""

import json

import numpy as np
import PIL.Image
import pytest
import torch

import ganzoo
from ganzoo import Image, ImageReader, Network, Run, Signature, load_registry
from ganzoo.images.reading import fitted
from ganzoo.inference.projection import descend, search

QUICK = ("--steps", "2", "-q", "--set", "batch_size=2", "--set", "model.width=2")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Runs of two steps by model, and the files of all their networks."""
    from ganzoo.cli import main

    folder = tmp_path_factory.mktemp("made")
    models = {
        "cyclegan": ("--data", "mnist_styles", "--set", "data.style=colored", "--set", "model.blocks=1"),
        "inpaint_z": ("--data", "digits", "--set", "model.patch_layers=1"),
        "aae": ("--data", "mnist5k", "--set", "model.latent_dim=4"),
    }
    runs = {}
    for model, extra in models.items():
        small = ("--set", "model.discriminator_width=2") if model != "aae" else ()
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            main(["train", "-p", model, *extra, *small, *QUICK, "--out", model])
            (runs[model],) = (folder / model).iterdir()
            main(["export", str(runs[model]), "--onnx", "--all"])
    return runs


def picture(path, size, mode="RGB", value=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = size
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (height, width, len(mode)), np.uint8) if value is None else value
    PIL.Image.fromarray(pixels.squeeze(-1) if mode == "L" else pixels, mode if mode == "RGBA" else None).save(path)
    return path


def pixels_of(path):
    with PIL.Image.open(path) as image:
        return np.asarray(image)


# --- translate ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(28, 28), (50, 31), (3, 100)])
def test_a_picture_of_any_size_keeps_it_from_the_run_and_from_the_file(cli, made, tmp_path, size):
    photo = picture(tmp_path / "in.png", size)
    run = made["cyclegan"]
    assert cli("translate", run, photo, "run.png").code == 0
    assert cli("translate", run / "a_to_b.onnx", photo, "file.png").code == 0
    one, other = pixels_of(tmp_path / "run.png"), pixels_of(tmp_path / "file.png")
    assert one.shape == other.shape == (size[1], size[0], 3)
    assert np.abs(one.astype(int) - other).max() <= 1


def test_the_way_back_and_a_folder_of_all_kinds_of_pictures(cli, made, tmp_path):
    picture(tmp_path / "in" / "a.png", (20, 20))
    picture(tmp_path / "in" / "a.jpg", (12, 30))
    picture(tmp_path / "in" / "deep" / "b.webp", (16, 16))
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    outcome = cli("translate", made["cyclegan"] / "a_to_b.onnx", "in", "out", "--network", "b_to_a")
    assert outcome.code == 0
    found = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.png"))
    assert found == ["a.jpg.png", "a.png", "deep/b.png"] or found == ["a.png", "a.png.png", "deep/b.png"]
    assert pixels_of(tmp_path / "out" / "deep" / "b.png").shape == (16, 16)


def test_a_hole_is_filled_where_the_picture_is_transparent(cli, made, tmp_path):
    value = np.full((8, 8, 4), 255, np.uint8)
    value[..., :3] = np.arange(64).reshape(8, 8, 1)
    value[2:5, 3:6, 3] = 0
    photo = picture(tmp_path / "in.png", (8, 8), "RGBA", value)
    assert cli("translate", made["inpaint_z"], photo, "out.png", "-n", 3).code == 0
    answers = [pixels_of(tmp_path / f"out-{index}.png").astype(int) for index in range(3)]
    hole = value[..., 3] == 0
    for answer in answers:
        assert np.abs(answer[~hole] - np.arange(64).reshape(8, 8)[~hole]).max() <= 1
    assert cli("translate", made["inpaint_z"] / "generator.onnx", photo, "file.png", "-n", 3).code == 0
    assert np.abs(pixels_of(tmp_path / "file-2.png").astype(int) - answers[2]).max() <= 1


@pytest.mark.parametrize("size", [(28, 28), (50, 31)])
def test_a_hole_in_a_picture_of_any_size_is_filled_by_the_run_and_by_the_file(cli, made, tmp_path, size):
    photo = picture(tmp_path / "in.png", size, "L")
    mask = np.zeros((size[1], size[0], 1), np.uint8)
    mask[6:20, 10:] = 255
    picture(tmp_path / "mask.png", size, "L", mask)
    for model, out in ((made["inpaint_z"], "run.png"), (made["inpaint_z"] / "generator.onnx", "file.png")):
        assert cli("translate", model, photo, out, "--mask", "mask.png").code == 0
    one, other = pixels_of(tmp_path / "run.png"), pixels_of(tmp_path / "file.png")
    assert one.shape == other.shape == size[::-1]
    assert np.abs(one.astype(int) - other).max() <= 1
    hole = mask[..., 0] > 0
    assert np.array_equal(one[~hole], pixels_of(photo)[~hole])
    assert (one != pixels_of(photo))[hole].mean() > 0.9


def test_a_hole_is_given_by_a_mask(cli, made, tmp_path):
    photo = picture(tmp_path / "in.png", (8, 8), "L")
    mask = np.zeros((8, 8, 1), np.uint8)
    mask[:4] = 255
    picture(tmp_path / "mask.png", (8, 8), "L", mask)
    assert cli("translate", made["inpaint_z"], photo, "out.png", "--mask", "mask.png").code == 0
    assert np.array_equal(pixels_of(tmp_path / "out.png")[4:], pixels_of(photo)[4:])
    cli("translate", made["inpaint_z"], photo, "none.png").refused("nowhere transparent", "--mask")
    picture(tmp_path / "wide.png", (9, 8), "L")
    cli("translate", made["inpaint_z"], photo, "none.png", "--mask", "wide.png").refused("9 x 8")


def test_what_translate_cannot_do_is_told_in_a_sentence(cli, made, tmp_path):
    photo = picture(tmp_path / "in.png", (8, 8))
    run = made["cyclegan"]
    cli("translate", made["aae"], photo, "out.png").refused("nothing to translate", "ganzoo sample")
    cli("translate", run, "nowhere.png", "out.png").refused("no image or folder nowhere.png")
    cli("translate", run, photo, "out.png", "-n", 2).refused("one output")
    cli("translate", run, photo, "out.png", "--mask", photo).refused("takes no mask")
    cli("translate", run, photo, "out.png", "--network", "c_to_d").refused("no 'c_to_d'", "a_to_b")
    cli("translate", run / "a_to_b.onnx", photo, "out.png", "--network", "c").refused("c.onnx")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(50))
    cli("translate", run, "broken.png", "out.png").refused("broken.png cannot be read")
    (tmp_path / "empty").mkdir()
    cli("translate", run, "empty", "out").refused("no images")


def overwriting(tmp_path):
    """Images in A and A/sub of the same name, links to them, and a mask; and by name what IN and OUT are called."""
    first = picture(tmp_path / "A" / "0.png", (8, 8))
    picture(tmp_path / "A" / "sub" / "0.png", (8, 8))
    (tmp_path / "link.png").symlink_to(first)
    (tmp_path / "B").symlink_to(tmp_path / "A")
    (tmp_path / "C").mkdir()
    (tmp_path / "C" / "0.png").symlink_to(first)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("A", "A/sub"),
        ("A", "B/sub"),
        ("A", "A/new/.."),
        ("A/0.png", "A"),
        ("A/0.png", "A/0.png"),
        ("A/0.png", "B/../A/0.png"),
        ("A/0.png", "link.png"),
        ("A/0.png", "C"),
        ("link.png", "A/0.png"),
        ("C", "A"),
    ],
)
def test_no_image_that_is_given_is_overwritten(cli, made, tmp_path, source, target):
    overwriting(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.png")}
    cli("translate", made["cyclegan"], source, target).refused("would be overwritten")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.png")} == before


def test_the_mask_is_not_overwritten(cli, made, tmp_path):
    photo = picture(tmp_path / "in.png", (28, 28), "L")
    mask = np.zeros((28, 28, 1), np.uint8)
    mask[6:20, 10:] = 255
    path = picture(tmp_path / "mask.png", (28, 28), "L", mask)
    before = path.read_bytes()
    run = made["inpaint_z"]
    cli("translate", run, photo, "mask.png", "--mask", "mask.png").refused("mask.png is", "overwritten")
    path.rename(tmp_path / "out-1.png")
    cli("translate", run, photo, "out.png", "--mask", "out-1.png", "-n", 2).refused("out-1.png is", "overwritten")
    assert (tmp_path / "out-1.png").read_bytes() == before


def test_the_results_of_a_call_are_no_images_of_the_next(cli, made, tmp_path):
    picture(tmp_path / "A" / "0.png", (8, 8))
    assert cli("translate", made["cyclegan"], "A", "A/new").code == 0
    first = (tmp_path / "A" / "new" / "0.png").read_bytes()
    cli("translate", made["cyclegan"], "A", "A/new").refused("A/new/0.png is", "overwritten")  # may be an original
    (tmp_path / "A" / "0.png").rename(tmp_path / "A" / "1.png")
    assert cli("translate", made["cyclegan"], "A", "A/new").code == 0
    assert sorted(path.name for path in (tmp_path / "A" / "new").rglob("*")) == ["0.png", "1.png"]
    assert (tmp_path / "A" / "new" / "0.png").read_bytes() == first
    (tmp_path / "A" / "1.png").unlink()
    cli("translate", made["cyclegan"], "A", "A/new").refused("no images in A but those in A/new")


def test_a_folder_of_images_is_not_translated_to_an_image(cli, made, tmp_path):
    picture(tmp_path / "A" / "0.png", (8, 8))
    cli("translate", made["cyclegan"], "A", "x.png").refused("IN is a folder, so OUT is one too, not x.png")
    assert not (tmp_path / "x.png").exists()


def test_encode_overwrites_no_image(cli, made, tmp_path):
    path = picture(tmp_path / "A" / "0.png", (8, 8), "L")
    before = path.read_bytes()
    (tmp_path / "a.npz").symlink_to(path)
    for option in ("--grid", "A/0.png"), ("--out", "a.npz"):
        cli("encode", made["aae"], "A", *option).refused(f"{option[1]} is", "overwritten")
    assert path.read_bytes() == before
    assert not (tmp_path / "latents.npz").exists()


def test_pictures_are_made_fit(tmp_path):
    path = picture(tmp_path / "x.png", (10, 6))
    any_size, fixed = Image(3, 8, 8, multiple=4), Image(3, 8, 8)
    image = ImageReader().read(path)
    padded = fitted(image, any_size)
    assert padded.shape == (3, 8, 12)
    assert np.array_equal(padded[:, :6, :10].transpose(1, 2, 0), np.asarray(image))
    assert np.array_equal(padded[:, 6], padded[:, 4])  # reflected
    assert np.array_equal(fitted(image, any_size, (4, 0, 12, 8)), padded[:, :, 4:])
    assert fitted(image, fixed).shape == (3, 8, 8)
    # Two multiples to reflect at the borders, but no more than the network was trained on.
    assert fitted(image, Image(3, 32, 32, multiple=8)).shape == (3, 16, 16)
    assert fitted(image, Image(3, 32, 32, multiple=32)).shape == (3, 32, 32)
    assert fitted(ImageReader("grey").read(path), Image(1, 8, 8)).shape == (1, 8, 8)


# --- encode ---------------------------------------------------------------------------------------------------------


def test_an_encoder_s_latents_are_those_of_the_network(cli, made, tmp_path):
    for index in range(3):
        picture(tmp_path / "in" / f"{index}.png", (28, 28), "L", np.full((28, 28, 1), 80 * index, np.uint8))
    assert cli("encode", made["aae"], "in", "--grid", "sheet.png").code == 0
    with np.load(tmp_path / "latents.npz", allow_pickle=False) as found:
        latents, files = found["latents"], found["files"]
    encoder, _ = Run.open(made["aae"]).load(load_registry(), "encoder")
    images = torch.tensor([0.0, 80.0, 160.0]).view(3, 1, 1, 1).expand(3, 1, 28, 28) / 127.5 - 1
    np.testing.assert_allclose(latents, encoder(images).numpy(), atol=1e-5)
    assert [name.rsplit("/")[-1] for name in files] == ["0.png", "1.png", "2.png"]
    assert pixels_of(tmp_path / "sheet.png").std() > 1
    assert cli("encode", made["aae"] / "generator.onnx", "in", "--out", "file.npz").code == 0
    with np.load(tmp_path / "file.npz") as found:
        np.testing.assert_allclose(found["latents"], latents, atol=1e-4)
    assert cli("edit", made["aae"], "--latent", "latents.npz", "--help").code == 0


def test_optimizing_brings_an_image_nearer_without_an_encoder(cli, tmp_path):
    model = "zoo:wgan_gp_conv-mnist5k"
    sampler = ganzoo.load(model)
    drawn = sampler.sample(1, seed=5)
    picture(tmp_path / "in.png", (28, 28), "L", np.round(drawn[0].transpose(1, 2, 0) * 255).astype(np.uint8))
    distances = []
    for steps in (1, 100):
        assert cli("encode", model, "in.png", "--optimize", "--steps", steps).code == 0
        with np.load(tmp_path / "latents.npz") as found:
            distances.append(float(np.abs(sampler.sample(1, latents=found["latents"]) - drawn).mean()))
    assert distances[1] < 0.7 * distances[0]


def test_optimizing_goes_by_gradients_from_what_the_encoder_says(cli, made, tmp_path):
    picture(tmp_path / "in.png", (28, 28), "L")
    found = []
    for options in ((), ("--optimize", "--steps", 3)):
        assert cli("encode", made["aae"], "in.png", *options).code == 0
        with np.load(tmp_path / "latents.npz") as file:
            found.append(file["latents"])
    assert found[0].shape == found[1].shape == (1, 4)
    assert 0 < np.abs(found[0] - found[1]).max() < 0.2


def test_what_encode_cannot_do_is_told_in_a_sentence(cli, made, trained, tmp_path):
    picture(tmp_path / "in.png", (8, 8))
    cli("encode", trained["digits"], "in.png").refused("no 'encoder'", "--optimize")
    cli("encode", "zoo:cgan-mnist5k", "in.png").refused("encoder.onnx", "--optimize")
    cli("encode", "zoo:cgan-mnist5k", "in.png", "--optimize").refused("--label")
    cli("encode", made["aae"], "in.png", "--out", "x.png").refused(".npz")
    cli("encode", made["cyclegan"], "in.png", "--optimize").refused("'generator'")


class Linear(Network):
    """A generator whose inverse is known."""

    def __init__(self, size=6):
        from ganzoo import Latent

        super().__init__(Signature((Latent((size,)),), Image(1, 4, 4)))
        self.register_buffer("matrix", torch.randn(size, 16, generator=torch.Generator().manual_seed(0)) / 4)
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def forward(self, z):
        return torch.tanh(z @ self.matrix).view(-1, 1, 4, 4)


def test_gradients_and_search_find_the_latent_of_an_image():
    network = Linear()
    z = torch.randn(3, 6, generator=torch.Generator().manual_seed(1))
    images = network(z)
    found = descend(network, (), images, torch.zeros(3, 6), steps=400, lr=0.1)
    torch.testing.assert_close(found, z, atol=0.1, rtol=0.1)

    def draw(latents):
        return network(torch.from_numpy(latents)).numpy()

    searched = search(draw, images.numpy(), (6,), rounds=300)
    np.testing.assert_allclose(searched, z.numpy(), atol=0.15)
    again = search(draw, images.numpy(), (6,), z.numpy() + 0.2, rounds=150)
    np.testing.assert_allclose(again, z.numpy(), atol=0.15)


# --- eval -----------------------------------------------------------------------------------------------------------


def test_eval_judges_translations_of_the_examples(cli, made, tmp_path):
    figures = {}
    for name, model in (("run", made["cyclegan"]), ("file", made["cyclegan"] / "a_to_b.onnx")):
        settings = ("--set", "data.style=colored") if name == "file" else ()
        outcome = cli("eval", model, "-n", 20, "--network", "b_to_a", "--out", name, "--json", *settings)
        assert outcome.code == 0, outcome.err
        figures[name] = json.loads(outcome.out)["figures"]
    assert figures["run"].keys() == {"translation/l1", "translation/matched"}
    assert figures["file"] == pytest.approx(figures["run"], abs=1e-3)
