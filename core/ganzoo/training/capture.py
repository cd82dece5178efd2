"""Phases captured as CUDA graphs: everything that a run computes is launched at once, without its Python.

On a GPU the small kernels of a GAN take less time than the Python that launches them. A captured phase is one launch:
loss, backward pass, clipping, optimizer step and whatever follows it, on batches that are copied into fixed tensors.
What a graph cannot hold runs as it did before, and a sentence says why.
"""

import logging
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ganzoo.data.dataset import Batch
from ganzoo.errors import place, sentence
from ganzoo.runs import checkpoint
from ganzoo.training.rates import holds_rate
from ganzoo.training.snapshot import Snapshot
from ganzoo.training.tape import Tape, Uncapturable, Watch

__all__ = ["Captures", "CudaGraphs", "Graphs", "Tapes", "refuse_to_capture"]

log = logging.getLogger("ganzoo")

Logs = list[tuple[str, Tensor]]
"""What a run logs: scalars by name."""

Run = Callable[[Sequence[Batch]], Logs]
"""A run of a phase on its batches."""

PROBES = 3
"""Runs that a graph is compared with, each on other batches."""


class Graphs(Protocol):
    """Makes graphs: on a GPU those of CUDA, elsewhere a stand-in."""

    def apart(self) -> AbstractContextManager[object]:
        """Return the context that captures and what prepares them run in."""

    def record(self, function: Callable[[], object]) -> Callable[[], None]:
        """Return what repeats the kernels of a function."""


class CaptureFailed(Exception):
    """CUDA has ended a capture."""


class CudaGraphs:
    """CUDA graphs that share one pool of memory."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._pool = torch.cuda.graph_pool_handle()
        self._stream = torch.cuda.Stream(device)

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Run what is inside on the stream that is captured, as the default one cannot be."""
        outside = torch.cuda.current_stream(self.device)
        self._stream.wait_stream(outside)
        try:
            with torch.cuda.stream(self._stream):
                yield
        finally:
            outside.wait_stream(self._stream)

    def record(self, function: Callable[[], object]) -> Callable[[], None]:
        """Capture a function; raises CaptureFailed if CUDA does not take it."""
        graph = torch.cuda.CUDAGraph()
        try:
            # thread_local: other threads may read ahead and pin memory meanwhile.
            with torch.cuda.graph(graph, self._pool, self._stream, capture_error_mode="thread_local"):
                function()
        except Exception as error:
            # CUDA's failure to end the capture hides what caused it.
            while error.__context__ is not None:
                error = error.__context__  # type: ignore[assignment]
            self._heal()
            raise CaptureFailed(f"{sentence(error)[:200]}{place(error)}") from error
        return graph.replay

    def _heal(self) -> None:
        # Where a capture is not ended in an orderly way, torch's generator goes on to believe that it is captured, and
        # refuses to draw. Graphs that were captured before draw from the state that is replaced here.
        fresh = torch.Generator(self.device).graphsafe_get_state()
        index = self.device.index if self.device.index is not None else torch.cuda.current_device()
        torch.cuda.default_generators[index].graphsafe_set_state(fresh)


