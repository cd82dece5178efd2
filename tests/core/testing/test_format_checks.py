"""The checks of file formats: an honest format passes, and each broken one fails exactly the check that is for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sites import Site, importable

from ganzoo import Format, Network, Sampler
from ganzoo.plugin.registry import Registry
from ganzoo.testing import general, run_checks
from ganzoo_exporters.format import Onnx


class Honest(Onnx):
    """ONNX under another name."""


class OnlyWritten(Format):
    unread = "it is for another program"

    def export(self, network: Network, path: Path, metadata: Mapping[str, Any], **options: Any) -> Mapping[str, Any]:
        path.write_bytes(b"x")
        return metadata


class ReturnsNothing(Honest):
    def export(self, *given: Any, **options: Any) -> Any:
        super().export(*given, **options)


class WritesElsewhere(Honest):
    def export(self, network: Network, path: Path, *given: Any, **options: Any) -> Any:
        return super().export(network, path.with_suffix(".onnx"), *given, **options)


class ForgetsMetadata(Honest):
    def export(self, network: Network, path: Path, metadata: Any, **options: Any) -> Any:
        return {"signature": super().export(network, path, metadata, **options)["signature"]}


class ChangesWeights(Honest):
    def export(self, network: Network, path: Path, metadata: Any, **options: Any) -> Any:
        document = super().export(network, path, metadata, **options)
        next(network.parameters()).data.mul_(2)
        return document


class ChangesPrecision(Honest):
    def export(self, network: Network, path: Path, metadata: Any, **options: Any) -> Any:
        document = super().export(network, path, metadata, **options)
        network.double()
        return document


class OpensNothing(Honest):
    def load(self, path: Path) -> Any:
        super().load(path)
        return 3


class Opened:
    """Another's sampler, with one thing changed."""

    def __init__(self, sampler: Sampler) -> None:
        self.sampler, self.metadata = sampler, sampler.metadata

    def sample(self, n: int, **asked: Any) -> Any:
        return self.sampler.sample(n, **asked)


class Shifts(Honest):
    def load(self, path: Path) -> Any:
        opened = Opened(super().load(path))
        opened.sample = lambda n, **asked: opened.sampler.sample(n, **asked) + np.float32(0.1)  # type: ignore[method-assign]
        return opened


class OneBatch(Honest):
    def load(self, path: Path) -> Any:
        opened = Opened(super().load(path))
        opened.sample = lambda n, **asked: opened.sampler.sample(5, **asked)  # type: ignore[method-assign]
        return opened


class LosesSignature(Honest):
    def load(self, path: Path) -> Any:
        opened = Opened(super().load(path))
        opened.metadata = {**opened.metadata, "signature": {}}
        return opened


class TakesAnything(Honest):
    def load(self, path: Path) -> Any:
        return super().load(path) if len(path.read_bytes()) > 100 else object()


class Crashes(Honest):
    def load(self, path: Path) -> Any:
        if len(path.read_bytes()) < 100:
            raise KeyError("header")
        return super().load(path)


class Asserts(Honest):
    def load(self, path: Path) -> Any:
        assert len(path.read_bytes()) > 100
        return super().load(path)


CASES = {
    Honest: ("", ""),
    OnlyWritten: ("", ""),
    ReturnsNothing: ("write", "the metadata are a NoneType, not a mapping"),
    WritesElsewhere: ("write", "export() writes no small.WritesElsewhere"),
    ForgetsMetadata: ("write", "the metadata lack the network's signature, or what export() was given"),
    ChangesWeights: ("write", "export() changes the network that it is given"),
    ChangesPrecision: ("write", "export() changes the network that it is given"),
    OpensNothing: ("read", "load() returns a int and not a ganzoo.Sampler"),
    Shifts: ("read", "of 5 samples the file's differ from torch's by 5.0e-02 of the range"),
    OneBatch: ("read", "of 1 sample the file gives [5, 1, 8, 8], torch [1, 1, 8, 8]"),
    LosesSignature: ("read", "the metadata lack the network's signature"),
    TakesAnything: ("damaged file", "load() takes a file that is not of the format"),
    Crashes: ("damaged file", "load() raises KeyError for a damaged file, and not ganzoo.UserError"),
    Asserts: ("damaged file", "load() raises AssertionError for a damaged file"),
}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    folder = tmp_path_factory.mktemp("formats")
    specs = ", ".join(f"Spec('format', {each.__name__!r}, 'S.', '{__name__}:{each.__name__}')" for each in CASES)
    with importable(folder):
        Site(folder).add("toys", plugin=f"@hookimpl\ndef ganzoo_specs():\n    return [{specs}]\n")
        yield Registry()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_the_check_that_is_for_it(registry: Registry, case: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(general, "discovery", lambda *_: None)
    name, words = CASES[case]
    results = list(run_checks(registry, f"format:toys/{case.__name__}"))
    failed = {result.name: result.detail for result in results if result.outcome == "failed"}
    assert [*failed] == ([name] if name else []), failed
    assert failed.get(name, "").startswith(words)
    if case is OnlyWritten:
        skipped = [result.name for result in results if result.outcome == "skipped"]
        assert skipped == ["read", "damaged file"]
