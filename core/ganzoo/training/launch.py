"""Starting several processes of a command on this machine, as ``torchrun --standalone`` does."""

import logging
import os
import sys
import uuid
from collections.abc import Sequence

from ganzoo.errors import EndedElsewhere, Interrupted, UserError

__all__ = ["launch"]

_LEAST = 2**29
"""Bytes that a process takes at the least, with torch imported and no networks yet."""


def launch(processes: int, command: Sequence[str]) -> None:
    """Run ``python -m ganzoo`` with these arguments, but ``--processes``, in so many processes that know of each other.

    Raises a :class:`~ganzoo.GanzooError` with the exit code of the process that failed first, which has said why, and
    :class:`~ganzoo.UserError` for more processes than there is memory for: starting them would take the machine down.
    """
    import torch
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    from ganzoo.data.placement import free_memory

    free = free_memory(torch.device("cpu"))
    if free is not None and processes * _LEAST > free:
        raise UserError(
            f"--processes {processes:,}: they would take {processes * _LEAST / 1e9:,.1f} GB at the least, of which "
            f"{free / 1e9:,.1f} are free; take one for each GPU, or for each core"
        )
    # What it writes of a failed process is a table of paths and times; the process has written its sentence.
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    # Without this, each process would take a thread for every core.
    os.environ.setdefault("OMP_NUM_THREADS", str(max((os.cpu_count() or 1) // processes, 1)))
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
    )
    try:
        elastic_launch(config, sys.executable)("-m", "ganzoo", *_without_processes(command))
    except ChildFailedError as error:
        failures = error.failures.values()
        code = next((each.exitcode for each in failures if each.exitcode > 0), 1)
        killed = [rank for rank, each in error.failures.items() if each.exitcode < 0]
        said = any(each.exitcode > 0 for each in failures)
        raise EndedElsewhere(f"process {killed[0] if killed else 0} was killed", code, said=said) from None
    except SignalException as error:
        stopped = Interrupted("stopped", error.sigval)
        stopped.said = True
        raise stopped from None


def _without_processes(arguments: Sequence[str]) -> list[str]:
    """Return the command line of each of several processes."""
    kept, skip = [], False
    for each in arguments:
        if not skip and each != "--processes" and not each.startswith("--processes="):
            kept.append(each)
        skip = each == "--processes"
    return kept
