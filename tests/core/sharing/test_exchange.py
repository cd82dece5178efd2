"""Pushing and pulling: folders, archives, file systems of fsspec, hostile sources, and what an interruption leaves."""

from __future__ import annotations

import io
import tarfile
import zipfile
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import ClassVar

import pytest

import ganzoo
from ganzoo import UserError
from ganzoo.inference.zoo import pulled, zoo_folder
from ganzoo.sharing import exchange
from ganzoo.sharing.archives import write_archive
from ganzoo.sharing.package import Manifest, digest


@pytest.fixture(autouse=True)
def zoo(tmp_path, monkeypatch):
    monkeypatch.setenv("GANZOO_ZOO", str(tmp_path / "zoo"))
    return tmp_path / "zoo"


@pytest.fixture
def parcel(tmp_path):
    """What is pushed of a run, of which push() makes it; a test of its own does that."""
    folder = tmp_path / "parcel"
    folder.mkdir()
    model = files("ganzoo_zoo").joinpath("inpaint-mnist5k", "generator.onnx").read_bytes()
    (folder / "generator.onnx").write_bytes(model)
    (folder / "README.md").write_text("# A model\n")
    return listed(folder)


def listed(folder, **changes):
    about = {path.name: (digest(path), path.stat().st_size) for path in folder.iterdir() if path.name != "ganzoo.json"}
    manifest = Manifest("generator.onnx", "inpaint on digits", "MIT", "digits (10 samples)", {**about, **changes})
    (folder / "ganzoo.json").write_text(manifest.to_json())
    return folder


@pytest.fixture
def push(parcel, monkeypatch):
    @contextmanager
    def packaged(run, license, registry):
        with (parcel / "ganzoo.json").open("rb") as file:
            yield parcel, exchange.read_manifest(file, "")

    monkeypatch.setattr(exchange, "packaged", packaged)
    return lambda place, **more: ganzoo.push(ganzoo.Run("unused"), place, **more)


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "ganzoo.json"}


@pytest.mark.parametrize(
    "place", ["{}/alice/fill", "{}/fill.zip", "{}/fill.tar", "memory://alice/fill", "memory://fill.zip"]
)
def test_what_is_pushed_is_pulled_byte_by_byte(place, push, parcel, tmp_path):
    fsspec = pytest.importorskip("fsspec")
    fsspec.filesystem("memory").store.clear()
    place = place.format(tmp_path)
    push(place)
    push(place)  # there already: nothing to do
    assert ganzoo.pull(place, "alice/fill") == "zoo:alice/fill"
    assert content(zoo_folder() / "alice" / "fill") == content(parcel)
    assert ganzoo.pull(place, "alice/fill") == "zoo:alice/fill"
    (parcel / "README.md").write_text("# Another\n")
    listed(parcel)
    with pytest.raises(UserError, match="holds something else already"):
        push(place)
    assert ganzoo.pull(place, "bob/fill") == "zoo:bob/fill"  # what is there is what was pushed first
    assert content(zoo_folder() / "bob" / "fill")["README.md"] == b"# A model\n"


def test_a_pulled_model_is_opened_and_listed_by_its_name(parcel, capsys, monkeypatch):
    with pytest.raises(UserError, match=r"^there is no zoo:alice/fill; 'ganzoo list pretrained' shows all"):
        ganzoo.load("zoo:alice/fill")
    source = parcel.rename(parcel.with_name("fill"))
    assert ganzoo.pull(source, "alice/fill") == "zoo:alice/fill"
    with pytest.raises(UserError, match=r"^there is no zoo:alice/fil; did you mean 'alice/fill'\?$"):
        ganzoo.load("zoo:alice/fil")
    model = ganzoo.load("zoo:alice/fill")
    assert model.metadata["model"]["key"] == "inpaint"
    assert [(entry.name, entry.spec.summary) for entry in pulled()] == [("alice/fill", "inpaint on digits")]
    from ganzoo.cli.inspect import list_

    list_("pretrained")
    assert "inpaint on digits  [alice]" in capsys.readouterr().out
    (zoo_folder() / "alice" / "fill" / "generator.onnx").unlink()
    with pytest.raises(UserError, match="damaged; remove it and pull it again"):
        ganzoo.load("zoo:alice/fill")
    assert ganzoo.pull(source, "alice/fill") == "zoo:alice/fill"  # only what is missing is fetched
    ganzoo.load("zoo:alice/fill")


