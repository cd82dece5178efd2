"""Checks of file formats: a small network is written, and opened again if the format is read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ganzoo.errors import UserError
from ganzoo.fields import Image, Label, Latent, Signature
from ganzoo.gan.networks import Generator, Network
from ganzoo.inference.formats import Format
from ganzoo.inference.sampling import TorchSampler
from ganzoo.plugin.registry import Entry
from ganzoo.testing.results import Check, Fault, Skip
from ganzoo_runtime.text import counted

__all__ = ["TOLERANCE", "checks"]

TOLERANCE = 1e-4
"""Largest difference, relative to the value range, between what should be the same network."""


class _Small(Generator):
    """A conditional generator of images that every format can hold."""

    def __init__(self) -> None:
        super().__init__(Signature((Latent((5,)), Label(3)), Image(1, 8, 8)))
        self.classes, self.layer = nn.Embedding(3, 5), nn.Linear(5, 64)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        flat: Tensor = self.layer(z + self.classes(y))
        images: Tensor = flat.tanh().unflatten(1, (1, 8, 8))
        return images


def checks(entry: Entry) -> Iterator[Check]:
    """Yield the checks."""
    yield Check("write", lambda: written(entry), vital=True)
    yield Check("read", lambda: read(entry))
    yield Check("damaged file", lambda: damaged(entry))


def written(entry: Entry) -> None:
    """A network and its metadata become one file; the metadata are returned, and the network is left as it was."""
    with TemporaryDirectory(prefix="ganzoo-check-") as folder:
        network, path = _network(), Path(folder) / f"small.{entry.spec.key}"
        before = {name: part.clone() for name, part in network.state_dict().items()}
        document = _write(entry, network, path)
        if not path.is_file():
            raise Fault(f"export() writes no {path.name}, which it is told to")
        _check_document(document, network)
        after = network.state_dict()
        if before.keys() != after.keys() or any(_differ(part, after[name]) for name, part in before.items()):
            raise Fault("export() changes the network that it is given")


def read(entry: Entry) -> None:
    """What is opened has the metadata that were written, and gives what torch does, at any batch size."""
    _refuse_unread(entry)
    with TemporaryDirectory(prefix="ganzoo-check-") as folder:
        network, path = _network(), Path(folder) / f"small.{entry.spec.key}"
        document = _write(entry, network, path)
        sampler = _made(entry).load(path)
        if not hasattr(sampler, "metadata"):
            raise Fault(f"load() returns a {type(sampler).__name__} and not a ganzoo.Sampler")
        _check_document(sampler.metadata, network)
        reference = TorchSampler(network, document)
        for n in (5, 1):
            wanted, found = (np.asarray(each.sample(n, seed=3, label=2)) for each in (reference, sampler))
            if found.shape != wanted.shape:
                said = f"the file gives {list(found.shape)}, torch {list(wanted.shape)}"
                raise Fault(f"of {counted(n, 'sample')} {said}")
            if (difference := float(np.abs(found - wanted).max()) / 2) > TOLERANCE:
                said = f"the file's differ from torch's by {difference:.1e} of the range"
                raise Fault(f"of {counted(n, 'sample')} {said}")


def damaged(entry: Entry) -> None:
    """A file that is not of the format is refused with a :class:`~ganzoo.UserError`."""
    _refuse_unread(entry)
    with TemporaryDirectory(prefix="ganzoo-check-") as folder:
        path = Path(folder) / f"small.{entry.spec.key}"
        path.write_bytes(b"no such format")
        try:
            _made(entry).load(path)
        except UserError:
            return
        except Exception as error:
            raise Fault(f"load() raises {type(error).__name__} for a damaged file, and not ganzoo.UserError") from None
        raise Fault("load() takes a file that is not of the format")


def _differ(before: Tensor, after: Tensor) -> bool:
    return before.dtype != after.dtype or before.device != after.device or not torch.equal(before, after)


def _network() -> Network:
    torch.manual_seed(0)
    return _Small().eval()


def _made(entry: Entry) -> Format:
    made: Format = entry.spec.load()()
    return made


def _refuse_unread(entry: Entry) -> None:
    if not _made(entry).is_read():
        raise Skip("files of this format are written and not read")


def _write(entry: Entry, network: Network, path: Path) -> Mapping[str, Any]:
    made = _made(entry)
    made.check(network)
    return made.export(network, path, {"license": "CC0", "signature": network.signature.to_json()})


def _check_document(document: Any, network: Network) -> None:
    if not isinstance(document, Mapping):
        raise Fault(f"the metadata are a {type(document).__name__}, not a mapping")
    try:
        plain = json.loads(json.dumps(dict(document)))
    except (TypeError, ValueError) as error:
        raise Fault(f"the metadata are no JSON: {error}") from None
    if plain.get("signature") != json.loads(json.dumps(network.signature.to_json())) or plain.get("license") != "CC0":
        raise Fault("the metadata lack the network's signature, or what export() was given")