class Tapes:
    """The stand-in for CUDA graphs, for tests and for ``ganzoo check``."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def apart(self) -> AbstractContextManager[object]:
        """Return a context that changes nothing."""
        return nullcontext()

    def record(self, function: Callable[[], object]) -> Callable[[], None]:
        """Return what repeats the operations of a function."""
        return Tape.record(function, self.device)


@dataclass
class _Replay:
    """A captured run: the tensors that it reads batches from, and the one that it writes what is logged to."""

    inputs: list[dict[str, Tensor]]
    launch: Callable[[], None] = lambda: None
    names: tuple[str, ...] = ()
    values: Tensor | None = None

    def capture(self, run: Run, graphs: Graphs) -> None:
        def whole() -> None:
            self.names, self.values = _stacked(run(self.inputs))

        self.launch = graphs.record(whole)

    def fits(self, batches: Sequence[Batch]) -> bool:
        return [_form(batch) for batch in self.inputs] == [_form(batch) for batch in batches]

    def __call__(self, batches: Sequence[Batch]) -> Logs:
        for target, source in zip(self.inputs, batches, strict=True):
            for name, tensor in target.items():
                tensor.copy_(source[name])
        self.launch()
        # Copied, as the next launch writes over it; once, for all values.
        return [] if self.values is None else list(zip(self.names, self.values.clone().unbind(), strict=True))


class Captures:
    """Runs functions of batches: the first time as they are, from the second time on as graphs.

    ``roots`` are the objects that all state of the functions can be reached from. ``refused`` says what is not captured
    and why. With ``exact`` a graph has to give the same to the bit: a resumed training runs a function as it is at a
    step at which the undisturbed one has a graph of it.
    """

    def __init__(
        self, roots: Mapping[str, object], graphs: Graphs, device: torch.device, *, exact: bool = False
    ) -> None:
        self.refused: dict[str, str] = {}
        self.rates: list[Tensor] = []
        """Numbers that are set between the runs, such as learning rates."""
        self._roots, self._graphs, self._device, self._exact = roots, graphs, device, exact
        self._known: dict[Hashable, _Replay | bool] = {}  # True: ran once; False: is not captured
        self._broken = False

    def clear(self) -> None:
        """Forget all graphs; functions are captured anew after their next run."""
        if self._known and self._device.type == "cuda":
            torch.cuda.synchronize(self._device)  # they may be running
        self._known.clear()

    def run(
        self, key: Hashable, name: str, run: Run, batches: Sequence[Batch], ahead: Callable[[], list[Sequence[Batch]]]
    ) -> Logs:
        """Run a function, known by ``key`` and called ``name`` in messages, on prepared batches.

        ``ahead`` returns the batches of :data:`PROBES` - 1 later runs, which a graph is tried on; it raises
        Uncapturable if that is known already.
        """
        known = None if self._broken else self._known.get(key)
        if known is None:
            # Some state appears in the first run, such as the moments of an optimizer; a graph needs it to be there.
            self._known[key] = True
        elif known is True:
            known = self._known[key] = self._captured(name, run, batches, ahead)
        if isinstance(known, _Replay) and known.fits(batches):
            return known(batches)
        return run(batches)

    def _refuse(self, name: str, reason: str) -> bool:
        """Note and say once why something is not captured; return False."""
        if name not in self.refused and self._device.type == "cuda":
            log.warning("%s runs without a CUDA graph: it %s", name, reason)
        self.refused[name] = reason
        return False

    def _captured(
        self, name: str, run: Run, batches: Sequence[Batch], ahead: Callable[[], list[Sequence[Batch]]]
    ) -> _Replay | bool:
        """Return the captured function, once it has done the same as the function; training is as it was before."""
        with self._graphs.apart():
            state = Snapshot({**self._roots, "rates": self.rates})
            try:
                tries = [[_copied(batch) for batch in each] for each in (batches, *ahead())]
                state.restore()  # preparing batches is free to change what it likes
                return self._compared(state, run, tries)
            except CaptureFailed as error:
                self.clear()
                self._broken = True
                return self._refuse(name, f"cannot be captured, nor is anything from now on: {error}")
            except Uncapturable as error:
                return self._refuse(name, f"{error}{place(error)}")
            except Exception as error:  # whatever a run raises; if it is no matter of capturing, it is raised again
                return self._refuse(name, f"cannot be captured: {sentence(error)[:200]}{place(error)}")
            finally:
                state.restore()

    def _compared(self, state: Snapshot, run: Run, tries: list[list[dict[str, Tensor]]]) -> _Replay:
        self._eager(state, run, tries[0], Watch(self._device))
        state.restore()
        eager = partial(self._eager, state, run)
        # Twice: kernels that add up in any order make two runs differ, and a graph may differ from either as much.
        self._try(eager, tries)
        first = state.read()
        moved, size = state.distances(first, state.copies), state.distances(first)
        state.restore()
        self._try(eager, tries)
        noise = state.distances(first, state.tensors)
        state.restore()
        replay = _Replay([_copied(batch) for batch in tries[0]])
        replay.capture(run, self._graphs)
        if changed := state.changed():
            raise Uncapturable(f"changes its state: {changed}")
        state.restore()
        self._try(replay, tries)
        for group, difference in state.distances(first, state.tensors).items():
            # 2% of what the runs move the group, or three times the noise: a graph that reads an old batch, or a frozen
            # learning rate, is off by many times that. Weights are not compared one by one, since Adam turns the
            # rounding error of a gradient of zero into a whole step.
            allowed = 0.0 if self._exact else 0.02 * moved[group] + 3 * noise[group] + 1e-5 * size[group]
            if not bool(difference <= allowed):
                raise Uncapturable(f"gives something else when it is repeated: {group} differs")
        return replay

    def _eager(
        self,
        state: Snapshot,
        run: Run,
        batches: Sequence[Batch],
        context: AbstractContextManager[object] = nullcontext(),
    ) -> Logs:
        """Run a function; raise Uncapturable if it changes Python state or draws on the host."""
        before = self._drawn()
        with context:
            logs = run(batches)
        if changed := state.changed():
            raise Uncapturable(f"changes its state: {changed}")
        if self._drawn() != before:
            raise Uncapturable("draws random numbers on the host; draw on the device, from torch's default generator")
        _stacked(logs)
        return logs

    def _try(self, run: Run, tries: list[list[dict[str, Tensor]]]) -> None:
        """Run a function on different batches, each time at half the learning rate."""
        for index, batches in enumerate(tries):
            if index:
                for rate in self.rates:
                    rate.mul_(0.5)
            run(batches)

    def _drawn(self) -> str:
        """Return what tells whether random numbers are drawn on the host."""
        random = checkpoint.random_state()
        kinds = ("numpy", "python", *(() if self._device.type == "cpu" else ("torch",)))
        return str([[each.tolist() if isinstance(each, Tensor) else each for each in random[kind]] for kind in kinds])


def refuse_to_capture(networks: Mapping[str, nn.Module], optimizer: Optimizer) -> None:
    """Raise Uncapturable if a phase with these networks and this optimizer has what a graph would leave out."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    for name, network in networks.items():
        if any(getattr(module, each) for module in network.modules() for each in hooks):
            raise Uncapturable(f"has hooks on {name!r}, which a graph would not call")
    if optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks:
        raise Uncapturable("has hooks on its optimizer, which a graph would not call")
    if not all(holds_rate(group) for group in optimizer.param_groups):
        raise Uncapturable(f"has an optimizer, {type(optimizer).__name__}, that has its learning rate in Python")


def _stacked(logs: Logs) -> tuple[tuple[str, ...], Tensor | None]:
    """Return the names of what was logged, and the values in one tensor."""
    values = [value.detach().float().reshape(()) for _, value in logs]
    return tuple(name for name, _ in logs), torch.stack(values) if values else None


def _copied(batch: Batch) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in batch.items()}


def _form(batch: Batch) -> dict[str, tuple[torch.Size, torch.dtype, torch.device]]:
    return {name: (tensor.shape, tensor.dtype, tensor.device) for name, tensor in batch.items()}
