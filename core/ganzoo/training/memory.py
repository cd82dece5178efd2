"""An estimate of the memory that a training takes, from one small batch and without an optimizer step."""

import torch
from torch import Tensor

from ganzoo.config.train_settings import TrainSettings
from ganzoo.data.dataset import Dataset, TensorDataset
from ganzoo.gan.precision import mixed_precision
from ganzoo.gan.trainer import Trainer

__all__ = ["estimate"]

PROBE = 4
"""Samples in the batch that is measured, or a few more."""


def estimate(trainer: Trainer, dataset: Dataset, settings: TrainSettings) -> int:
    """Return the bytes of weights, gradients, optimizer state, averages, data in memory, and saved activations.

    Activations are what autograd keeps for a phase's backward pass, counted on a small batch and scaled up; the
    largest phase counts. Scratch memory of the libraries comes on top.
    """
    weights = {name: _size(network.parameters()) for name, network in trainer.networks.items()}
    averages = sum(_size(trainer.networks[name].parameters()) for name in trainer.averaged)
    moments = sum(
        _size(group["params"]) * (2 if "betas" in group else 1)
        for optimizer in trainer.optimizers.values()
        for group in optimizer.param_groups
    )
    data = _size(dataset.tensors.values()) if isinstance(dataset, TensorDataset) else 0
    probe = -(-PROBE // trainer.batch_multiple) * trainer.batch_multiple
    batch = trainer.prepare(dataset.batch(torch.arange(probe) % len(dataset), torch.Generator().manual_seed(0)))
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
                loss = phase.loss(batch)["loss"]
            kept = max(0, sum(seen.values()) - sum(weights.values()))
            activations = max(activations, kept * settings.batch_size // probe)
            del loss
    return 2 * sum(weights.values()) + moments + averages + data + activations


def _size(tensors: object) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)  # type: ignore[attr-defined]
