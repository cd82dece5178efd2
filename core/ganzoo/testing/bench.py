"""The bench that a model is checked on: its config with few steps and small batches, data, loops and probes."""

from __future__ import annotations

from collections import Counter, abc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from ganzoo.config.config import Config
from ganzoo.config.resolving import load_config
from ganzoo.data.dataset import Batch, Dataset
from ganzoo.errors import UserError
from ganzoo.fields import Attributes, Column, Image, Label, Points, Sequence, Signature, Table, Tokens
from ganzoo.gan.networks import Network
from ganzoo.gan.trainer import Phase
from ganzoo.plugin.registry import Entry, Registry
from ganzoo.runs import checkpoint
from ganzoo.runs.run import Run
from ganzoo.testing.datasets import offline
from ganzoo.testing.results import Fault
from ganzoo.testing.samples import random_data
from ganzoo.training.capture import Graphs
from ganzoo.training.loop import Loop

__all__ = ["Bench", "Probe", "draw", "first_outputs"]

SMALL = ("batch_size=8", "accumulate=1", "steps=1000", "seed=0", 'device="cpu"', 'precision="fp32"', "workers=0")
"""Settings that every model is checked with unless the caller says otherwise."""

STEPS = 4
"""Training steps of most checks."""


class Bench:
    """Makes what the checks of one model need."""

    def __init__(self, registry: Registry, entry: Entry, sets: abc.Sequence[str], start: int = 0) -> None:
        self.registry = registry
        self.entry = entry
        self.sets = sets
        self.start = start
        self.stand_in = ""

    def at(self, start: int) -> Bench:
        """Return a bench of the same model whose trainings begin at a later step, grown to what the model is there."""
        return Bench(self.registry, self.entry, (*self.sets, f"steps={start + 1000}"), start)

    def configure(self, preset: str | None = None, **layer: Any) -> Config:
        """Return the model's config with the layer on top."""

        def made(*small: str) -> Config:
            return load_config(self.registry, self.entry.name, preset=preset, sets=(*small, *self.sets), flags=layer)

        config = made(*SMALL)
        # Of samples that are scored together, such as ten rows of a table, a batch has two such packs.
        pack = getattr(config.model.settings, "pack", 1)
        return config if 8 % pack == 0 else made(*SMALL, f"batch_size={2 * pack}")

    @cached_property
    def config(self) -> Config:
        """The model's config."""
        return self.configure()

    @cached_property
    def dataset(self) -> Dataset:
        """The config's data set, or random data that the model takes if that is not on this machine."""
        try:
            with offline():
                return self.config.build_dataset()
        except UserError as error:
            for dataset in _stand_ins():
                try:
                    self.config.build_trainer(dataset.spec)
                except (UserError, KeyError):
                    continue
                self.stand_in = f"checked on random data, since {error}"
                return dataset
            raise Fault(f"its data is not on this machine, and it takes no random data instead: {error}") from None

    def loop(
        self,
        config: Config | None = None,
        graphs: Callable[[torch.device], Graphs] | None = None,
        *,
        start: int | None = None,
    ) -> Loop:
        """Return a fresh training of the model, made as a real one is; ``graphs`` captures its phases.

        It begins at the step ``start``, by default the bench's.
        """
        config = config or self.config
        dataset = self.dataset
        checkpoint.seed_random(config.train.seed)
        trainer = config.build_trainer(dataset.spec)
        trainer.to(torch.device("cpu"))
        loop = Loop(trainer, dataset, config.train, graphs)
        loop.step = self.start if start is None else start
        loop.grow(loop.step)
        return loop

    @cached_property
    def probe(self) -> Probe:
        """A training that was watched for a few steps, every phase included."""
        loop = self.loop()
        probe = Probe(loop)
        for _ in range(min(32, max([STEPS, *(phase.every + 1 for phase in loop.phases)]))):
            loop.advance()
        return probe

    @contextmanager
    def trained(self) -> Iterator[tuple[Loop, Run]]:
        """Yield a training after a few steps and its run folder with a checkpoint, which is deleted on leaving."""
        with TemporaryDirectory(prefix="ganzoo-check-") as folder:
            run = Run.create(Path(folder), self.config, self.dataset.spec)
            loop = self.loop()
            for _ in range(STEPS):
                loop.advance()
            loop.save(run.checkpoints)
            yield loop, run


