"""The conformance kit passes what is bundled and catches, by the right check, what is dishonest."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from functools import cache, partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT
from sites import Site, importable
from small import REPRESENTATIVE, small
from torch import Tensor, nn
from toys import HonestModel, Painter, Toys

from ganzoo import Loss, UserError, load_registry
from ganzoo.plugin.registry import BUNDLED, Registry
from ganzoo.testing import Result, check, general, run_checks
from ganzoo.testing.general import fresh
from ganzoo.testing.results import Check, run
from ganzoo.testing.runner import checks_of

CHECKED = (
    *("model", "loss", "regularizer", "augmentation", "optimizer", "schedule", "dataset", "metric", "tracker"),
    *("field", "format", "sink", "command"),
)
ONLINE = ("wandb", "mlflow")  # tests/plugins/trackers checks them offline
SHIPPED = [
    f"{entry.spec.kind}:{entry.name}"
    for entry in load_registry().specs()
    if entry.distribution == BUNDLED and entry.spec.key not in ONLINE
]


def slow(name: str) -> bool:
    """A model's checks take five seconds to a minute: with all of them, the tests of a change would take too long."""
    return name.startswith("model:") and name.rpartition("/")[2] not in REPRESENTATIVE


@cache
def found(path: tuple[str, ...], code: str, *arguments: str) -> Any:
    """Start one process for all that a plugin module offers."""
    return fresh(code, *arguments)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if slow(name) else name
        for name in SHIPPED
        if name.partition(":")[0] in CHECKED
    ],
)
def test_everything_bundled_conforms(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Toys that other tests have installed for this process may import torch in every process that finds them.
    others = {each.dist.name for each in entry_points(group="ganzoo.plugins") if each.dist is not None} - {BUNDLED}
    monkeypatch.setenv("GANZOO_DISABLE_PLUGINS", ",".join(others))
    monkeypatch.setattr(general, "fresh", partial(found, (*sys.path,)))
    kind, _, entry = name.partition(":")
    # Most of what a model's checks cost grows with its networks, and what they find does not.
    few = ("vocabulary=50", "size=64") if name.endswith("/oracle") else ()
    check(name, small(entry.rpartition("/")[2]) if kind == "model" else few)


@pytest.mark.parametrize("key", ["mnist5k", "digits", "gaussians", "curves", "shapes", "stacked_mnist"])
def test_the_data_sets_that_come_along_are_really_checked(key: str) -> None:
    outcomes = {result.name: result.outcome for result in run_checks(load_registry(), f"dataset:{key}")}
    assert outcomes.pop("workers") == "skipped"  # they lie in memory
    if key == "stacked_mnist":
        assert outcomes.pop("rows") == "skipped"  # its batches are made of three digits each
    assert set(outcomes.values()) == {"passed"}


def test_a_data_set_with_a_required_setting_is_checked_with_it(tmp_path: Path) -> None:
    from PIL import Image as Pillow

    for index in range(5):
        Pillow.new("RGB", (8, 8), (index, 0, 0)).save(tmp_path / f"{index}.png")
    results = list(run_checks(load_registry(), "folder", [f"path={tmp_path.as_posix()}", "memory=0"]))
    assert {result.name for result in results if result.outcome != "passed"} == {"dataset: rows"}, results  # on disk


toy = Toys(__name__)


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    heavy = f"Spec('loss', 'heavy', 'A toy.', '{__name__}:HonestLoss'),"
    heavy += f"Spec('model', 'HonestLoss', 'The same key twice.', '{__name__}:Honest')"
    with toy.registry(tmp_path_factory.mktemp("toys"), heavy) as registry:
        yield registry


@toy("model")
class Honest(HonestModel):
    """Everything as it should be."""


@toy("loss")
class HonestLoss(Loss):
    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return nn.functional.softplus(fake - real).mean()

    def generator(self, fake: Tensor, real: Tensor | None) -> Tensor:
        assert real is not None
        return nn.functional.softplus(real - fake).mean()

    needs_real = True


@toy("loss")
class Drawing(HonestLoss):
    """Its fakes are noisy."""

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return super().discriminator(real, fake + torch.rand_like(fake))


def test_discovery_that_imports_torch_is_caught(toys: Registry) -> None:
    results = {result.name: result for result in run_checks(toys, "loss:toys/heavy")}
    assert results["discovery"].outcome == "failed"
    assert "imports torch" in results["discovery"].detail
    # Another plugin of the same distribution is not blamed.
    honest = {result.name: result for result in run_checks(toys, "loss:toys/HonestLoss")}
    assert honest["discovery"] == Result("discovery", "passed")


def test_a_network_that_is_no_onnx_is_caught(toys: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    class Branching(Painter):
        def forward(self, z: Tensor) -> Tensor:
            return super().forward(z) if z.sum() > 100 else super().forward(z) * 0.5

    monkeypatch.setattr(Honest, "painter", Branching)
    monkeypatch.setattr(general, "discovery", lambda *_: None)
    results = {result.name: result for result in run_checks(Registry(), "toys/Honest")}
    assert results["format onnx"].outcome == "failed"
    assert "cannot be exported" in results["format onnx"].detail


FORMAT = """
from ganzoo import Format

class Broken(Format):
    def export(self, network, path, metadata, **options):
        raise OSError("no such device")

    def load(self, path):
        raise OSError("no such device")
"""


def test_what_third_parties_break_is_no_fault_of_a_model(
    toys: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their formats are tried with their own models, where they are theirs."""
    monkeypatch.setattr(general, "discovery", lambda *_: None)
    offered = {"format": "other_format:Broken", "sink": "other_gone:x", "metric": "other_gone:X"}
    specs = ", ".join(f"Spec({kind!r}, 'broken', 'S.', {target!r})" for kind, target in offered.items())
    specs += f", Spec('model', 'painter', 'S.', '{__name__}:Honest')"
    with importable(tmp_path):
        site = Site(tmp_path)
        site.add("other", plugin=f"@hookimpl\ndef ganzoo_specs():\n    return [{specs}]\n")
        (tmp_path / "other_format.py").write_text(FORMAT)
        monkeypatch.setenv("GANZOO_DISABLE_PLUGINS", f"{BUNDLED}/onnx")
        registry = Registry()
        for model, failed in {"toys/Honest": {}, "other/painter": {"format broken": "OSError: no such device"}}.items():
            results = list(run_checks(registry, f"model:{model}"))
            found = {result.name: result.detail for result in results if result.outcome == "failed"}
            assert found.keys() == failed.keys()
            assert all(found[name].startswith(sentence) for name, sentence in failed.items())


def test_data_that_is_not_there_is_replaced_by_random_data(toys: Registry, tmp_path: Path) -> None:
    settings = ["data.name=cifar10", f"data.root={tmp_path.as_posix()}", "loss.name=non_saturating"]
    results = {result.name: result for result in run_checks(toys, "gan_fc", [*settings, "model.hidden=[8]"])}
    assert results["build"].detail.startswith("checked on random data, since cifar10 is not in ")
    assert {result.outcome for result in results.values()} <= {"passed", "skipped"}


def test_names(toys: Registry) -> None:
    with pytest.raises(UserError, match=r"unknown name 'HonestLos'; did you mean 'HonestLoss'\?"):
        next(run_checks(toys, "HonestLos"))
    with pytest.raises(UserError, match=r"unknown kind 'lose'; did you mean 'loss'\?"):
        next(run_checks(toys, "lose:HonestLoss"))
    with pytest.raises(UserError, match="unknown loss"):
        next(run_checks(toys, "loss:Honest"))
    names = [result.name for result in run_checks(toys, "HonestLoss")]  # a loss and a model
    assert names[0] == "model: discovery"
    assert names[-1] == "loss: large scores"


def test_results_come_one_by_one_and_nothing_else_comes_out() -> None:
    def leave() -> None:
        raise SystemExit(3)

    def fail() -> None:
        raise KeyError("two\nlines")

    done: list[str] = []
    checks = [
        Check("first", lambda: done.append("first")),
        Check("second", fail),
        Check("third", leave, vital=True),
        Check("fourth", lambda: done.append("fourth")),
    ]
    results = run(checks)
    assert not done
    assert next(results) == Result("first", "passed")
    second, third, fourth = results
    assert (second.outcome, third.outcome, fourth.outcome) == ("failed", "failed", "skipped")
    assert second.detail.startswith(r"KeyError: 'two\nlines' (test_conformance.py, line ")
    assert third.detail.startswith("SystemExit: 3")
    assert done == ["first"]


def test_checks_leave_the_random_state_alone(toys: Registry) -> None:
    torch.manual_seed(3)
    wanted = torch.randn(3)
    torch.manual_seed(3)
    list(run_checks(toys, "loss:HonestLoss"))
    list(run_checks(toys, "loss:Drawing"))
    assert torch.equal(torch.randn(3), wanted)


def test_the_page_says_what_each_check_means() -> None:
    page = (ROOT / "docs/conformance.md").read_text()
    sections = dict(part.split("\n", 1) for part in page.split("\n## ")[1:])
    titles = {"model": "Models", "loss": "Losses", "regularizer": "Regularizers", "dataset": "Data sets"}
    titles |= {"metric": "Metrics", "field": "Kinds of fields", "format": "Formats", "sink": "Sinks"}
    titles |= {"optimizer": "Optimizers", "schedule": "Schedules"}
    titles |= {"augmentation": "Augmentations", "tracker": "Trackers"}
    registry = load_registry()
    for entry in {entry.spec.kind: entry for entry in registry.specs()}.values():
        where = sections["Every kind"] + sections.get(titles.get(entry.spec.kind, ""), "")
        for each in checks_of(registry, entry, ()):
            name = re.sub("^format .*", "format KEY", each.name)
            assert f"`{name}`" in where, (entry.spec.kind, name)
