"""Plugins made for a test of the conformance kit: honest ones, and broken ones with the checks to catch them."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest
from sites import importable
from torch import Tensor, nn

from ganzoo import AdversarialTrainer, Discriminator, Generator, Latent, Network, Scores, Signature
from ganzoo.plugin.registry import BUNDLED, Registry
from ganzoo.testing import general, models, run_checks

Class = TypeVar("Class", bound=Callable[..., Any])


class Toys:
    """The toys of one test module, offered by a distribution ``toys``."""

    def __init__(self, module: str) -> None:
        self.module = module
        self.offered: dict[str, tuple[str, tuple[str, ...]]] = {}
        self.results: dict[str, dict[str, str]] = {}

    def __call__(self, kind: str, *caught: str) -> Callable[[Class], Class]:
        """Offer the class or function; ``caught`` are the checks that fail, none for an honest one."""

        def offer(target: Class) -> Class:
            self.offered[target.__name__] = (kind, caught)
            sys.modules[self.module].__dict__.setdefault(target.__name__, target)
            return target

        return offer

    def spec(self, key: str) -> str:
        """Return the source of a toy's spec."""
        return f"Spec({self.offered[key][0]!r}, {key!r}, 'A toy.', '{self.module}:{key}')"

    @contextmanager
    def registry(self, folder: Path, heavy: str = "") -> Iterator[Registry]:
        """Yield a registry of the toys and of what is bundled but file formats, which take seconds.

        The distribution has another plugin, ``heavy``, with these specs, which imports torch.
        """
        head = "from ganzoo import Spec, hookimpl\n@hookimpl\ndef ganzoo_specs():\n"
        metadata = folder / "toys-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: toys\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text("[ganzoo.plugins]\ntoys = toys_plugin\nheavy = toys_heavy\n")
        (folder / "toys_plugin.py").write_text(f"{head}    return [{', '.join(map(self.spec, self.offered))}]\n")
        (folder / "toys_heavy.py").write_text(f"import torch\n{head}    return [{heavy}]\n")
        with importable(folder):
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("GANZOO_DISABLE_PLUGINS", f"{BUNDLED}/onnx")
                registry = Registry()
            yield registry

    def failed(self, registry: Registry, key: str) -> dict[str, str]:
        """Return the checks that a toy fails, with the sentence of each; they are run once."""
        if key not in self.results:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(general, "discovery", lambda *_: None)  # a process each; it has tests of its own
                patch.setattr(models, "capture", lambda *_: "")  # takes longest, and only remarks
                results = list(run_checks(registry, f"{self.offered[key][0]}:toys/{key}"))
            for result in results:
                assert result.detail or result.outcome == "passed"
                assert "\n" not in result.detail
            self.results[key] = {result.name: result.detail for result in results if result.outcome == "failed"}
        return self.results[key]

    def assert_caught(self, registry: Registry, key: str) -> None:
        """Assert that a toy fails the checks that are to catch it, and no other."""
        failed = self.failed(registry, key)
        assert list(failed) == list(self.offered[key][1]), failed

    def assert_said(self, registry: Registry, key: str, sentence: str) -> None:
        """Assert that a pattern is found in a sentence about a toy."""
        said = self.failed(registry, key)
        assert any(re.search(sentence, each) for each in said.values()), said

    def assert_three_for_each(self, kind: str, *checks: str) -> None:
        """Assert that at least three broken toys fail exactly each of the checks."""
        exact = [caught for of, caught in self.offered.values() if of == kind]
        counts = {check: exact.count((check,)) for check in checks}
        assert min(counts.values()) >= 3, counts


class Painter(Generator):
    """A tiny honest generator."""

    def __init__(self, sample: Any) -> None:
        super().__init__(Signature((Latent((4,)),), sample))
        self.body = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, prod(sample.shape)))

    def forward(self, z: Tensor) -> Tensor:
        return self.body(z).tanh().unflatten(1, self.signature.output.shape)


class Judge(Discriminator):
    """A tiny honest discriminator."""

    def __init__(self, sample: Any) -> None:
        super().__init__(Signature((sample,), Scores()))
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(prod(sample.shape), 8), nn.Softplus(), nn.Linear(8, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x).squeeze(1)


class HonestModel(AdversarialTrainer):
    """Everything as it should be; broken models differ from it in one thing."""

    painter: ClassVar[type[Generator]] = Painter
    judge: ClassVar[type[Discriminator]] = Judge
    defaults: ClassVar[Mapping[str, Any]] = {"data": {"name": "digits"}, "loss": {"name": "wgan_gp"}}

    def build_generator(self, sample: Any) -> Generator:
        return self.painter(sample)

    def build_discriminator(self, sample: Any) -> Discriminator:
        return self.judge(sample)


def model_of(module: str, name: str, **networks: type[Network]) -> type[HonestModel]:
    """Return an honest model with other networks, ``painter`` or ``judge``."""
    return type(name, (HonestModel,), {**networks, "__module__": module})
