"""The memory that a training takes: estimated before, measured after, and what to do when there is too little."""

from pathlib import Path

import torch
from torch import Tensor

from ganzoo.config.train_settings import TrainSettings
from ganzoo.data.dataset import Dataset
from ganzoo.data.placement import fits, free_memory, size
from ganzoo.gan.precision import mixed_precision
from ganzoo.gan.trainer import Trainer

__all__ = ["estimate", "peak", "smaller"]

PROBE = 4
"""Samples in the batch that is measured, or a few more."""


def estimate(trainer: Trainer, dataset: Dataset, settings: TrainSettings, device: torch.device) -> int:
    """Return the bytes that a training takes on the device, from one small batch and without an optimizer step.

    These are weights, gradients, optimizer state, averages, saved activations, and the data where it lies there.
    Activations are what autograd keeps for a phase's backward pass, counted on a small batch and scaled up; the largest
    phase counts. Scratch memory of the libraries comes on top, and a CUDA device's context. The trainer may be on the
    CPU whatever the device.
    """
    weights = {name: _size(network.parameters()) for name, network in trainer.networks.items()}
    averages = sum(_size(trainer.networks[name].parameters()) for name in trainer.averaged)
    moments = sum(
        _size(group["params"]) * (2 if "betas" in group else 1)
        for optimizer in trainer.optimizers.values()
        for group in optimizer.param_groups
    )
    probe = -(-PROBE // trainer.batch_multiple) * trainer.batch_multiple
    drawn = dataset.batch(torch.arange(probe) % len(dataset), torch.Generator().manual_seed(0))
    data = size(drawn) * len(dataset) // probe if dataset.in_memory else 0
    if device.type != "cpu" and (dataset.rows is None or not fits(size(dataset.rows), free_memory(device))):
        data = 0  # it stays in the memory of the CPU
    batch = trainer.prepare(drawn)
    activations = 0
    # The estimate must not change the training that may follow, so the random state is restored.
    with torch.random.fork_rng(devices=[]):
        for phase in trainer.phases():
            # By storage, since autograd saves many views of one tensor; weights, which it saves too, are taken off.
            seen: dict[int, int] = {}

            def keep(tensor: Tensor, seen: dict[int, int] = seen) -> Tensor:
                seen[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
                return tensor

            with (
                torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
                mixed_precision(settings.precision, trainer.device),
            ):
                loss = phase.compute(batch, torch.zeros((), device=trainer.device))["loss"]
            kept = max(0, sum(seen.values()) - sum(weights.values()))
            activations = max(activations, kept * settings.batch_size // probe)
            del loss
    return 2 * sum(weights.values()) + moments + averages + data + activations


def peak(device: torch.device) -> dict[str, float]:
    """Return the most memory that was used so far, in MiB by name; nothing where the system does not say.

    On a CUDA device that is what torch has allocated there, and what it has reserved for itself, since
    ``torch.cuda.reset_peak_memory_stats``. On the CPU it is what the whole process has taken since it began.
    """
    if device.type == "cuda":
        allocated, reserved = torch.cuda.max_memory_allocated(device), torch.cuda.max_memory_reserved(device)
        return {"peak_memory_mib": allocated / 2**20, "peak_reserved_mib": reserved / 2**20}
    if device.type != "cpu":
        return {}
    try:
        # resource.getrusage() is no help: a process inherits the peak of the one that started it.
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:  # not Linux
        return {}
    found = next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), None)
    return {} if found is None else {"peak_memory_mib": found / 1024}


def smaller(settings: TrainSettings, multiple: int) -> str:
    """Return options that take less memory for the same samples an optimizer step, as ``--set batch_size=32 ...``.

    The batch is divided by the smallest number that leaves a multiple of ``multiple``; without one, nothing is
    returned.
    """
    groups = settings.batch_size // multiple
    for parts in range(2, groups + 1):
        if groups % parts == 0:
            batch, accumulate = settings.batch_size // parts, settings.accumulate * parts
            return f"--set batch_size={batch} --set accumulate={accumulate}"
    return ""


def _size(tensors: object) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)  # type: ignore[attr-defined]
