"""Images as people have them, of every mode and format: each way in gives the same pixels, and classes."""

import os
import struct
import warnings
import zlib

import numpy as np
import PIL.Image
import pytest
import torch
from PIL import ImageCms, ImageSequence

from ganzoo import ImageReader, UserError
from ganzoo_plugins.datasets.domains import Unpaired
from ganzoo_plugins.datasets.folder import Folder

SIZE = 28  # what the encoders of the zoo take, so that nothing is scaled
MODES = (
    "1", "L", "LA", "La", "P", "P+", "PA", "RGB", "RGB+", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV",
    "I;16", "I;16+", "I;16B", "I;16L", "I", "F",
)  # fmt: skip
FORMATS = ("png", "jpg", "webp", "bmp", "gif", "tif")
REFUSED = ("I", "F")


def example(mode):
    """An image of the mode; "+" has a color that is transparent."""
    ramp = np.arange(SIZE, dtype=np.uint8) * 9
    bands = np.stack([np.tile(ramp, (SIZE, 1)), np.tile(ramp[:, None], (1, SIZE)), np.full((SIZE, SIZE), 90, np.uint8)])
    colors = PIL.Image.fromarray(bands.transpose(1, 2, 0).copy())
    alpha = PIL.Image.fromarray(np.tile(255 - ramp, (SIZE, 1)))
    match mode.rstrip("+"):
        case "I;16" | "I;16B" | "I;16L":
            sixteen = bands[0].astype(np.uint16) * 256 + bands[1]
            image = PIL.Image.fromarray(sixteen)
            if mode[4:].strip("+"):
                image = PIL.Image.frombytes(
                    mode, image.size, sixteen.astype(">u2" if mode[-1] == "B" else "<u2").tobytes()
                )
            if mode.endswith("+"):
                image.info["transparency"] = int(sixteen[3, 4])
        case "I" | "F":
            image = PIL.Image.fromarray(bands[0].astype(np.int32 if mode == "I" else np.float32))
        case "RGBA" | "LA" | "La" | "RGBa":
            image = colors.copy()
            image.putalpha(alpha)
            image = image if mode == "RGBA" else image.convert("LA" if mode[0] == "L" else mode)
            image = image.convert(mode)
        case "P" | "PA":
            image = colors.quantize(32)
            if mode == "PA":
                image.putalpha(alpha)
            elif mode == "P+":
                image.info["transparency"] = bytes(range(0, 256, 8))
        case "LAB":
            profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
            image = ImageCms.buildTransform(*profiles, "RGB", "LAB").apply(colors)
        case "RGB":
            image = colors
            if mode == "RGB+":
                image.info["transparency"] = (0, 0, 90)
        case plain:
            image = colors.convert(plain)
    assert image.mode == mode.rstrip("+")
    return image


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """A folder with every mode in every format that has room for it."""
    folder = tmp_path_factory.mktemp("everything")
    for mode in MODES:
        for suffix in FORMATS:
            path = folder / f"{mode.replace(';', '_')}-{suffix}.{suffix}"
            try:
                with warnings.catch_warnings(action="ignore"):  # of what gets lost in a format
                    example(mode).save(path)
            except (OSError, ValueError, KeyError, TypeError):  # no room
                path.unlink(missing_ok=True)
    return folder


def load(path, **settings) -> Folder:
    return Folder(Folder.Config(path=path, **settings))


def trained_on(dataset) -> dict[str, np.ndarray]:
    """What training sees of each file, [H, W, C]."""
    images = dataset.batch(torch.arange(len(dataset)), torch.Generator())
    return {file: image.permute(1, 2, 0).numpy() for file, image in zip(dataset.files, images["x"], strict=True)}