class Probe:
    """Watches a loop: which weights get gradients and change in which phase, and who steps which optimizer."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.phases = tuple(loop.phases)
        self.runs: Counter[str] = Counter()
        self.steps: Counter[tuple[str, str]] = Counter()
        self.reached: set[str] = set()
        self.faults: dict[str, str] = {}
        self.moved: set[tuple[str, str]] = set()
        self.weights = {
            f"{owner}.{name}": parameter
            for owner, network in loop.trainer.networks.items()
            for name, parameter in network.named_parameters()
            if parameter.requires_grad
        }
        self._phase: Phase | None = None
        self._before: dict[str, Tensor] = {}
        for name, optimizer in loop.trainer.optimizers.items():
            optimizer.register_step_pre_hook(lambda *_, name=name: self._stepping(name))
        listed = loop.trainer.phases

        def watched() -> list[Phase]:
            return [replace(phase, loss=self._loss(phase), after=self._after(phase)) for phase in listed()]

        loop.trainer.phases = watched  # type: ignore[method-assign]  # where a trainer grows, they are listed again
        loop.phases[:] = watched()

    def _loss(self, phase: Phase) -> Any:
        def loss(batch: Batch, step: Tensor) -> Mapping[str, Tensor]:
            self._phase, self._before = phase, {name: part.detach().clone() for name, part in self.weights.items()}
            self.runs[phase.name] += 1
            return phase.compute(batch, step)

        return loss

    def _after(self, phase: Phase) -> Any:
        def after() -> None:
            if phase.after is not None:
                phase.after()
            for name, before in self._before.items():
                owner = name.partition(".")[0]
                if torch.equal(before, self.weights[name]):
                    continue
                self.moved.add((phase.name, owner))
                if owner not in phase.updates:
                    self.faults.setdefault(
                        "ownership", f"the phase {phase.name!r} changes {name}, and it updates {_said(phase.updates)}"
                    )
            self._phase = None

        return after

    def _stepping(self, optimizer: str) -> None:
        phase = self._phase
        self.steps[phase.name if phase is not None else "", optimizer] += 1
        if phase is None:
            return
        for name, parameter in self.weights.items():
            if parameter.grad is None or name.partition(".")[0] not in phase.updates:
                continue
            self.reached.add(name)
            if not bool(parameter.grad.isfinite().all()):
                self.faults.setdefault("gradients", f"the gradient of {name} in phase {phase.name!r} is not finite")


def draw(signature: Signature, n: int, seed: int = 0) -> list[Tensor]:
    """Return inputs of any kind, on the CPU."""
    return [torch.from_numpy(part) for part in signature.examples(n, seed)]


@torch.no_grad()
def first_outputs(networks: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """Return what each network returns, in eval mode, to the same few inputs every time."""
    outputs = {}
    for name, network in networks.items():
        assert isinstance(network, Network)
        network.eval()
        outputs[name] = network(*draw(network.signature, 5, seed=1))
    return outputs


def _said(names: abc.Sequence[str]) -> str:
    return " and ".join(repr(name) for name in names) or "nothing"


def _stand_ins() -> Iterator[Dataset]:
    """Yield small random data sets of every form that a model may ask for."""
    pictures = [Image(channels, side, side, range=(0, 255)) for channels, side in ((3, 32), (1, 28), (3, 64))]
    for image in pictures:
        yield random_data(image, Label(10))
    for side in (32, 64):
        for paired in (False, True):
            yield random_data(*(Image(3, side, side, (0, 255), name) for name in ("a", "b")), paired=paired)
    yield random_data(Points(2))
    columns = (Column("amount", (0, 10)), Column("kind", categories=("a", "b", "c")))
    for field in (Sequence(1, 64), Tokens(8, 12), Table(columns)):
        yield random_data(field, Label(4))
    yield random_data(pictures[0], Label(4), Label(3, name="hue"))
    vectors = ((0.0, 1.0, -1.0, 0.5, 0.0), (1.0, 0.0, 0.5, -1.0, 2.0))
    yield random_data(pictures[0], Attributes(5, examples=vectors))
    yield random_data(
        pictures[0], Tokens(4, 4, ("", " a", " red", " ring"), "caption", examples=((1, 2, 3, 0), (3, 0, 0, 0)))
    )