def test_names_come_from_the_source(parcel, tmp_path):
    assert exchange._named("hf://alice/digits@v2", None) == ("alice", "digits")
    assert exchange._named("s3://bucket/of/alice/digits.zip", None) == ("alice", "digits")
    assert exchange._named("https://user:secret@host/alice/digits.tar?signature=x", None) == ("alice", "digits")
    assert exchange._named(str(tmp_path / "alice" / "digits"), None) == ("alice", "digits")
    for name in ("digits", "../digits", "a/b/c", "alice/.hidden", "/digits", "alice/"):
        with pytest.raises(UserError, match="give --as USER/NAME"):
            exchange._named("x", name)
    with pytest.raises(UserError, match="of an installed package"):
        ganzoo.pull(parcel, "torch-ganzoo/cgan-mnist5k")


def test_an_interrupted_pull_goes_on_and_shows_nothing_before(parcel, zoo, monkeypatch):
    copied = []
    copy = exchange._copy

    def interrupted(file, path, name, *rest):
        copied.append(name.partition(" ")[0])
        if len(copied) == 2:
            path.write_bytes(b"half")
            raise KeyboardInterrupt
        copy(file, path, name, *rest)

    monkeypatch.setattr(exchange, "_copy", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ganzoo.pull(parcel, "alice/fill")
    assert not (zoo / "alice").exists()
    assert pulled() == []
    ganzoo.pull(parcel, "alice/fill")
    assert copied[1:] == [copied[1]] * 2  # the first is kept
    assert content(zoo / "alice" / "fill") == content(parcel)
    assert list((zoo / ".pulls").iterdir()) == []


def test_another_model_of_the_name_is_not_replaced(parcel, zoo):
    ganzoo.pull(parcel, "alice/fill")
    before = content(zoo / "alice" / "fill")
    (parcel / "README.md").write_text("# Another\n")
    listed(parcel)
    with pytest.raises(UserError, match="zoo:alice/fill is another model"):
        ganzoo.pull(parcel, "alice/fill")
    assert content(zoo / "alice" / "fill") == before


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda f: (f / "README.md").write_text("# A modeL\n"), "is not what the manifest says"),
        (lambda f: (f / "README.md").write_text("# A model\n" * 9), "is not what the manifest says"),
        (lambda f: (f / "README.md").unlink(), "cannot read"),
        (lambda f: (f / "ganzoo.json").unlink(), "cannot read"),
        (lambda f: (f / "ganzoo.json").write_text("[" * 99999), "is not JSON|nested too deep"),
        (lambda f: (f / "ganzoo.json").write_text("{}"), "none that this ganzoo reads"),
        (lambda f: (f / "ganzoo.json").write_text(" " * 2**21), "more than 1,048,576 bytes"),
        (lambda f: listed(f, **{"../evil": ("0" * 64, 1)}), "no plain file name"),
        (lambda f: listed(f, **{"/etc/evil": ("0" * 64, 1)}), "no plain file name"),
        (lambda f: listed(f, **{"readme.MD": ("0" * 64, 1)}), "one twice"),
        (lambda f: listed(f, **{"big.onnx": ("0" * 64, 2**40)}), "more than the limit"),
        (lambda f: listed(f, **{"x.onnx": ("0" * 64, -1)}), "no size and sha256"),
        (lambda f: listed(f, **{"x.onnx": ("zero", 1)}), "no size and sha256"),
        (lambda f: listed(f, **{f"{n}.onnx": ("0" * 64, 1) for n in range(99)}), "more than 64 files"),
    ],
)
def test_a_source_that_is_not_what_it_says_leaves_nothing(change, sentence, parcel, zoo):
    change(parcel)
    with pytest.raises(UserError, match=sentence):
        ganzoo.pull(parcel, "alice/fill")
    assert not (zoo / "alice").exists()


def tar_with(member, data=b""):
    def write(path, parcel):
        with tarfile.open(path, "w") as archive:
            for file in parcel.iterdir():
                archive.add(file, file.name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))

    return write


def member(name, kind=tarfile.REGTYPE, link=""):
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, link
    return made


def zip_with(name, mode=0, count=1):
    def write(path, parcel):
        with zipfile.ZipFile(path, "w") as archive:
            for file in parcel.iterdir():
                archive.write(file, file.name)
            for number in range(count):
                info = zipfile.ZipInfo(name.format(number))
                info.external_attr = mode << 16
                archive.writestr(info, b"/etc/passwd")

    return write


