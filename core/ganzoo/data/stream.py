"""The infinite, seeded, resumable stream of batches that training draws from a data set."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ganzoo.data.dataset import Batch, Dataset
from ganzoo.data.placement import Copies, Started, placed
from ganzoo.data.shares import Draws, Share
from ganzoo.errors import UserError
from ganzoo_runtime.text import counted

__all__ = ["Stream"]


class Stream(Iterator[Batch]):
    """Endless batches of a data set in an order that depends on the seed alone.

    Each epoch is a new permutation, as :meth:`Dataset.order` draws it. The permutations are joined and then cut into
    batches, so no sample is dropped, and a data set may be smaller than a batch. ``position`` counts the batches that
    were returned, and is the only state: batch ``k`` is the same whether the stream starts at 0 or at ``k``, with or
    without workers, and on every device.

    On a CUDA ``device`` the batches are there already: gathered there if the data set has ``rows`` that fit, otherwise
    copied, each while the one before is in use. Elsewhere they are on the CPU.

    With a ``share`` they are the rows that one of several processes has of each batch, as one process alone reads them.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        seed: int,
        position: int = 0,
        workers: int = 0,
        device: torch.device | None = None,
        share: Share = Share(),
    ) -> None:
        if len(dataset) < 1 or batch_size < 1:
            raise UserError(f"cannot draw batches of {batch_size} from {counted(len(dataset), 'sample')}")
        self.dataset = dataset
        self.batch_size = batch_size
        self.seed = seed
        self.position = position
        self.share = share
        self._epoch = -1
        self._permutation = torch.empty(0, dtype=torch.int64)
        device = torch.device("cpu") if device is None else device
        self._rows = placed(dataset.rows if dataset.in_memory else None, device)
        self._copies = Copies(device) if device.type == "cuda" and self._rows is None else None
        self._ahead: tuple[int, Started] | None = None
        self._loader: Iterator[Batch | UserError] | None = None
        if workers and not dataset.in_memory:
            loader: DataLoader[Batch | UserError] = DataLoader(
                _Fetch(self),  # type: ignore[arg-type]
                sampler=_CountFrom(position),
                batch_size=None,
                num_workers=workers,
                persistent_workers=True,
                worker_init_fn=_leave_signals_to_the_parent,
                # A generator of its own: the loader would draw a seed from the global one, and a run with workers would
                # then use other latents than one without, and a resumed one others than before.
                generator=torch.Generator().manual_seed(seed),
            )
            # A new worker inherits blocked signals: it cannot be killed before it has set its own handlers.
            with _signals_held():
                self._loader = iter(loader)

    def __next__(self) -> Batch:
        if self._copies is None:
            batch = self._read(self.position)
        else:
            # The copy of the next batch starts before this one is returned. It is not counted: whoever saves the
            # position now and goes on from there gets that batch.
            found, self._ahead = self._ahead, None
            if found is None or found[0] != self.position:
                found = self.position, self._copies.start(self._read(self.position))
            self._ahead = found[0] + 1, self._copies.start(self._read(found[0] + 1))
            batch = self._copies.finish(found[1])
        self.position += 1
        return batch

    def _read(self, position: int) -> Batch:
        batch = next(self._loader) if self._loader is not None else self.fetch(position)
        if isinstance(batch, UserError):
            raise batch
        return batch

    def fetch(self, position: int) -> Batch:
        """Return batch number ``position``, without moving the stream."""
        if self._rows is not None:
            indices = self._indices(position)
            return {name: tensor.index_select(0, indices) for name, tensor in self._rows.items()}
        # Seeded by the position, so that augmentation does not depend on which worker makes the batch, nor on whether
        # earlier batches were made in this process.
        rng = torch.Generator().manual_seed(_mix(self.seed, position, 1))
        indices = self._indices(position)
        with nullcontext() if self.share.world == 1 else Draws(self.share, len(indices)):
            return self.dataset.batch(indices, rng)

    def _indices(self, position: int) -> Tensor:
        size, wanted, start = len(self.dataset), self.batch_size, position * self.batch_size
        parts = []
        while wanted:
            epoch, offset = divmod(start, size)
            # Kept for the whole epoch: a permutation of a million samples for every batch would take longer than it.
            if epoch != self._epoch:
                rng = torch.Generator().manual_seed(_mix(self.seed, epoch, 0))
                self._permutation, self._epoch = self.dataset.order(rng), epoch
                if len(self._permutation) != size:
                    raise UserError(
                        f"{type(self.dataset).__name__}.order() gives {len(self._permutation):,} of {size:,} samples"
                    )
                # Drawn on the CPU, the order is the same on every device; there, its batches need no more copies.
                if self._rows is not None:
                    self._permutation = self._permutation.to(next(iter(self._rows.values())).device)
            parts.append(self._permutation[offset : offset + wanted])
            start, wanted = start + len(parts[-1]), wanted - len(parts[-1])
        return self.share.of(parts[0] if len(parts) == 1 else torch.cat(parts))


class _Fetch:
    """A map from batch numbers to batches, for the loader's workers."""

    def __init__(self, stream: Stream) -> None:
        self.stream = Stream(stream.dataset, stream.batch_size, stream.seed, share=stream.share)

    def __getitem__(self, position: int) -> Batch | UserError:
        try:
            return self.stream.fetch(position)
        except UserError as error:
            # Returned instead of raised: the loader would replace its one clear sentence by the worker's traceback.
            return error


@contextmanager
def _signals_held() -> Iterator[None]:
    """Block the signals that end a training while workers start, until they have set their own handlers."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _leave_signals_to_the_parent(worker: int) -> None:
    """Keep a data worker alive when a terminal or a scheduler sends a signal to every process of a training.

    The parent needs the data to finish its step, and ends its workers itself: by a message or, if that takes too long,
    by a SIGTERM. Only a SIGTERM from the parent is obeyed. If the parent was killed, torch ends the worker within
    seconds.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if not hasattr(signal, "sigwaitinfo") or parent is None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        return

    def wait() -> None:
        while signal.sigwaitinfo((signal.SIGTERM,)).si_pid != parent.pid:
            pass
        os._exit(0)

    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM,))
    threading.Thread(target=wait, daemon=True).start()


class _CountFrom:
    """The integers from ``start`` on, without an end."""

    def __init__(self, start: int) -> None:
        self.start = start

    def __iter__(self) -> Iterator[int]:
        position = self.start
        while True:
            yield position
            position += 1


def _mix(seed: int, number: int, purpose: int) -> int:
    """Return a 63-bit seed that differs for every (seed, number, purpose); SplitMix64's finalizer."""
    # A sum such as seed + number would give seed 0 at position 1 the random numbers of seed 1 at position 0.
    value = (seed * 0x9E3779B97F4A7C15 + number * 0xBF58476D1CE4E5B9 + purpose * 0x94D049BB133111EB + 1) % 2**64
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        value = (value ^ (value >> shift)) * factor % 2**64
    return (value ^ (value >> 31)) >> 1
