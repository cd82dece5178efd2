"""Images in tar files: what WebDataset writes, what others do to harm, and what has changed meanwhile."""

import io
import json
import os
import pickle
import re
import struct
import tarfile

import numpy as np
import PIL.Image
import pytest
import torch

from ganzoo import Label, Stream, UserError
from ganzoo_plugins.datasets import shards
from ganzoo_plugins.datasets.remembered import Names
from ganzoo_plugins.datasets.shards import Shards
from ganzoo_plugins.datasets.stored import UnreachableError


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path / "cache"))


def pixels(seed, height=8, width=6):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def png(seed=0, **size):
    file = io.BytesIO()
    PIL.Image.fromarray(pixels(seed, **size)).save(file, "png")
    return file.getvalue()


def member(name, size=0, **fields):
    info = tarfile.TarInfo(name)
    info.size = size
    for key, value in fields.items():
        setattr(info, key, value)
    return info


def write(path, members, mode="w", **options):
    """A tar of pairs: a name or a header, and bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode, **options) as archive:
        for name, content in members:
            info = member(name, len(content)) if isinstance(name, str) else name
            archive.addfile(info, io.BytesIO(content))
    return path


def load(path, **settings):
    return Shards(Shards.Config(path=str(path), **settings))


def everything(data):
    return data.batch(torch.arange(len(data)), torch.Generator().manual_seed(0))


def two(folder):
    """Two tars of seven images in three classes."""
    write(
        folder / "a-000.tar",
        [(f"deep/{k}.{e}", c) for k in range(4) for e, c in (("png", png(k)), ("cls", b"%d" % (k % 3)))],
    )
    write(folder / "a-001.tar", [(f"{k}.{e}", c) for k in range(4, 7) for e, c in (("cls", b" 2\n"), ("png", png(k)))])
    return folder


@pytest.mark.parametrize("memory", [0, 1 << 20])
def test_samples_are_paired_by_their_keys(tmp_path, memory):
    data = load(two(tmp_path), memory=memory)
    found = everything(data)
    assert (len(data), data.spec["y"], data.skipped, data.in_memory) == (7, Label(3), 0, memory > 0)
    assert data.files == ("deep/0.png", "deep/1.png", "deep/2.png", "deep/3.png", "4.png", "5.png", "6.png")
    assert found["y"].tolist() == [0, 1, 2, 0, 2, 2, 2]
    for k, image in enumerate(found["x"]):
        np.testing.assert_array_equal(image.permute(1, 2, 0), pixels(k))


def test_any_place_is_read_first_and_a_stream_resumes(tmp_path):
    data = load(two(tmp_path), memory=0)
    whole, entered = Stream(data, 3, seed=1), Stream(pickle.loads(pickle.dumps(data)), 3, seed=1, position=4)
    batches = [next(whole) for _ in range(6)]
    for batch in batches[4:]:
        for name, tensor in next(entered).items():
            assert torch.equal(tensor, batch[name])


def test_names_say_classes_and_json_too(tmp_path):
    texts = [
        ("a.png", png()),
        ("a.json", b'{"label": "dog", "kind": 7}'),
        ("b.JPG", png(1)),
        ("b.json", b'{"label": "cat", "kind": 0}'),
    ]
    path = write(tmp_path / "a.tar", texts)
    assert load(path).spec["y"] == Label(2, ("cat", "dog"))
    assert load(path, label="kind").spec["y"] == Label(8)
    assert "y" not in load(path, label="none").spec
    assert "y" not in load(path, labels=False).spec


def test_an_ending_tells_the_images_among_several(tmp_path):
    path = write(tmp_path / "a.tar", [("a.input.png", png(1)), ("a.target.png", png(2)), ("b.input.png", png(3))])
    assert load(path, image="input.png").files == ("a.input.png", "b.input.png")
    with pytest.raises(UserError, match="no images to use"):
        load(path)


def test_a_pattern_stands_for_numbers(tmp_path):
    two(tmp_path)
    assert len(load(tmp_path / "a-{000..001}.tar")) == len(load(tmp_path / "*-00?.tar")) == 7
    assert len(load(tmp_path / "a-{001..001}.tar")) == 3
    for pattern, problem in (
        ("{000..002}", r"a-002\.tar"),
        ("{5..1}", "the numbers go up"),
        ("{0..9999999}", "at most 1,000,000"),
    ):
        with pytest.raises(UserError, match=problem):
            load(tmp_path / f"a-{pattern}.tar")


def test_some_samples_without_a_class_leave_none(tmp_path, caplog):
    write(tmp_path / "a.tar", [("a.png", png()), ("b.png", png(1)), ("b.cls", b"3")])
    assert "y" not in load(tmp_path).spec
    assert "1 of 2 samples" in caplog.text


def test_labels_that_are_no_classes_are_refused(tmp_path):
    write(
        tmp_path / "a.tar",
        [(f"{k}.{e}", c) for k in range(3) for e, c in (("png", png()), ("cls", b"%d" % (10**8 + k)))],
    )
    with pytest.raises(UserError, match=r"data\.labels=false"):
        load(tmp_path)


def test_a_tar_is_indexed_once_until_it_changes(tmp_path, monkeypatch):
    two(tmp_path)
    before = everything(load(tmp_path))
    calls = []
    real = shards._indexed
    monkeypatch.setattr(shards, "_indexed", lambda *given: calls.append(given[2]) or real(*given))
    assert torch.equal(everything(load(tmp_path))["x"], before["x"])
    assert not calls
    write(tmp_path / "a-001.tar", [("new.png", png(9)), ("new.cls", b"0")])
    np.testing.assert_array_equal(everything(load(tmp_path))["x"][4].permute(1, 2, 0), pixels(9))
    assert calls == [str(tmp_path / "a-001.tar")]
    for path in (tmp_path / "cache" / "indices").iterdir():  # as a full disk may leave it, or anyone
        path.write_bytes(path.read_bytes()[:-100])
    assert len(load(tmp_path)) == 5
    assert len(calls) == 3


def test_a_tar_that_shrinks_while_it_is_read_ends_a_training(tmp_path):
    data = load(two(tmp_path), memory=0)
    os.truncate(tmp_path / "a-001.tar", 0)
    assert len(data.batch(torch.tensor([0]), torch.Generator())["x"]) == 1
    # No other image takes the place of one that a resumed training would find.
    with pytest.raises(UnreachableError, match="it has changed since it was indexed"):
        data.batch(torch.tensor([len(data) - 1]), torch.Generator())


def test_a_tar_that_is_gone_while_images_go_into_memory_is_no_reason_to_learn_from_the_others(tmp_path, monkeypatch):
    read = shards.read_range

    def lost(shard, start, size):
        if shard.endswith("a-001.tar"):
            raise UserError("the network is down")
        return read(shard, start, size)

    monkeypatch.setattr(shards, "read_range", lost)
    with pytest.raises(UnreachableError, match="the network is down"):
        load(two(tmp_path))


def number(value, length=12):
    """A number of a header, also a negative or a huge one."""
    return (value % 256**length).to_bytes(length, "big") if value < 0 or value >= 8**11 else b"%011o\0" % value


def header(name, size, kind=b"0"):
    """A header that no library would write."""
    field = number(size) if 0 <= size < 8**11 else bytes([0x80 if size > 0 else 0xFF]) + number(size)[1:]
    block = bytearray(
        struct.pack(
            "100s8s8s8s12s12s8s1s100s6s249s",
            name.encode(),
            b"0000644\0",
            b"0000000\0",
            b"0000000\0",
            field,
            b"00000000000\0",
            b" " * 8,
            kind,
            b"",
            b"ustar\0",
            b"00",
        )
    )
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


GOOD = b"".join([header("good.png", len(png())), png().ljust(-(-len(png()) // 512) * 512, b"\0")])
HOSTILE = {
    "negative": (header("bad.png", -1024), "negative size"),
    "a ring": (header("bad.png", -(len(GOOD) + 512)), "negative size"),
    "enormous": (header("bad.png", 2**70), "cut short"),
    "as large as can be": (header("bad.png", 2**87), "cut short|impossible size"),
    "a long name of a disk": (header("bad", 2**33, b"L"), "header of 8,589,934,592 bytes"),
    "attributes of a disk": (header("bad", 2**33, b"x"), "header of 8,589,934,592 bytes"),
    "negative attributes": (header("bad", -512, b"x"), "header of"),
    "attributes of attributes": (header("bad", 0, b"x") * 3000, "recursion|no tar"),
    "rubbish": (b"\xff" * 1024, "no header of a member"),
    "cut short": (header("bad.png", len(png())) + png()[:40], "cut short"),
    "half a header": (header("bad.png", 100)[:200], "no header of a member"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_somebody_made_to_do_harm_is_counted(tmp_path, caplog, kind):
    harm, problem = HOSTILE[kind]
    (tmp_path / "a.tar").write_bytes(GOOD + harm)
    data = load(tmp_path, memory=0)
    assert (data.files, data.skipped) == (("good.png",), 1)
    assert re.search(problem, caplog.text), caplog.text
    assert [path.name for path in tmp_path.iterdir() if path.name not in ("a.tar", "cache")] == []


def test_members_that_are_no_images_of_the_tar_are_counted(tmp_path, caplog):
    link = {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}
    bad = [("/root.png", png()), ("../up.png", png()), ("a/../../up.png", png()), (member("link.png", **link), b""),
           (member("hard.png", type=tarfile.LNKTYPE, linkname="good.png"), b""),
           (member("pipe.png", type=tarfile.FIFOTYPE), b""),
           ("empty.png", b""), ("text.png", b"no image"), ("bytes.cls", b"\xff")]  # fmt: skip
    silent = [("._good.png", b""), ("notes.txt", b"hello"), (member("folder.png", type=tarfile.DIRTYPE), b"")]
    write(tmp_path / "a.tar", [*bad, *silent, ("good.png", png(3))])
    data = load(tmp_path)
    assert (data.files, data.skipped) == (("good.png",), len(bad))
    assert "9 members" in caplog.text


def test_broken_pixels_are_replaced_by_another_image(tmp_path, caplog):
    write(tmp_path / "a.tar", [("bad.png", png()[:60]), ("good.png", png(3))])
    assert load(tmp_path).files == ("good.png",)
    np.testing.assert_array_equal(everything(load(tmp_path, memory=0))["x"][0].permute(1, 2, 0), pixels(3))
    assert "bad.png in" in caplog.text


@pytest.mark.parametrize(("mode", "problem"), [("w:gz", "unpack it"), ("w:xz", "unpack it")])
def test_what_is_compressed_is_refused(tmp_path, mode, problem):
    write(tmp_path / "a.tar", [("a.png", png())], mode)
    with pytest.raises(UserError, match=problem):
        load(tmp_path)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", r"a\.tar: it is no tar, or damaged \(empty file\); get it once more, or leave it out of data\.path"),
        (b"no tar at all", r"a\.tar: it is no tar, or damaged"),
        (b"\xff" * 2048, r"a\.tar: it is no tar, or damaged"),
        (bytes(3 << 20), r"a\.tar: it ends at byte 0 of 3,145,728, and what follows is lost"),
    ],
)
def test_what_is_no_tar_is_the_users_mistake(tmp_path, content, problem):
    (tmp_path / "a.tar").write_bytes(content)
    write(tmp_path / "good.tar", [("good.png", png())])
    with pytest.raises(UserError, match=problem):
        load(tmp_path)


def test_a_tar_may_be_empty_and_ends_with_zeros(tmp_path, caplog):
    write(tmp_path / "a.tar", [])
    with pytest.raises(UserError, match="no images to use"):
        load(tmp_path)
    write(tmp_path / "good.tar", [("good.png", png())])
    assert (load(tmp_path).files, caplog.text) == (("good.png",), "")
    with (tmp_path / "good.tar").open("ab") as file:  # a second one behind it, as tars are joined with cat
        file.write(bytes(2 << 20) + GOOD)
    assert load(tmp_path).skipped == 1
    assert re.search(r"good\.tar: it ends at byte [\d,]+ of [\d,]+, and what follows is lost", caplog.text)


@pytest.mark.parametrize("memory", [0, 1 << 20])
def test_a_tar_of_broken_images_is_named_soon(tmp_path, monkeypatch, memory):
    """The headers of the tar and of its images are right: only decoding tells."""
    whole = [(f"{k}.png", png(k)) for k in range(40)]
    broken = [(f"b{k}.png", content[:60] + bytes(len(content) - 60)) for k, (_, content) in enumerate(whole)]
    write(tmp_path / "a.tar", whole)
    write(tmp_path / "b.tar", broken)
    decode, tried = Shards._decode, list[int]()
    monkeypatch.setattr(Shards, "_decode", lambda self, index: tried.append(index) or decode(self, index))
    words = r"b\.tar is damaged: (\d+) of the first \1 images .*; get it once more, or leave it out of data\.path$"
    with pytest.raises(UserError, match=words):
        everything(load(tmp_path, memory=memory))
    assert sum(index >= 40 for index in tried) == (40 if memory else 16)
    write(tmp_path / "b.tar", [*whole[:20], *broken[20:]])  # half of them is no reason
    assert len(everything(load(tmp_path, memory=memory))["x"]) == (60 if memory else 80)


def test_what_is_not_there_is_the_users_mistake(tmp_path):
    os.mkfifo(tmp_path / "pipe.tar")
    for place, problem in (
        ("none", "no .tar files"),
        ("*.tar2", "no .tar files"),
        ("pipe.tar", "not a regular file"),
        ("", "no .tar files"),
    ):
        with pytest.raises(UserError, match=problem):
            load(tmp_path / "empty" if not place else tmp_path / place)


def test_sizes_that_differ_ask_for_one(tmp_path):
    write(tmp_path / "a.tar", [("a.png", png()), ("b.png", png(height=4))])
    with pytest.raises(UserError, match=r"different sizes .*data\.size"):
        load(tmp_path)
    assert load(tmp_path, size=4).spec.sample.shape == (3, 4, 4)


def test_an_object_store_is_read_in_ranges(tmp_path, monkeypatch):
    fsspec = pytest.importorskip("fsspec")
    store = fsspec.filesystem("memory")
    two(tmp_path / "here")
    try:
        for name in ("a-000.tar", "a-001.tar"):
            store.pipe_file(f"/bucket/{name}", (tmp_path / "here" / name).read_bytes())
        wanted = everything(load(tmp_path / "here"))
        for place in ("memory://bucket", "memory://bucket/*.tar", "memory://bucket/a-{000..001}.tar"):
            data = load(place, memory=0)
            assert torch.equal(everything(data)["x"], wanted["x"])
        store.pipe_file("/user:SECRET@bucket/a.tar", (tmp_path / "here" / "a-000.tar").read_bytes())
        signed = load("memory://user:SECRET@bucket", memory=0)
        assert signed.place == "memory://bucket"
        signed.shards = ("https://host/a.tar?signature=SECRET",)
        assert signed.called(0).endswith(" in https://host/a.tar")
        store.rm("/bucket/a-001.tar")
        with pytest.raises(UnreachableError, match="cannot be read"):
            data.batch(torch.tensor([len(data) - 1]), torch.Generator())
        with pytest.raises(UserError, match=r"no \.tar files"):
            load("memory://elsewhere")
        with pytest.raises(UserError, match="cannot be read"):
            load("memory://bucket/b.tar")
        with pytest.raises(UserError, match=r"cannot be read|not installed"):
            load("nosuch://bucket/b.tar")
    finally:
        store.rm("/bucket", recursive=True)
        store.rm("/user:SECRET@bucket", recursive=True)


def test_names_are_kept_as_they_are():
    texts = ["", "a", "ä/\udcff.png", "a" * 300, "\0"]
    names = Names(texts)
    assert list(names) == [names[index] for index in range(5)] == texts
    assert names[-1] == "\0"
    assert names[1:3] == texts[1:3]
    with pytest.raises(IndexError):
        names[5]
    with pytest.raises(ValueError, match="no block"):
        Names.of(names.bytes, names.ends - 1)
    assert json.dumps(list(Names(()))) == "[]"