def pixels_of(path):
    with PIL.Image.open(path) as image:
        pixels = np.asarray(image)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def flat(path, color=(10, 20, 30), size=(8, 8), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new("RGB" if len(color) == 3 else "RGBA", size, color).save(path, **options)
    return path


# --- one way in -----------------------------------------------------------------------------------------------------


def test_there_are_images_of_many_modes_and_formats(everything):
    found = {path.stem for path in everything.iterdir()}
    assert len(found) > 60
    assert {mode.replace(";", "_") for mode in MODES} - {name.split("-")[0] for name in found} == {"La"}
    reader = ImageReader("rgba")
    for mode in MODES:  # also those that no file has
        if mode not in REFUSED:
            assert reader.convert(_plain(example(mode))).size == (SIZE, SIZE)


def _plain(image):
    from ganzoo.images.reading import _in_8_bits

    return _in_8_bits(image)


@pytest.mark.parametrize(("mode", "model"), [("rgb", "zoo:inpaint-shapes"), ("grey", "zoo:inpaint-mnist5k")])
def test_every_way_in_gives_the_same_pixels(cli, everything, tmp_path, caplog, mode, model):
    data = load(everything, mode=mode)
    wanted = trained_on(data)
    refused = [record.getMessage() for record in caplog.records]
    assert len(wanted) > 60
    assert {file.split("-")[0] for file in wanted} & {*REFUSED} <= {"I", "F"}
    lazy = trained_on(load(everything, mode=mode, memory=0))
    unpaired = Unpaired(Unpaired.Config(a=everything, b=everything, mode=mode))
    domain = unpaired.batch(torch.arange(len(data)), torch.Generator())["a"].permute(0, 2, 3, 1).numpy()
    caplog.clear()
    PIL.Image.new("L", (SIZE, SIZE)).save(tmp_path / "nowhere.png")
    assert cli("translate", model, everything, "out", "--mask", "nowhere.png").code == 0
    assert [record.getMessage() for record in caplog.records] == refused
    for (file, pixels), other in zip(wanted.items(), domain, strict=True):
        np.testing.assert_array_equal(lazy[file], pixels, file)
        np.testing.assert_array_equal(other, pixels, file)
        translated = pixels_of(tmp_path / "out" / f"{file.rpartition('.')[0]}.png")
        np.testing.assert_array_equal(translated, pixels, file)


def test_encoders_and_masks_see_what_training_sees(cli, everything, tmp_path):
    wanted = trained_on(load(everything, mode="grey"))
    for file, pixels in wanted.items():
        (tmp_path / "seen").mkdir(exist_ok=True)
        PIL.Image.fromarray(pixels[..., 0]).save(tmp_path / "seen" / f"{file}.png")
    latents = []
    for folder, suffix in ((everything, ""), ("seen", ".png")):
        assert cli("encode", "zoo:aae-mnist5k", folder).code == 0
        with np.load(tmp_path / "latents.npz") as found:
            latents.append(found["latents"])
            assert [os.path.basename(name) for name in found["files"]] == [f"{file}{suffix}" for file in wanted]
    np.testing.assert_array_equal(*latents)
    PIL.Image.new("L", (SIZE, SIZE), 77).save(tmp_path / "plain.png")
    for file in ("I_16-png.png", "I_16B-tif.tif", "P+-png.png", "LAB-tif.tif", "CMYK-jpg.jpg"):
        assert cli("translate", "zoo:inpaint-mnist5k", "plain.png", "out.png", "--mask", everything / file).code == 0
        kept = pixels_of(tmp_path / "out.png") == 77
        np.testing.assert_array_equal(kept[wanted[file] < 128], True)
        assert kept[wanted[file] >= 128].mean() < 0.2


@pytest.mark.parametrize("mode", REFUSED)
def test_numbers_without_a_range_are_refused_in_one_sentence(cli, everything, mode):
    path = everything / f"{mode}-tif.tif"
    sentences = {
        cli("translate", "zoo:inpaint-shapes", path, "out.png", "--mask", path).refused("no known range"),
        cli("encode", "zoo:aae-mnist5k", path).refused("no known range"),
    }
    with pytest.raises(UserError) as caught:
        ImageReader().read(path)
    assert sentences == {f"ganzoo: {caught.value}"}


def test_sixteen_bits_become_their_upper_eight(tmp_path):
    ramp = np.arange(0, 65536, 64, dtype=np.uint16).reshape(32, 32)
    PIL.Image.fromarray(ramp).save(tmp_path / "16.png")
    np.testing.assert_array_equal(np.asarray(ImageReader("grey").read(tmp_path / "16.png")), ramp // 256)
    image = PIL.Image.fromarray(ramp)
    image.save(tmp_path / "clear.png", transparency=int(ramp[0, 5]))
    alpha = np.asarray(ImageReader("rgba").read(tmp_path / "clear.png"))[..., 3]
    assert np.argwhere(alpha == 0).tolist() == [[0, 5]]


def tiff(path, data, width, height, bits, photometric):
    """A grey TIFF that Pillow does not write."""
    tags = [(256, 4, width), (257, 4, height), (258, 3, bits), (259, 3, 1), (262, 3, photometric)]
    tags += [(273, 4, 8), (277, 3, 1), (278, 4, height), (279, 4, len(data))]
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    path.write_bytes(struct.pack("<2sHI", b"II", 42, 8 + len(data)) + data + directory)


def test_twelve_bits_and_white_as_zero(tmp_path):
    values = np.arange(0, 4096, 64).reshape(8, 8)
    pairs = values.reshape(-1, 2)
    packed = np.stack([pairs[:, 0] >> 4, (pairs[:, 0] & 15) << 4 | pairs[:, 1] >> 8, pairs[:, 1] & 255], 1)
    tiff(tmp_path / "12.tif", packed.astype(np.uint8).tobytes(), 8, 8, 12, 1)
    np.testing.assert_array_equal(np.asarray(ImageReader("grey").read(tmp_path / "12.tif")), values // 16)
    sixteen = (values * 16).astype("<u2")
    tiff(tmp_path / "inverted.tif", sixteen.tobytes(), 8, 8, 16, 0)
    np.testing.assert_array_equal(np.asarray(ImageReader("grey").read(tmp_path / "inverted.tif")), 255 - values // 16)


@pytest.mark.parametrize("suffix", ["png", "webp", "tif", "jpg"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_obeyed_in_every_format(tmp_path, suffix, orientation):
    upright = np.zeros((24, 40, 3), np.uint8)
    upright[:8, :16] = (200, 40, 90)
    stored = {
        1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1), 6: lambda a: np.rot90(a), 7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
        8: lambda a: np.rot90(a, -1),
    }[orientation](upright)  # fmt: skip
    mark = PIL.Image.Exif()
    mark[0x0112] = orientation
    options = {"webp": {"lossless": True}, "jpg": {"quality": 100, "subsampling": 0}}.get(suffix, {})
    path = tmp_path / f"a.{suffix}"
    PIL.Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=mark, **options)
    assert ImageReader().size(path) == (24, 40)
    np.testing.assert_allclose(np.asarray(ImageReader().read(path)), upright, atol=6 if suffix == "jpg" else 0)


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


@pytest.mark.parametrize(
    "exif",
    [
        b"",
        b"II*\0",
        b"MM\0*\0\0\0\x08\xff\xff",
        b"nonsense",
        b"II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\xff\xff\xff\xff\0\0\0\0",
    ],
)
def test_broken_exif_says_nothing(cli, tmp_path, exif):
    path = flat(tmp_path / "in" / "a.png", size=(32, 16))
    content = path.read_bytes()
    path.write_bytes(content[:33] + chunk(b"eXIf", exif) + content[33:])
    flat(tmp_path / "in" / "b.jpg", size=(32, 16), exif=b"Exif\0\0" + exif)
    assert ImageReader().size(path) == (16, 32)
    assert trained_on(load(tmp_path / "in"))["a.png"][0, 0].tolist() == [10, 20, 30]
    assert cli("translate", "zoo:discogan-shapes", "in", "out").code == 0


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif"])
def test_of_several_frames_the_first_is_taken(tmp_path, suffix):
    frames = [PIL.Image.new("RGB", (8, 8), color) for color in ("#ff0000", "#0000ff")]
    options = {"lossless": True} if suffix == "webp" else {}
    frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:], **options)
    with PIL.Image.open(tmp_path / f"a.{suffix}") as image:
        assert len(list(ImageSequence.Iterator(image))) == 2
    assert ImageReader().read(tmp_path / f"a.{suffix}").getpixel((3, 3)) == (255, 0, 0)


# --- classes ----------------------------------------------------------------------------------------------------------


def test_an_image_beside_the_folders_of_classes_is_named(tmp_path, caplog):
    for name in ("cat/1.png", "dog/2.png", "stray.png"):
        flat(tmp_path / name)
    assert "y" not in load(tmp_path).spec
    (record,) = caplog.records
    for part in ("no classes", "stray.png lies beside the folders cat, dog", "data.labels=false"):
        assert part in record.getMessage()
    caplog.clear()
    assert "y" not in load(tmp_path, labels=False).spec
    (tmp_path / "stray.png").rename(tmp_path / "cat" / "stray.png")
    assert load(tmp_path).spec["y"].names == ("cat", "dog")
    flat(tmp_path / "one" / "cat" / "1.png")
    flat(tmp_path / "one" / "2.png")
    load(tmp_path / "one")  # a single folder is no class, with or without an image beside it
    assert not caplog.records
