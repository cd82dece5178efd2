"""How several processes compute one training: a few verbs, for one process alone and on torch.distributed.

Each process holds all networks, computes its rows of each global batch, and averages the gradients of a phase with the
others in one operation. So weights, optimizers and averages stay equal everywhere, and the first process alone writes.
A launcher (``torchrun``, Slurm's ``srun``, ``ganzoo train --processes``) starts the processes and says in environment
variables which is which.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributed.rendezvous import rendezvous
from typing_extensions import override

from ganzoo.data.shares import Share
from ganzoo.errors import EndedElsewhere, GanzooError, TrainingError, UserError, sentence
from ganzoo.gan.whole_batch import WholeBatch

__all__ = ["SINGLE", "TIMEOUT", "Engine", "Place", "Processes", "connected", "found_place", "patience"]

TIMEOUT = "GANZOO_TIMEOUT"
"""The environment variable that says for how many seconds processes wait for each other; half an hour if left out."""

_GRACE = 5.0
"""Seconds in which processes that have waited in vain learn of each other."""


class Engine:
    """One process alone: nothing is exchanged."""

    share = Share()
    local_rank = 0
    """The number of this process among those of its machine, which is that of its GPU."""

    @property
    def world(self) -> int:
        """How many processes there are."""
        return self.share.world

    @property
    def writes(self) -> bool:
        """Whether this process writes the run folder and computes metrics: the first one."""
        return self.share.rank == 0

    def whole(self, rows: int, *, batch_norm: bool = True) -> AbstractContextManager[object]:
        """Return the context in which a phase computes what belongs to its ``rows`` rows of the global batch."""
        return nullcontext()

    def watched(self) -> AbstractContextManager[object]:
        """Return the context in which a process that is gone or hangs ends in a sentence that names it."""
        return nullcontext()

    def reduce(self, gradients: Sequence[Tensor]) -> None:
        """Replace gradients by their mean over all processes."""

    def mean(self, values: Sequence[float]) -> list[float]:
        """Return the mean of each number over all processes."""
        return list(values)

    def largest(self, value: int) -> int:
        """Return the largest of the numbers that the processes have; what they all know from then on."""
        return value

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Give all processes the tensors of the first one."""

    def compare(self, tensors: Iterable[Tensor], what: str) -> None:
        """Raise :class:`~ganzoo.TrainingError` if the tensors are not the same to the bit in all processes."""

    def decide(self, make: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
        """Return what the first process makes, as JSON has it; all end if it raises something there."""
        return make()

    def computed(self, rows: int, batch: int, compute: Callable[[slice], Tensor]) -> Tensor:
        """Return what is computed for so many rows, on the CPU; each process computes some of the batches of them.

        The first process returns all, the others what they have computed.
        """
        return compute(slice(0, rows))


SINGLE = Engine()


class Place(NamedTuple):
    """What a launcher says: which process this is, of how many, and whether others that went before have died."""

    rank: int
    world: int
    local_rank: int
    launch: str
    restarted: bool


class Processes(Engine):
    """One of several processes, connected by torch.distributed: gloo between CPUs, NCCL between GPUs."""

    def __init__(self, place: Place, store: Any, timeout: float) -> None:
        self.share, self.local_rank = Share(place.rank, place.world), place.local_rank
        self._store, self._timeout = store, timeout
        self._decisions = 0

    @override
    def whole(self, rows: int, *, batch_norm: bool = True) -> AbstractContextManager[object]:
        return WholeBatch(self.share, rows, batch_norm=batch_norm)

    @override
    def reduce(self, gradients: Sequence[Tensor]) -> None:
        # All in one operation: its latency is paid once, and it starts when the local accumulation is over.
        for part in _by_type(gradients):
            flat = torch.cat([each.reshape(-1) for each in part])
            torch.distributed.all_reduce(flat)
            flat /= self.world
            pieces = flat.split([each.numel() for each in part])
            torch._foreach_copy_(part, [piece.view(each.shape) for piece, each in zip(pieces, part, strict=True)])

    @override
    def mean(self, values: Sequence[float]) -> list[float]:
        total = torch.tensor(values, dtype=torch.float64)
        torch.distributed.all_reduce(total)
        return (total / self.world).tolist()

    @override
    def largest(self, value: int) -> int:
        # On the CPU, by gloo: no GPU is waited for.
        found = torch.tensor([value])
        torch.distributed.all_reduce(found, torch.distributed.ReduceOp.MAX)
        return int(found)

    @override
    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        for part in _by_type(tensors):
            flat = torch.cat([each.detach().reshape(-1) for each in part])
            torch.distributed.broadcast(flat, 0)
            for piece, each in zip(flat.split([each.numel() for each in part]), part, strict=True):
                each.detach().copy_(piece.view(each.shape))

    @override
    def compare(self, tensors: Iterable[Tensor], what: str) -> None:
        found = hashlib.sha256()
        for each in tensors:
            found.update(each.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
        digest = torch.frombuffer(bytearray(found.digest()), dtype=torch.uint8)
        all_of_them = [torch.empty_like(digest) for _ in range(self.world)]
        torch.distributed.all_gather(all_of_them, digest)
        if others := [rank for rank, each in enumerate(all_of_them) if not each.equal(all_of_them[0])]:
            error = TrainingError(
                f"{what} of {_processes(others)} differ from those of process 0, so that this is no longer one "
                "training; use machines and versions of torch that are the same everywhere"
            )
            error.said = not self.writes
            raise error

    @override
    def decide(self, make: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
        key, self._decisions = f"ganzoo/decided/{self._decisions}", self._decisions + 1
        if not self.writes:
            with self.watched():
                found: Mapping[str, Any] = json.loads(self._store.get(key))
            if "ended" in found:
                raise EndedElsewhere("process 0 has ended this training", found["ended"], said=True)
            return found
        try:
            made = make()
        except BaseException as error:
            code = error.exit_code if isinstance(error, GanzooError) else 1
            self._store.set(key, json.dumps({"ended": code}))
            raise
        self._store.set(key, json.dumps(made))
        return made

    @override
    def computed(self, rows: int, batch: int, compute: Callable[[slice], Tensor]) -> Tensor:
        # Whole batches, since numbers can differ in their last digit where those of a batch are others.
        size = -(-rows // (batch * self.world)) * batch
        parts = [slice(start, min(start + size, rows)) for start in range(0, rows, size)]
        if self.share.rank >= len(parts):
            return torch.empty(0)
        own = compute(parts[self.share.rank])
        if not self.writes:
            torch.distributed.send(own.contiguous(), 0)
            return own
        whole = own.new_empty((rows, *own.shape[1:]))
        whole[parts[0]] = own
        for rank, part in enumerate(parts[1:], 1):
            torch.distributed.recv(whole[part], rank)
        return whole

    @override
    @contextmanager
    def watched(self) -> Iterator[None]:
        try:
            yield
            return
        except Exception as error:
            if isinstance(error, EndedElsewhere) or not _of_the_network(error):
                self._tell(error)
                raise
            reason = str(error)
        # Out here, since the error's frames hold the tensors of the step.
        raise self._explained(reason)

    def _tell(self, error: Exception) -> None:
        """Let the others say why this process ends."""
        code = error.exit_code if isinstance(error, GanzooError) else 1
        self._store.set("ganzoo/ended", json.dumps({"rank": self.share.rank, "why": sentence(error), "code": code}))

    def _explained(self, reason: str) -> GanzooError:
        """Say who is missing: a process that does not come to where all others have waited."""
        key = f"ganzoo/waiting/{self.share.rank}"
        try:
            if self._store.check(["ganzoo/ended"]):
                found = json.loads(self._store.get("ganzoo/ended"))
                why = f"process {found['rank']} has ended this training: {found['why']}"
                return EndedElsewhere(why, found["code"], said=True)
            self._store.set(key, "1")
            if "timed out" not in reason.lower() and "timeout" not in reason.lower():
                return EndedElsewhere("another process of this training has died", 1, said=self.share.rank > 1)
            missing, end = list(range(self.world)), time.monotonic() + _GRACE
            while missing and time.monotonic() < end:
                missing = [rank for rank in missing if not self._store.check([f"ganzoo/waiting/{rank}"])]
                time.sleep(0.1)
        except RuntimeError:  # the store is gone, with the machine that held it
            return EndedElsewhere("the connection to the first process of this training is lost", 1, said=False)
        who = f"{_processes(missing)} of {self.world}" if missing else "some process"
        error = TrainingError(
            f"{who} did not answer for {self._timeout:g} s, so all have ended; look at what it does (a full disk, a "
            f"stuck file system, metrics that take longer), or set {TIMEOUT} to more seconds"
        )
        error.said = any(rank not in missing for rank in range(self.share.rank))
        return error


def found_place() -> Place | None:
    """Return what a launcher says in the environment, or None for a process alone; UserError for what is no number.

    Read are the variables of torchrun (``RANK``, ``WORLD_SIZE`` ...), and those of Slurm's ``srun``.
    """
    environment = os.environ
    if "RANK" in environment and "WORLD_SIZE" in environment:
        launch = environment.get("TORCHELASTIC_RUN_ID", "none")
        if launch == "none":  # torchrun's, if none is given: the processes of one launch have one parent
            launch = f"parent-{os.getppid()}"
        restarts = _number("TORCHELASTIC_RESTART_COUNT", 0)
        place = Place(_number("RANK"), _number("WORLD_SIZE"), _number("LOCAL_RANK", 0), launch, restarts > 0)
    elif "SLURM_PROCID" in environment and "SLURM_STEP_NUM_TASKS" in environment:
        # Of the step, which srun starts; in the batch script itself SLURM_NTASKS is that of the job, and no one else.
        job = _number("SLURM_JOB_ID", 0)
        restarted = _number("SLURM_RESTART_COUNT", 0) > 0
        world, local = _number("SLURM_STEP_NUM_TASKS"), _number("SLURM_LOCALID", 0)
        place = Place(_number("SLURM_PROCID"), world, local, f"slurm-{job}", restarted)
        environment.setdefault("MASTER_ADDR", _first_host(environment.get("SLURM_STEP_NODELIST", "localhost")))
        environment.setdefault("MASTER_PORT", str(20_000 + job % 20_000))
    else:
        return None
    if not 0 <= place.rank < place.world:
        raise UserError(f"the environment says that this is process {place.rank} of {place.world}: count from 0")
    return place


def patience() -> float:
    """Return for how many seconds processes wait for each other; raises UserError for what is no such number."""
    text = os.environ.get(TIMEOUT, "1800")
    try:
        seconds = timedelta(seconds=float(text)).total_seconds()
        if seconds <= 0:
            raise ValueError
    except (ValueError, OverflowError):
        raise UserError(f"{TIMEOUT} is a number of seconds above 0, not {text!r}") from None
    return seconds


@contextmanager
def connected() -> Iterator[tuple[Engine, Place | None]]:
    """Connect this process with the others that the environment speaks of; yields the engine and what was found.

    Where torch.distributed is initialized already, as inside of Ray Train, that is used.
    """
    place, distributed = found_place(), torch.distributed
    if place is None or place.world == 1:
        yield SINGLE, place
        return
    timeout = patience()
    wait = timedelta(seconds=timeout)
    if distributed.is_initialized():
        yield Processes(place, distributed.distributed_c10d._get_default_store(), timeout), place
        return
    try:
        store, _, _ = next(iter(rendezvous("env://", place.rank, place.world, timeout=wait)))
        store.set_timeout(wait)
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and distributed.is_nccl_available() else "gloo"
        distributed.init_process_group(backend, store=store, rank=place.rank, world_size=place.world, timeout=wait)
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"process {place.rank} of {place.world} finds no connection to the others ({sentence(error)[:200]}); start "
            "with torchrun, srun or ganzoo train --processes, which say where they are"
        ) from None
    try:
        yield Processes(place, store, timeout), place
    finally:
        distributed.destroy_process_group()


def _by_type(tensors: Iterable[Tensor]) -> list[list[Tensor]]:
    """Return tensors that can be joined: of one type, on one device."""
    parts: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for each in tensors:
        if each.numel():
            parts.setdefault((each.dtype, each.device), []).append(each)
    return list(parts.values())


def _of_the_network(error: Exception) -> bool:
    known = isinstance(error, torch.distributed.DistError)
    return known or (isinstance(error, RuntimeError) and re.search(r"gloo[/:\s]|NCCL", str(error)) is not None)


def _processes(ranks: Sequence[int]) -> str:
    return f"process{'es' if len(ranks) > 1 else ''} {', '.join(map(str, ranks))}"


def _number(name: str, default: int | None = None) -> int:
    text = os.environ.get(name, "" if default is None else str(default))
    try:
        return int(text)
    except ValueError:
        raise UserError(f"the environment variable {name} is the number of a launcher, not {text!r}") from None


def _first_host(nodes: str) -> str:
    """Return the first host of a Slurm list, such as ``gpu[03-07,11],login``."""
    found = re.match(r"([^,\[]+)(?:\[([^,\-\]]+)[^\]]*\]([^,]*))?", nodes)
    return "".join(part or "" for part in found.groups()) if found else nodes
