"""What a training draws and measures of its networks: grids of samples, metrics, curves, the animation."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from torch import Tensor

from ganzoo.data.dataset import Dataset
from ganzoo.fields import Image
from ganzoo.gan.metrics import Metric
from ganzoo.gan.networks import Network
from ganzoo.images import animation, grids, plots
from ganzoo.inference.outputs import EXAMPLES, compute_outputs, draw_outputs
from ganzoo.inference.reals import save_reals
from ganzoo.inference.sampling import BATCH, TorchSampler, draw_inputs, run_batched
from ganzoo.runs.run import Run
from ganzoo.training.followers import Followers
from ganzoo.training.loop import Loop
from ganzoo.training.sharding import whole
from ganzoo.training.watch import Watch
from ganzoo_runtime.marking import COMPOSITE, provenance

__all__ = ["SampleLogger"]

log = logging.getLogger("ganzoo")


class SampleLogger:
    """Draws sample grids from fixed latents, the loss curves and the animation, and computes metrics on samples."""

    def __init__(
        self, run: Run, loop: Loop, dataset: Dataset, metrics: Mapping[str, Metric], followers: Followers
    ) -> None:
        self.run, self.loop, self.metrics, self.followers = run, loop, metrics, followers
        self.writes = loop.engine.writes
        self.warned: set[str] = set()
        self.signature = next(iter(loop.exports().values())).signature
        name = str(run.document().get("plugin", "")).rpartition("/")[2]
        about = {"model": {"key": name}, "data": {"name": dataset.spec.name}}
        self.claims = provenance(about, loop.settings.seed)
        for metric in metrics.values():
            metric.check(self.signature)
        self.watch = Watch(loop, self.signature, [row for row in run.metrics() if row["step"] <= loop.step], self._note)
        self.drawable = self.signature.drawn
        self.drawn: set[Path] = set()
        self.real: NDArray[Any] | None = None
        field, sample = self.signature.output, dataset.spec.sample
        if self.drawable and field.kind == sample.kind and not isinstance(field, Image):  # what a grid has no place for
            real = dataset.examples(field.shown)[sample.name]
            self.real = loop.trainer.scaled(sample).encode(real).numpy()

    @property
    def grid(self) -> Path:
        """The file of the first network's samples after this step."""
        return self.run.samples / f"{self.loop.step:06d}.png"

    def draw(self) -> dict[str, float]:
        """Draw grids and return the metrics of as many samples as each asks for.

        Real samples are drawn beside the first grid of samples that were learned: at the start nobody waits for them.
        Of several processes all call it, and each computes some of the samples; the rest is done by the first, which
        alone has metrics.
        """
        self.loop.settle()
        reals = self.run.path / "reals.png"
        if self.writes and self.loop.step and not reals.is_file():
            save_reals(reals, self.loop.dataset)
        with whole(self.loop.ema.values()):
            networks = self.loop.exports()
            figures = self._draw_samples(next(iter(networks.values()))) if self.drawable else {}
            for name, network in networks.items():
                if not network.signature.drawn:
                    figures |= self._draw_outputs(name, network, networks.values())
        if figures:
            for sentence in (each for metric in self.metrics.values() for each in metric.warnings()):
                if sentence not in self.warned:
                    log.warning("%s", sentence)
                    self._note(sentence)
                    self.warned.add(sentence)
        return figures

    def _draw_samples(self, network: Network) -> dict[str, float]:
        field, seed = self.signature.output, self.loop.settings.seed
        count = grids.grid_size(self.signature)
        # One draw serves the grid and all metrics: each takes its first samples. The seed is fixed, so that the grids
        # of different steps show the same latents.
        inputs = draw_inputs(self.signature, max(count, self._wanted(self.metrics)), seed)
        samples = self._compute(network, inputs, 256)
        if not self.writes:
            return {}
        columns = grids.grid_columns(self.signature)
        names = grids.column_names(self.signature)
        grids.save_grid(self.grid, samples[:count].numpy(), field, self.real, columns, names=names, claims=self.claims)
        self._notify(self.grid)
        figures = self.watch.look(samples, inputs)
        means = {name: mean.cpu().numpy() for name, mean in network.means.items()}
        sampler = TorchSampler(network, {"signature": self.signature.to_json(), "latent_mean": means})
        for key, metric in self.metrics.items():
            shown = samples[: metric.config.samples]
            condition = {
                field.name: part[: len(shown)]
                for field, part in zip(self.signature.inputs, inputs, strict=True)
                if field in self.signature.conditions
            }
            found = metric(field.decode(shown), condition) | metric.probe(sampler, seed)
            figures |= {f"{key}/{name}": value for name, value in found.items()}
        return figures

    def _draw_outputs(self, name: str, network: Network, others: Iterable[Network]) -> dict[str, float]:
        """Draw a grid of a network's outputs for the data's images, and return the metrics of them.

        The file of the first network that a model exports has the step for a name, others also that of the network.
        """
        loop, field = self.loop, network.signature.output
        first = network.signature is self.signature
        path = self.grid if first else self.grid.with_stem(f"{self.grid.stem}-{name}")
        metrics = {} if self.drawable or not isinstance(field, Image) else self.metrics
        wanted = self._wanted(metrics)
        if not (self.writes or wanted):
            return {}
        prepared = loop.trainer.prepare(loop.dataset.examples(max(EXAMPLES, wanted)))
        if self.writes:
            few = {key: part[:EXAMPLES] for key, part in prepared.items()}
            claims = self.claims | {"source_type": COMPOSITE}  # the data's images are shown beside
            draw_outputs(path, network, others, loop.dataset, few, loop.settings.seed, claims)
            self._notify(path)
        figures: dict[str, float] = {}
        if wanted:
            samples, inputs = compute_outputs(network, prepared, loop.settings.seed, self._compute)
            condition = {each.name: each.decode(inputs[each.name]) for each in network.signature.inputs}
            for key, metric in metrics.items():
                count = metric.config.samples
                part = {each: values[:count] for each, values in condition.items()}
                found = metric(field.decode(samples[:count]), part)
                figures |= {f"{key}/{figure}" if first else f"{key}/{name}/{figure}": v for figure, v in found.items()}
        return figures

    def _wanted(self, metrics: Mapping[str, Metric]) -> int:
        """Return how many samples metrics ask for, which the first process knows and all have to."""
        return self.loop.engine.largest(max((metric.config.samples for metric in metrics.values()), default=0))

    def _compute(self, network: Network, inputs: Sequence[Tensor], batch_size: int = BATCH) -> Tensor:
        """Apply the network to inputs, of which each process takes some batches; the first one has the whole."""

        def part(rows: slice) -> Tensor:
            return run_batched(network, [each[rows] for each in inputs], batch_size)

        return self.loop.engine.computed(len(inputs[0]), batch_size, part)

    def _note(self, sentence: str) -> None:
        self.run.note(self.loop.step, "warning", sentence)

    def _notify(self, path: Path) -> None:
        self.drawn.add(path)
        self.followers.notify("ganzoo_samples", run=self.run.path, step=self.loop.step, path=path)

    def finish(self) -> None:
        """Draw the curves, and join the grids to an animation."""
        plots.save_curves(self.run.path / "losses.png", self.run.metrics())
        animation.save_progress(self.run.path / "progress.gif", self.run.grids())
