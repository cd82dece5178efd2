"""Image files that cannot be read: which of a folder are skipped and named, and what is refused."""

import os

import numpy as np
import PIL.Image
import pytest
from test_own_images import flat, load

from ganzoo import ImageReader, UserError


@pytest.fixture
def spoilt(tmp_path):
    """Two good images, three that cannot be read, and what file managers leave behind."""
    folder = tmp_path / "in"
    flat(folder / "a.png")
    flat(folder / "z.png", (200, 100, 0))
    (folder / "._a.png").write_bytes(b"of a Mac")
    (folder / ".DS_Store").write_bytes(b"of a Mac")
    flat(folder / ".thumbs" / "x.png")
    (folder / "cut.png").write_bytes((folder / "a.png").read_bytes()[:50])
    (folder / "none.jpg").write_bytes(b"")
    (folder / "gone.png").symlink_to("nowhere.png")
    return folder


SPOILT = (
    "5 of 7 images in ",
    "cut.png cannot be read",
    "none.jpg cannot be read",
    "gone.png",
    "._a.png is hidden",
    "x.png is hidden",
)


def test_spoilt_files_of_a_folder_are_skipped_named_and_counted(cli, spoilt, tmp_path, caplog):
    data = load(spoilt)
    assert data.files == ("a.png", "z.png")
    assert data.skipped == 5
    for command in (("translate", "zoo:discogan-shapes", "in", "out"), ("encode", "zoo:aae-mnist5k", "in"), None):
        if command is not None:
            caplog.clear()
            assert cli(*command).code == 0
        (record,) = caplog.records
        assert (record.name, record.levelname) == ("ganzoo", "WARNING")
        for part in SPOILT:
            assert part in record.getMessage()
    assert sorted(os.listdir(tmp_path / "out")) == ["a.png", "z.png"]
    with np.load(tmp_path / "latents.npz") as found:
        assert [os.path.basename(name) for name in found["files"]] == ["a.png", "z.png"]


def test_many_spoilt_files_are_not_all_named(tmp_path, caplog):
    flat(tmp_path / "a.png")
    for index in range(50):
        (tmp_path / f"b{index:02}.png").write_bytes(b"")
    assert load(tmp_path).skipped == 50
    (record,) = caplog.records
    assert record.getMessage().startswith("50 of 51 images")
    assert record.getMessage().endswith("; and 42 more")


def test_a_single_spoilt_image_is_refused_and_so_is_a_folder_of_them(cli, spoilt, tmp_path):
    for name in ("cut.png", "none.jpg", "gone.png", "._a.png"):
        sentences = [
            cli("translate", "zoo:discogan-shapes", spoilt / name, "out.png").refused(name),
            cli("encode", "zoo:aae-mnist5k", spoilt / name).refused(name),
        ]
        if name != "gone.png":
            assert sentences[0] == sentences[1]
    (tmp_path / "bad").mkdir()
    (spoilt / "cut.png").rename(tmp_path / "bad" / "cut.png")
    for command in (("translate", "zoo:discogan-shapes", "bad", "out"), ("encode", "zoo:aae-mnist5k", "bad")):
        outcome = cli(*command)
        assert outcome.code == 2
        assert "no image in bad can be used, of 1 that were tried: bad/cut.png cannot be read" in outcome.err
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "latents.npz").exists()
    with pytest.raises(UserError, match=r"no image in .* can be used"):
        load(tmp_path / "bad")
    (tmp_path / "dark").mkdir()
    flat(tmp_path / "dark" / ".a.png")
    cli("translate", "zoo:discogan-shapes", "dark", "out").refused("there are no images", "1 hidden")


@pytest.mark.parametrize("kind", ["EPS", "PPM", "TGA", "PCX", "ICO", "SGI"])
def test_other_formats_are_not_decoded_whatever_their_suffix(tmp_path, kind):
    """Pillow has decoders for dozens, some of which run other programs."""
    PIL.Image.new("RGB", (16, 16)).save(tmp_path / "a.png", format=kind)
    reader = ImageReader()
    for read in (reader.size, reader.read):
        with pytest.raises(UserError, match="it is damaged, or no image of a kind that is read"):
            read(tmp_path / "a.png")


def test_a_pipe_is_not_waited_for(cli, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").symlink_to(tmp_path / "pipe")
    flat(tmp_path / "in" / "b.png")
    assert load(tmp_path / "in").files == ("b.png",)
    cli("encode", "zoo:aae-mnist5k", "in/a.png").refused("not a regular file")


def test_a_full_disk_ends_a_folder(cli, tmp_path):
    flat(tmp_path / "in" / "a.png")
    flat(tmp_path / "in" / "b.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.png").mkdir()  # stands for whatever cannot be written
    outcome = cli("translate", "zoo:discogan-shapes", "in", "out")
    assert outcome.code == 2
    assert "cannot write out/a.png" in outcome.err


def test_where_translations_cannot_go(cli, tmp_path):
    flat(tmp_path / "in" / "a.png")
    before = (tmp_path / "in" / "a.png").read_bytes()
    cli("translate", "zoo:discogan-shapes", "in", "in").refused("would be overwritten")
    cli("translate", "zoo:discogan-shapes", "in/a.png", "out.doc").refused("out.doc", "png, jpg")
    assert cli("translate", "zoo:discogan-shapes", "in/a.png", "out.tif").code == 0
    with PIL.Image.open(tmp_path / "out.tif") as image:
        assert image.format == "TIFF"
    assert (tmp_path / "in" / "a.png").read_bytes() == before
