"""MNIST, Fashion-MNIST and CIFAR-10: torchvision downloads and reads the files, ganzoo keeps them as one tensor."""

import gzip
import os
import shutil
import socket
import struct
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.client import HTTPException
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from ganzoo import DatasetConfig, DataSpec, Image, Label, TensorDataset, UserError
from ganzoo.files import open_regular

_PARTS = {"train": ("train",), "test": ("test",), "all": ("train", "test")}
_LARGEST = 2**30  # bytes of a file; those of MNIST have a twentieth of it
_SILENCE = 30.0  # seconds that a server may be silent before a download counts as failed


def _default_root() -> Path:
    return Path(os.environ.get("GANZOO_DATA") or "~/.cache/ganzoo/data").expanduser()


class TorchvisionConfig(DatasetConfig):
    """The settings of the data sets that torchvision knows."""

    root: Path = Field(
        default_factory=_default_root,
        description="folder with the files, as torchvision lays them out or, of MNIST's kind, just so, as .gz too; "
        "what it lacks is downloaded into it ($GANZOO_DATA, or ~/.cache/ganzoo/data)",
    )
    split: Literal["train", "test", "all"] = Field("train", description="the training part, the test part, or both")


class Mnist(TensorDataset[TorchvisionConfig]):
    """MNIST: 60,000 handwritten digits to train on and 10,000 to test with.

    Fields: ``x`` uint8 [N, 1, 28, 28] in 0 .. 255, white ink on black; ``y`` int64 [N], the digit.
    """

    def __init__(self, config: TorchvisionConfig) -> None:
        from torchvision.datasets import MNIST

        super().__init__(*_read_idx("mnist", MNIST, config, tuple("0123456789")))
        self.config = config


class FashionMnist(TensorDataset[TorchvisionConfig]):
    """Fashion-MNIST: 60,000 pieces of clothing to train on and 10,000 to test with.

    Fields: ``x`` uint8 [N, 1, 28, 28] in 0 .. 255, on black; ``y`` int64 [N], one of ten named classes.
    """

    def __init__(self, config: TorchvisionConfig) -> None:
        from torchvision.datasets import FashionMNIST

        super().__init__(*_read_idx("fashion_mnist", FashionMNIST, config, tuple(FashionMNIST.classes)))
        self.config = config


class Cifar10(TensorDataset[TorchvisionConfig]):
    """CIFAR-10: 50,000 small images to train on and 10,000 to test with.

    Fields: ``x`` uint8 [N, 3, 32, 32] in 0 .. 255, RGB; ``y`` int64 [N], one of ten named classes.
    """

    def __init__(self, config: TorchvisionConfig) -> None:
        from torchvision.datasets import CIFAR10

        root = config.root.expanduser()
        files = [name for name, _ in (*CIFAR10.train_list, *CIFAR10.test_list)] + [CIFAR10.meta["filename"]]
        _obtain("cifar10", CIFAR10, root, [Path(CIFAR10.base_folder, name) for name in files], [CIFAR10.filename])
        try:
            # torchvision checks the MD5 of each file before it unpickles any.
            parts = [CIFAR10(root, train=part == "train") for part in _PARTS[config.split]]
        except (OSError, RuntimeError):
            raise UserError(
                f"the cifar10 files in {root / CIFAR10.base_folder} are damaged; "
                "delete that folder, and they are downloaded again"
            ) from None
        images = torch.cat([torch.from_numpy(part.data.transpose(0, 3, 1, 2)) for part in parts])
        labels = torch.cat([torch.tensor(part.targets, dtype=torch.int64) for part in parts])
        fields = (Image(3, 32, 32, range=(0, 255)), Label(10, names=tuple(parts[0].classes)))
        super().__init__(DataSpec("cifar10", fields, len(images)), {"x": images.contiguous(), "y": labels})
        self.config = config