def bomb(path, parcel):
    """A file of 1 GB of zeros in 1 MB, where the manifest says 10 bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in parcel.iterdir():
            if file.name != "README.md":
                archive.write(file, file.name)
        with archive.open("README.md", "w") as out:
            for _ in range(64):
                out.write(bytes(2**20))


@pytest.mark.parametrize(
    ("suffix", "write", "sentence"),
    [
        (".tar", tar_with(member("/etc/evil")), "without a folder"),
        (".tar", tar_with(member("../evil")), "without a folder"),
        (".tar", tar_with(member("evil", tarfile.SYMTYPE, "/etc/passwd")), "a link"),
        (".tar", tar_with(member("evil", tarfile.LNKTYPE, "README.md")), "a link"),
        (".tar", tar_with(member("evil", tarfile.CHRTYPE)), "a link"),
        (".tar", tar_with(member("README.md"), b"other"), "two members"),
        (".tar", tar_with(member("pax", tarfile.XHDTYPE), b"9" * 2**23), "a header that is too large"),
        (".zip", zip_with("../evil"), "without a folder"),
        (".zip", zip_with("C:\\evil"), "without a folder"),
        (".zip", zip_with("evil", 0o120777), "a link"),
        (".zip", zip_with("evil-{}", count=1100), "more than 1000 members"),
        (".zip", bomb, "is not what the manifest says"),
        (".zip", lambda path, parcel: path.write_bytes(b"PK\3\4 no archive"), "cannot be read"),
        (".tar", lambda path, parcel: path.write_bytes(b"no archive" * 100), "cannot be read"),
        (".tar", lambda path, parcel: path.write_bytes(b""), "cannot be read"),
        (".zip", lambda path, parcel: write_archive(path, [parcel / "README.md"]), "has no ganzoo.json"),
    ],
)
def test_hostile_archives_are_refused_in_a_sentence(suffix, write, sentence, parcel, zoo, tmp_path):
    path = tmp_path / f"evil{suffix}"
    write(path, parcel)
    with pytest.raises(UserError, match=sentence) as caught:
        ganzoo.pull(path, "alice/evil")
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    assert not (zoo / "alice").exists()


def test_what_cannot_be_sent_is_said(push, tmp_path):
    def refuse(manifest):
        assert (manifest.license, manifest.data) == ("MIT", "digits (10 samples)")
        raise UserError("nothing was sent")

    with pytest.raises(UserError, match="nothing was sent"):
        push(tmp_path / "out", confirm=refuse)
    assert not (tmp_path / "out").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="holds something else already"):
        push(tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").exists()
    with pytest.raises(UserError, match="hf://USER/NAME"):
        push("hf://digits")
    for place in ("nosuch://bucket/x", "https://127.0.0.1:1/x"):
        with pytest.raises(UserError, match=r"cannot be|not installed"):
            push(place)
    with pytest.raises(UserError) as caught:
        ganzoo.pull("http://user:secret@127.0.0.1:1/alice/x?signature=secret")
    assert "secret" not in str(caught.value)


def test_an_upload_that_is_cut_short_is_no_model_and_is_sent_again(push, monkeypatch):
    fsspec = pytest.importorskip("fsspec")
    store = fsspec.filesystem("memory")
    store.store.clear()
    put, count = type(store).put_file, []

    def failing(self, *arguments, **more):
        count.append(arguments)
        if len(count) == 2:
            raise OSError("the connection is lost")
        return put(self, *arguments, **more)

    monkeypatch.setattr(type(store), "put_file", failing)
    with pytest.raises(UserError, match="cannot be written: the connection is lost"):
        push("memory://alice/fill")
    with pytest.raises(UserError, match="cannot be read"):
        ganzoo.pull("memory://alice/fill")
    push("memory://alice/fill")
    assert ganzoo.pull("memory://alice/fill") == "zoo:alice/fill"


def test_no_bucket_is_made_of_a_mistyped_name(push, monkeypatch):
    fsspec = pytest.importorskip("fsspec")
    from fsspec.implementations.memory import MemoryFileSystem

    class Store(MemoryFileSystem):
        """A store with one bucket, whose paths have no root and whose makedirs makes buckets, as those of s3fs do."""

        protocol = "store"
        store: ClassVar = {}
        buckets: ClassVar = {"alice"}

        @classmethod
        def _strip_protocol(cls, path):
            return path.removeprefix("store://")

        def makedirs(self, path, exist_ok=False):
            self.buckets.add(path.partition("/")[0])

        def put_file(self, source, path, **more):
            if path.partition("/")[0] not in self.buckets:
                raise FileNotFoundError("The specified bucket does not exist")
            self.store[path] = Path(source).read_bytes()

        def exists(self, path, **more):
            return path in self.store

    fsspec.register_implementation("store", Store, clobber=True)
    with pytest.raises(UserError, match="store://alise/fill cannot be written: The specified bucket does not exist"):
        push("store://alise/fill")
    assert Store.buckets == {"alice"}
    push("store://alice/fill")
    assert "alice/fill/ganzoo.json" in Store.store


def test_what_is_not_there_is_said_to_be_not_there():
    pytest.importorskip("fsspec")
    with pytest.raises(UserError, match="memory://bob/none cannot be read: there is no such file"):
        ganzoo.pull("memory://bob/none")
