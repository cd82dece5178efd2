"""Checks of what a model keeps: averaged weights, the same run for the same seed, resume, run folders and files."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganzoo.gan.networks import Network
from ganzoo.inference.formats import Format
from ganzoo.inference.sampling import TorchSampler
from ganzoo.plugin.registry import BUNDLED, Entry
from ganzoo.runs import checkpoint
from ganzoo.testing.bench import STEPS, Bench, draw, first_outputs
from ganzoo.testing.results import Check, Fault
from ganzoo.training.loop import Loop
from ganzoo_runtime.text import counted

__all__ = ["checks"]

TOLERANCE = 1e-4
"""Largest difference, relative to the value range, between what should be the same network."""

_UNSEEDED = "does something random come from elsewhere than the global random generators?"
_UNSAVED = "is something kept between steps that the trainer's state_dict() does not return?"


def checks(bench: Bench) -> Iterator[Check]:
    """Yield the checks."""
    yield Check("average", lambda: averaged(bench))
    yield Check("seed", lambda: seed(bench))
    yield Check("resume", lambda: resume(bench))
    yield Check("run folder", lambda: run_folder(bench))
    for entry in bench.registry.specs("format"):
        if entry.distribution not in (BUNDLED, bench.entry.distribution):
            continue  # whether a third party's format is any good is no matter of this model
        yield Check(f"format {entry.spec.key}", partial(exported, bench, entry))


def averaged(bench: Bench) -> None:
    """What is exported are the averaged weights, and they are an average: not the weights of the last step."""
    loop = bench.probe.loop
    ours = {id(parameter) for network in loop.ema.values() for parameter in network.parameters()}
    for name, network in loop.exports().items():
        for key, parameter in network.named_parameters():
            if id(parameter) not in ours:
                raise Fault(
                    f"{key} of {name!r} is not an averaged weight; exports() uses the networks that it is given"
                )
    for name, average in loop.ema.items():
        weights = dict(loop.trainer.networks[name].named_parameters())
        averages = dict(average.named_parameters())
        if averages and all(torch.equal(part, weights[key]) for key, part in averages.items()):
            raise Fault(f"after {loop.step} steps the averaged {name!r} is the same as the trained one")


def seed(bench: Bench) -> None:
    """The same seed gives the same training to the last bit, another seed another one."""
    first = _snapshot(_advanced(bench, STEPS))
    _compare(first, _snapshot(_advanced(bench, STEPS)), "two runs with the same seed differ", _UNSEEDED)
    other = bench.loop(bench.configure(seed=1))
    other.advance()
    mine = _advanced(bench, 1)
    if all(torch.equal(part, _weights(other)[key]) for key, part in _weights(mine).items()):
        raise Fault("another seed gives the same weights")


def resume(bench: Bench) -> None:
    """Training that is saved, made anew and restored goes on as if nothing had been, to the last bit."""
    whole = _snapshot(_advanced(bench, STEPS + 2))
    with TemporaryDirectory(prefix="ganzoo-check-") as folder:
        _advanced(bench, STEPS).save(Path(folder))
        loop = bench.loop(start=0)
        _disturb()
        loop.restore(checkpoint.latest(Path(folder)))
    for _ in range(2):
        loop.advance()
    _compare(whole, _snapshot(loop), "a resumed run differs from one that was not interrupted", _UNSAVED)


def run_folder(bench: Bench) -> None:
    """A run folder alone, without the data, gives back the exported networks."""
    with bench.trained() as (loop, run):
        exports = loop.exports()
        expected = first_outputs(exports)
        for name in exports:
            network, _ = run.load(bench.registry, name)
            found = first_outputs({name: network})[name]
            if (difference := _difference(network, found, expected[name])) > TOLERANCE:
                raise Fault(f"{name!r} loaded from a run folder differs from the trained one by {difference:.1e}")


def exported(bench: Bench, entry: Entry) -> str | None:
    """Each export can be written as a file and opened again, and returns what torch does, at any batch size."""
    made: Format = entry.spec.load()()
    with bench.trained() as (loop, run):
        for name in loop.exports():
            network, metadata = run.load(bench.registry, name)
            path = run.path / f"{name}.{entry.spec.key}"
            made.export(network, path, metadata)
            if not made.is_read():
                continue  # it compares itself what it writes
            both = TorchSampler(network, metadata), made.load(path)
            for n in (5, 1):
                if network.signature.drawn:
                    outputs = [each.sample(n, seed=3) for each in both]
                else:
                    inputs = [part.numpy() for part in draw(network.signature, n, seed=3)]
                    outputs = [each(*inputs) for each in both]
                expected, found = (torch.from_numpy(np.array(output)) for output in outputs)
                if found.shape != expected.shape:
                    raise Fault(f"{name!r} gives {list(found.shape)} from the file, {list(expected.shape)} in torch")
                if (difference := _difference(network, found, expected)) > TOLERANCE:
                    raise Fault(
                        f"{counted(n, 'answer')} of {name!r} from the file differ from torch's by {difference:.1e}"
                    )
    return None if made.is_read() else "written; files of this format are not read"


def _advanced(bench: Bench, steps: int) -> Loop:
    _disturb()
    loop = bench.loop()
    for _ in range(steps):
        loop.advance()
    return loop


def _disturb() -> None:
    """Change the state of every global random generator."""
    torch.seed()
    np.random.seed(None)
    random.seed()


def _weights(loop: Loop) -> dict[str, Tensor]:
    return {
        f"{owner}.{key}": part.detach().clone()
        for owner, network in loop.trainer.networks.items()
        for key, part in network.state_dict().items()
    }


def _snapshot(loop: Loop) -> dict[str, Any]:
    """Return everything that a training is made of, flat, as copies."""
    flat: dict[str, Any] = {}
    _flatten("", _weights(loop), flat)
    _flatten("averaged ", {name: network.state_dict() for name, network in loop.ema.items()}, flat)
    _flatten("optimizer ", {name: each.state_dict() for name, each in loop.trainer.optimizers.items()}, flat)
    _flatten("state ", loop.trainer.state_dict(), flat)
    _flatten("samples ", first_outputs(loop.exports()), flat)
    return flat


def _flatten(path: str, value: Any, flat: dict[str, Any]) -> None:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _flatten(f"{path}{key}" if path.endswith(" ") or not path else f"{path}.{key}", inner, flat)
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            _flatten(f"{path}.{index}", inner, flat)
    else:
        flat[path] = value.detach().clone() if isinstance(value, Tensor) else value


def _compare(expected: Mapping[str, Any], found: Mapping[str, Any], sentence: str, suspicion: str) -> None:
    different = [key for key in expected if key not in found or not _same(expected[key], found[key])]
    different += [key for key in found if key not in expected]
    if different:
        more = f" and {len(different) - 1} more" if len(different) > 1 else ""
        raise Fault(f"{sentence} in {different[0]}{more}; {suspicion}")


def _same(first: Any, second: Any) -> bool:
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return (
            first.shape == second.shape
            and first.dtype == second.dtype
            and bool(((first == second) | ((first != first) & (second != second))).all())
        )
    return type(first) is type(second) and bool(first == second)


def _difference(network: Network, found: Tensor, expected: Tensor) -> float:
    """Return the largest difference, relative to the range of the values or the largest of them."""
    return float((found - expected).abs().max()) / network.signature.output.span(expected.numpy())
