"""The training step: runs the phases of any GAN, and holds the state that checkpoints save."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor, nn

from ganzoo.config.train_settings import TrainSettings
from ganzoo.data.dataset import Batch, Dataset
from ganzoo.data.stream import Stream
from ganzoo.errors import UserError
from ganzoo.gan.networks import Network
from ganzoo.gan.precision import choose_precision, mixed_precision, products
from ganzoo.gan.schedules import Schedule
from ganzoo.gan.trainer import Phase, Trainer
from ganzoo.runs import checkpoint
from ganzoo.training.averaging import Average, average_of
from ganzoo.training.capture import PROBES, Captures, CudaGraphs, Graphs, Logs, refuse_to_capture
from ganzoo.training.engine import SINGLE, Engine
from ganzoo.training.rates import hold_rates, note_rates, set_rates
from ganzoo.training.sharding import divide, own, whole
from ganzoo.training.state import agree, conformed_state, load_optimizers, state_of
from ganzoo.training.trainable import check_phase, freeze_first

__all__ = ["Loop"]


class Loop:
    """A GAN in training: :meth:`advance` runs one step, which runs each phase that is due, as often as it repeats.

    For each run of a phase the loop draws fresh batches, freezes the networks that the phase does not update,
    accumulates gradients, clips them and steps the optimizer. After all phases it updates the averaged networks. It
    holds all state that a checkpoint saves. A trainer that grows does so before the step that it names.

    On CUDA phases are captured as graphs, unless the setting ``capture`` is false or several processes train.
    ``graphs`` makes them, for tests. ``engine`` connects this process with the others; each has its rows of a batch.
    """

    def __init__(
        self,
        trainer: Trainer,
        dataset: Dataset,
        settings: TrainSettings,
        graphs: Callable[[torch.device], Graphs] | None = None,
        engine: Engine = SINGLE,
    ) -> None:
        self.trainer = trainer
        # Before optimizers have state: moments in another layout than their weights would be applied to the wrong ones.
        trainer.to(trainer.device)
        # What "auto" depends on is known here: the device, and what is drawn.
        precision = choose_precision(settings.precision, trainer.device, dataset.spec.sample)
        self.settings = settings.model_copy(update={"precision": precision})
        self.step = self._settled = 0
        self.dataset = dataset
        self.engine = engine
        self.divided = settings.shard and engine.world > 1
        """Whether each process has a part of all weights."""
        self._rows = settings.batch_size // engine.world
        self.stream = Stream(dataset, settings.batch_size, settings.seed, share=engine.share)
        self.phases: list[Phase] = []
        self.ema: dict[str, nn.Module] = {}
        self.logs: dict[str, list[Tensor]] = {}
        self._schedule: Schedule = settings.lr_schedule.make()
        self.lr_scale = 1.0
        """What all learning rates are multiplied by beside the schedule."""
        self.kept: Path | None = None
        """The checkpoint that was last restored or saved."""
        self._clock = torch.zeros(())  # the step, for losses that ask for it
        self._follow()
        self.captures: Captures | None = None
        # A graph would hold the exchange with other processes too, which would have to capture theirs just then.
        if graphs is None and settings.capture and trainer.device.type == "cuda" and engine.world == 1:
            graphs = CudaGraphs
        if graphs is not None:
            roots = {"trainer": trainer, "phases": self.phases, "ema": self.ema}
            device = trainer.device
            self.captures = Captures(roots, graphs(device), device, exact=settings.deterministic)
            self._begin_captures(self.captures)

    def _follow(self) -> None:
        """Take up the trainer's networks, optimizers and phases as they are now."""
        trainer = self.trainer
        self.phases[:] = trainer.phases()
        if any(phase.takes_step for phase in self.phases):
            self._clock = self._clock.to(trainer.device)
        if self.settings.freeze_discriminator:
            freeze_first(trainer, self.settings.freeze_discriminator)
        for name, network in trainer.averaged_networks().items():
            self.ema[name] = average_of(network, self.ema.get(name))
        if self.divided:
            divide(trainer, self.ema, self.engine.world)
        # What the author has frozen for good (an evaluator, a pretrained encoder) must stay frozen when _focus() turns
        # the gradients of its network on again, so the trainable parameters are noted once, before any phase runs.
        self._trainable = {
            name: [parameter for parameter in network.parameters() if parameter.requires_grad]
            for name, network in trainer.networks.items()
        }
        self._focused: tuple[str, ...] | None = None
        self._averages = [Average(average, trainer.networks[name]) for name, average in self.ema.items()]
        self._factor: float | None = None  # of the learning rates that are set
        for phase in self.phases:
            check_phase(phase, trainer, self._trainable)
        note_rates(trainer.optimizers.values())

    def grow(self, step: int) -> bool:
        """Let the trainer grow to what it is in this step; return whether it did."""
        if not self.trainer.is_due(step):
            return False
        self._focus(tuple(self._trainable))  # so that what a phase has frozen does not count as frozen for good
        self.trainer.reach(step)
        self.trainer.to(self._clock.device)
        self._follow()
        if self.captures is not None:
            self._begin_captures(self.captures)
        return True

    def _begin_captures(self, captures: Captures) -> None:
        """Forget all graphs, and keep in tensors what is set from step to step."""
        captures.clear()
        self._factor, self._revision = None, self.trainer.revision
        self._share, self._new_share = 0.0, torch.zeros((), device=self.trainer.device)
        rates = [hold_rates(optimizer, self.trainer.device) for optimizer in self.trainer.optimizers.values()]
        clock = [self._clock] if any(phase.takes_step for phase in self.phases) else []
        captures.rates = [self._new_share, *clock, *(rate for each in rates for rate in each)]

    def advance(self) -> None:
        """Run one training step."""
        self.grow(self.step)
        self._set_learning_rates()
        if any(phase.takes_step for phase in self.phases):
            self._clock.fill_(self.step)
        for phase in self.phases:
            if self.step % phase.every == 0:
                for _ in range(phase.repeat):
                    self.run(phase)
        self.step += 1
        self._average()

    def run(self, phase: Phase) -> None:
        """Run a phase once: draw fresh batches, and update its networks."""
        if self.captures is None:
            self._log(self._update(phase, self._batches()))
            return
        batches = list(self._batches())
        if self.trainer.revision != self._revision:
            self.captures.clear()
            self._revision = self.trainer.revision
        name, update = f"the phase {phase.name!r}", partial(self._update, phase)
        self._log(self.captures.run(phase, name, update, batches, partial(self._ahead, phase)))

    def _batches(self) -> Iterator[Batch]:
        """Yield the prepared batches of one run."""
        for _ in range(self.settings.accumulate):
            batch = next(self.stream)
            with self._whole():
                prepared = self.trainer.prepare(batch)
            yield prepared

    def _whole(self) -> AbstractContextManager[object]:
        return self.engine.whole(self._rows, batch_norm=self.settings.sync_batch_norm)

    def _ahead(self, phase: Phase) -> list[Sequence[Batch]]:
        """Return the batches of the next runs without taking them from the stream, for a capture to be tried on.

        Raises Uncapturable if it is known that the phase cannot be captured.
        """
        refuse_to_capture(self.trainer.networks, self.trainer.optimizers[phase.optimizer])
        parts, position = self.settings.accumulate, self.stream.position
        return [
            [self.trainer.prepare(self.stream.fetch(position + index * parts + part)) for part in range(parts)]
            for index in range(PROBES - 1)
        ]

    def _update(self, phase: Phase, batches: Iterable[Batch]) -> Logs:
        logs = self._differentiate(phase, batches)
        optimizer = self.trainer.optimizers[phase.optimizer]
        # The norm is taken over all networks of the phase together, so that their relative gradients are kept.
        if self.settings.clip_grad is not None:
            parameters = [parameter for name in phase.updates for parameter in self._trainable[name]]
            nn.utils.clip_grad_norm_(parameters, self.settings.clip_grad)
        optimizer.step()
        # None instead of zeros: memory is freed before the next phase, and Adam skips a parameter without a gradient,
        # where a gradient of zero would still move it by its momentum.
        optimizer.zero_grad(set_to_none=True)
        if phase.after is not None:
            phase.after()
        return logs

    def differentiate(self, phase: Phase) -> None:
        """Draw fresh batches for a run of a phase, and leave the mean gradient in the networks that it updates."""
        self._log(self._differentiate(phase, self._batches()))

    def _differentiate(self, phase: Phase, batches: Iterable[Batch]) -> Logs:
        self._focus(phase.updates)
        parts, logs = self.settings.accumulate, Logs()
        for batch in batches:
            # Only the forward pass runs under autocast; torch recommends to run backward() outside of it. bfloat16 has
            # the exponents of float32, so no gradient scaler is needed. Dividing each loss by the number of parts makes
            # the sum of the gradients the mean over all accumulated batches.
            precision, device = self.settings.precision, self.trainer.device
            with products(precision, device), self._whole():
                with mixed_precision(precision, device):
                    results = phase.compute(batch, self._clock)
                    loss = results["loss"] if parts == 1 else results["loss"] / parts
                loss.backward()
            # Detached but not read: .item() in every step would make the CPU wait for the GPU.
            logs += [(f"{phase.name}/{key}", value.detach()) for key, value in results.items()]
        if self.engine.world > 1 and not self.divided:  # FSDP has done so
            parameters = (parameter for name in phase.updates for parameter in self._trainable[name])
            self.engine.reduce([each.grad for each in parameters if each.grad is not None])
        return logs

    def _log(self, logs: Logs) -> None:
        for key, value in logs:
            self.logs.setdefault(key, []).append(value)

    def _average(self) -> None:
        """Take the weights after this step into the averages."""
        share = 1 - self.settings.ema_decay(self.step - 1)
        if self.captures is None:
            for average in self._averages:
                average.update(share)
            return

        def update(batches: Sequence[Batch]) -> Logs:
            for average in self._averages:
                average.update(self._new_share)
            return []

        if share != self._share:
            self._share = share
            self._new_share.fill_(share)
        self.captures.run("averages", "the averaging of weights", update, [], lambda: [[]] * (PROBES - 1))

    def _focus(self, names: tuple[str, ...]) -> None:
        """Make the named networks trainable and freeze the others, unless they are already."""
        # The generator's loss flows through the discriminator. Frozen, its weights get no gradients: that saves the
        # time to compute them, and they cannot leak into the discriminator's next step. Setting the flags takes time
        # too, so nothing is done while the same phase repeats.
        if names != self._focused:
            for name, parameters in self._trainable.items():
                wanted = name in names
                for parameter in parameters:
                    parameter.requires_grad_(wanted)
            self._focused = names

    def rate_factor(self, step: int) -> float:
        """Return what the learning rates are multiplied by in a step; raises UserError if the schedule fails."""
        # Warm-up limits the schedule instead of multiplying it: it never raises the rate above the schedule.
        settings = self.settings
        each = settings.batch_size * settings.accumulate if settings.lr_unit == "images" else 1
        warm_up = (step + 1) * each / max(settings.lr_warmup, 1)
        return min(self._schedule.factor(step * each, settings.steps * each), warm_up)

    def _set_learning_rates(self) -> None:
        factor = self.rate_factor(self.step) * self.lr_scale
        if factor == self._factor:
            return
        self._factor = factor
        set_rates(self.trainer.optimizers.values(), factor)

    def take_logs(self) -> dict[str, float]:
        """Return the means of what the phases logged since the last call."""
        means = {key: torch.stack(values).float().mean().item() for key, values in self.logs.items()}
        self.logs.clear()
        return dict(zip(means, self.engine.mean(list(means.values())), strict=True))

    def exports(self) -> Mapping[str, Network]:
        """Return what can be sampled, with averaged weights."""
        return self.trainer.exports(self.ema)

    def settle(self) -> None:
        """Let the trainer finish the averaged networks as they are after this step, the same in all processes."""
        if self._settled != self.step:
            self.engine.broadcast(buffer for average in self.ema.values() for buffer in average.buffers())
            with whole(self.ema.values()):
                self.trainer.settle(self.ema)
            self._settled = self.step

    def save(self, folder: str | PathLike[str], stale: Collection[Path] = (), best: int | None = None) -> Path:
        """Write a checkpoint into the folder of checkpoints, delete old and ``stale`` ones, and return its path.

        That of the step ``best`` is kept. Of several processes all call it, and the first one writes. Raises
        :class:`~ganzoo.TrainingError` if weights or averages are no longer the same in all of them.
        """
        agree(self.engine, self.trainer, self.ema)
        self.settle()
        self.kept = path = Path(folder) / f"step-{self.step:06d}"
        state = state_of(self.trainer) | {"position": self.stream.position, "batch_size": self.settings.batch_size}
        with self.whole(load=False):
            if self.engine.writes:
                keep = self.settings.keep_checkpoints
                checkpoint.save(Path(folder), self.step, self.trainer.networks, self.ema, state, keep, stale, best)
        return path

    def whole(self, *, load: bool = True) -> AbstractContextManager[None]:
        """Return a context in which all networks have whole weights on the CPU, which are taken over if ``load``."""
        return whole([*self.trainer.networks.values(), *self.ema.values()], torch.device("cpu"), load=load)

    def restore(self, path: str | PathLike[str]) -> None:
        """Go back to exactly where a checkpoint was written; raises :class:`UserError` if it is of another training."""
        path = Path(path)
        step, found = checkpoint.load_state(path)
        # The random state comes last, since loading a plugin's state may itself draw random numbers; step and position
        # are set only when everything else has been loaded.
        try:
            self.grow(step - 1)
            state = conformed_state(found, self.trainer, self.settings.batch_size)
            with self.whole():
                checkpoint.load_networks(path, self.trainer.networks)
                checkpoint.load_networks(path, self.ema, "ema")
            load_optimizers(self.trainer, state["optimizers"])
            if self.captures is not None:
                self._begin_captures(self.captures)
            self._factor = None
            self.trainer.load_state_dict(state["trainer"])
            checkpoint.restore_random_state(state["random"], self.trainer.device)
        except UserError:
            raise
        except Exception as error:  # whatever a plugin's load_state_dict() raises for a file of another training
            reason = " ".join(str(error).split())[:300]
            raise UserError(f"the checkpoint {path} does not fit this model: {reason}") from None
        # Batches of another size are counted on from the sample after the last one that was used.
        self.step, self.kept = step, path
        self.stream.position = -(-state["position"] * state["batch_size"] // self.settings.batch_size)

    def nonfinite(self) -> str:
        """Return the name of a loss or a network that is no longer finite, or nothing."""
        broken = [key for key, values in self.logs.items() if not torch.stack(values).isfinite().all()]
        for name, network in self.trainer.networks.items():
            if not all(own(parameter).isfinite().all() for parameter in network.parameters()):
                broken.append(f"the {name}")
        return broken[0] if broken else ""

    def start_stream(self) -> None:
        """Get the data ready for many steps: on the device if it fits there, read by worker processes if it is lazy."""
        settings = self.settings
        at, device = self.stream.position, self.trainer.device
        batch = (settings.batch_size, settings.seed)
        self.stream = Stream(self.dataset, *batch, at, settings.workers, device, self.engine.share)
