"""Training with the same result to the bit each time, on CUDA too."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ganzoo.errors import UserError

__all__ = ["determinism"]

_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
_MISSING = re.compile(r"(\S+) does not have a deterministic implementation")


@contextmanager
def determinism(wanted: bool) -> Iterator[None]:
    """While entered, let torch take deterministic kernels alone, if ``wanted``; put back what was set before.

    To be entered before anything is computed on CUDA, as cuBLAS reads its setting once. Raises
    :class:`~ganzoo.UserError` for an operation that has no deterministic kernel.
    """
    if not wanted:
        yield
        return
    cudnn = torch.backends.cudnn
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    flags, workspace = (cudnn.deterministic, cudnn.benchmark), os.environ.get(_WORKSPACE)
    os.environ.setdefault(_WORKSPACE, ":4096:8")
    try:
        torch.use_deterministic_algorithms(True)
        cudnn.deterministic, cudnn.benchmark = True, False
        yield
    except RuntimeError as error:
        if (found := _MISSING.search(str(error))) is None:
            raise
        raise UserError(
            f"{found[1]} has no deterministic form on this device, and this training needs it; train without "
            "--deterministic"
        ) from None
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        cudnn.deterministic, cudnn.benchmark = flags
        if workspace is None:
            os.environ.pop(_WORKSPACE, None)