def _read_idx(
    name: str, source: Any, config: TorchvisionConfig, classes: tuple[str, ...]
) -> tuple[DataSpec, dict[str, Tensor]]:
    """Return the spec and tensors of a data set in MNIST's format; only the files of the split need be there.

    A file lies in torchvision's folder or directly under the root, unpacked or as the .gz that the web offers.
    """
    root, raw = config.root.expanduser(), Path(source.__name__, "raw")
    prefixes = [{"train": "train", "test": "t10k"}[part] for part in _PARTS[config.split]]
    pairs = [(f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte") for prefix in prefixes]
    places = {file: _place(root, raw, file) for pair in pairs for file in pair}
    archives = [str(raw / archive) for archive, _ in source.resources]
    _obtain(name, source, root, [raw / file for file, place in places.items() if place is None], archives)
    images, labels = [], []
    for pair in pairs:
        image_file, label_file = (places[file] or root / raw / file for file in pair)
        images.append(_undamaged(partial(_read_bytes, sides=3), image_file))
        labels.append(_undamaged(partial(_read_bytes, sides=1), label_file).long())
        if len(images[-1]) != len(labels[-1]) or not len(images[-1]) or labels[-1].max() >= len(classes):
            raise UserError(f"{image_file} and {label_file} do not belong together; delete both")
    if len({part.shape[1:] for part in images}) > 1:
        raise UserError(f"the images of the two splits in {root} have different sizes")
    x = torch.cat(images)[:, None]
    spec = DataSpec(
        name, (Image(1, x.shape[2], x.shape[3], range=(0, 255)), Label(len(classes), names=classes)), len(x)
    )
    return spec, {"x": x, "y": torch.cat(labels)}


def _read_bytes(path: str, sides: int) -> Tensor:
    """Return the bytes of an IDX file, packed or not, uint8 with so many sides.

    Raises ValueError if its header is not true of it.
    """
    with open_regular(Path(path), _LARGEST) as file:
        content = bytearray((gzip.GzipFile(fileobj=file) if path.endswith(".gz") else file).read(_LARGEST))
    start = 4 + 4 * sides
    magic, *shape = struct.unpack(f">{1 + sides}i", content[:start])
    if magic != 0x0800 + sides or min(shape) < 1 or prod(shape) != len(content) - start:
        raise ValueError("its header does not fit its size")
    return torch.frombuffer(content, dtype=torch.uint8, offset=start).reshape(shape)


def _place(root: Path, raw: Path, file: str) -> Path | None:
    """Return where the file is, if it is there; what torchvision has unpacked is looked for first."""
    places = (folder / name for folder in (root / raw, root) for name in (file, f"{file}.gz"))
    return next((place for place in places if place.is_file()), None)


def _undamaged(read: Callable[[str], Tensor], path: Path) -> Tensor:
    try:
        return read(str(path))
    except Exception:  # the reader has no error of its own: it fails wherever the bytes make no sense
        raise UserError(f"{path} is damaged or cut short; delete it, and it is downloaded again") from None


def _obtain(name: str, source: Any, root: Path, files: list[Path], archives: list[str]) -> None:
    """See to it that the files are under ``root``: what is there stays as it is, what is missing is downloaded.

    The download goes to a folder beside and is moved here when it is complete and checked, file by file, each move
    being atomic: a name that exists is a whole file. Archives that lie here already are used if their MD5 is right.
    """
    missing = [file for file in files if not (root / file).is_file()]
    if not missing:
        return
    try:
        root.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".download-", dir=root) as folder, _timeout(_SILENCE):
            for archive in archives:
                if (root / archive).is_file():
                    Path(folder, archive).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(root / archive, Path(folder, archive))
            source(folder, download=True)
            for file in missing:
                (root / file).parent.mkdir(parents=True, exist_ok=True)
                os.replace(Path(folder, file), root / file)
    except (OSError, RuntimeError, HTTPException, EOFError, tarfile.TarError, zlib.error) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        hosts = " and ".join(getattr(source, "mirrors", None) or [source.url])
        raise UserError(
            f"{name} is not in {root} (there is no {missing[0]}) and downloading it from {hosts} failed: {lines[-1]}; "
            "point at a folder that has it with --set data.root=FOLDER"
        ) from error


@contextmanager
def _timeout(seconds: float) -> Iterator[None]:
    """Let connections fail after so many seconds of silence; torchvision would wait for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
