"""Where training data lies, and how batches get from the CPU to a CUDA device."""

from collections import deque
from pathlib import Path

import torch

from ganzoo.data.dataset import Batch

__all__ = ["Copies", "fits", "free_memory", "placed", "size"]

SHARE = 4
"""Data takes at most one part in so many of a device's free memory; activations need the rest."""

LEAD = 4
"""Batches whose work may be queued on the device before the host waits; more would only fill its memory."""


def size(tensors: Batch) -> int:
    """Return the bytes of the tensors."""
    return sum(tensor.nbytes for tensor in tensors.values())


def free_memory(device: torch.device) -> int | None:
    """Return the bytes that are free on the device, or None where the system does not say."""
    if device.type == "cuda":
        # What torch keeps for itself after something was deleted is free too.
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + kept
    if device.type == "cpu":
        try:
            lines = Path("/proc/meminfo").read_text().splitlines()
        except OSError:  # not Linux
            return None
        return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)
    return None


def fits(bytes_: int, free: int | None) -> bool:
    """Return whether data of so many bytes may lie on a device that has ``free`` bytes, beside the training itself."""
    return free is not None and bytes_ * SHARE <= free


def placed(rows: Batch | None, device: torch.device) -> Batch | None:
    """Return a data set's rows where batches are gathered from them, or None if the data set makes its batches itself.

    On a CUDA device the rows lie there if they fit; on the CPU and elsewhere they stay where they are.
    """
    if rows is None or device.type != "cuda":
        return rows
    if not fits(size(rows), free_memory(device)):
        return None
    return {name: tensor.to(device) for name, tensor in rows.items()}


Started = tuple[Batch, "torch.cuda.Event"]
"""A batch on its way to the device, and the event after which it has arrived."""


class Copies:
    """Copies batches to a CUDA device while it computes.

    Copying from memory that the system may swap out makes the host wait for all work that is queued. So a batch is put
    into pinned memory first, and copied on a stream of its own.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream = torch.cuda.Stream(device)
        self._given: deque[torch.cuda.Event] = deque()

    def start(self, batch: Batch) -> Started:
        """Start to copy a batch that is on the CPU; the host does not wait for it."""
        with torch.cuda.stream(self.stream):
            # torch's allocator does not give the pinned memory to anyone else before its copy has ended.
            copied = {name: tensor.pin_memory().to(self.device, non_blocking=True) for name, tensor in batch.items()}
            return copied, self.stream.record_event()

    def finish(self, started: Started) -> Batch:
        """Return the batch for use on the current stream, which waits for the copy; the host does not."""
        batch, arrived = started
        current = torch.cuda.current_stream(self.device)
        # Every batch that waits on the device takes its memory, and replayed graphs are queued by the hundred.
        self._given.append(current.record_event())
        if len(self._given) > LEAD:
            self._given.popleft().synchronize()
        current.wait_event(arrived)
        for tensor in batch.values():
            # Its memory belongs to the copying stream, which may not use it again before this stream is done with it.
            tensor.record_stream(current)
        return batch
