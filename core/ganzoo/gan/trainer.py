"""The interface of a GAN: its networks, its optimizers, and the phases of a training step.

The author of a GAN writes networks and losses. The core does the rest for every GAN: freezing, accumulation, mixed
precision, clipping, optimizer steps, averaging, checkpoints and resume (:mod:`ganzoo.training.loop`).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from typing_extensions import TypeVar

from ganzoo.configured import Configured
from ganzoo.data.dataset import Batch, DataSpec
from ganzoo.errors import UserError
from ganzoo.fields import Field as SignatureField
from ganzoo.fields import Image
from ganzoo.gan.losses import GeneratorRegularizer, Loss, Regularizer
from ganzoo.gan.networks import Network

__all__ = ["Phase", "Trainer", "TrainerConfig"]


class TrainerConfig(BaseModel):
    """Base of the settings of a GAN: what ``[model]`` may say."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class Phase:
    """One part of a training step: which networks learn, from which loss, how often.

    ``loss`` maps a batch to named scalars, of which ``"loss"`` is minimized and the others are logged. Only the
    networks named in ``updates`` are trainable while it runs. Each of the ``repeat`` runs draws a fresh batch; with
    ``every`` k the phase runs at every k-th step. ``optimizer`` names the optimizer, the phase's own name by default;
    ``after`` is called after each optimizer step.
    """

    name: str
    loss: Callable[[Batch], Mapping[str, Tensor]]
    updates: tuple[str, ...]
    optimizer: str = ""
    repeat: int = 1
    every: int = 1
    after: Callable[[], None] | None = None

    def __post_init__(self) -> None:
        if self.repeat < 1 or self.every < 1:
            raise ValueError(f"phase {self.name!r}: repeat and every are at least 1")
        if not self.optimizer:
            object.__setattr__(self, "optimizer", self.name)


Settings = TypeVar("Settings", bound=TrainerConfig, default=TrainerConfig, covariant=True)


class Trainer(Configured[Settings], ABC):
    """A GAN: networks and optimizers by name, and phases.

    A subclass, ``Trainer[ItsConfig]``, fills ``networks`` and ``optimizers`` in ``__init__`` and implements
    :meth:`phases`. ``samples`` are the kinds of samples that it learns to draw; other data is refused. ``defaults`` are
    the training settings that suit it (steps, batch size, data set, loss ...), laid over the core's; ``presets`` are
    named sets of settings that the user may choose. ``pixel_range`` is the range that images are scaled to before
    they reach a phase. ``averaged`` names the networks that an exponential moving average is kept of.
    ``batch_multiple`` is what the size of a batch has to be a multiple of, as where samples are scored together.

    On CUDA, what a phase computes is captured once and repeated without its Python (:mod:`ganzoo.training.capture`), so
    that state is kept in tensors which are changed in place, and no value is read. :meth:`prepare` is Python in each
    run. ``revision`` is to be raised there when phases have to be captured anew, as after a layer has been added.
    """

    samples: ClassVar[tuple[type[SignatureField], ...]] = (SignatureField,)
    defaults: ClassVar[Mapping[str, Any]] = {}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    pixel_range: tuple[float, float] = (-1.0, 1.0)
    averaged: tuple[str, ...] = ("generator",)
    batch_multiple: int = 1
    revision: int = 0

    networks: dict[str, nn.Module]
    optimizers: dict[str, torch.optim.Optimizer]

    def __init__(
        self,
        config: Settings,
        data: DataSpec,
        loss: Loss | None,
        regularizers: Mapping[str, Regularizer | GeneratorRegularizer],
    ) -> None:
        super().__init__(config)
        self.data = data
        self.loss = loss
        self.regularizers = dict(regularizers)
        self.networks = {}
        self.optimizers = {}

    @classmethod
    def check_samples(cls, sample: SignatureField, model: str) -> None:
        """Raise :class:`~ganzoo.UserError`, in the model's name, if it does not draw such samples."""
        if not isinstance(sample, cls.samples):
            drawn = " or ".join(_plural(kind) for kind in cls.samples)
            raise UserError(f"{model} draws {drawn}, not {_plural(type(sample))}; choose other data or another model")

    @abstractmethod
    def phases(self) -> Sequence[Phase]:
        """Return the phases of one training step, in order; called once, before training."""

    def exports(self, networks: Mapping[str, nn.Module]) -> Mapping[str, Network]:
        """Return the networks that can be sampled and exported, the main one first; by default all averaged ones."""
        exported = {}
        for name in self.averaged:
            network = networks[name]
            assert isinstance(network, Network)
            exported[name] = network
        return exported

    def state_dict(self) -> dict[str, Any]:
        """Return what is kept between steps beside weights: tensors, numbers, strings, lists and dicts of them.

        That is what the loss and the regularizers keep; a trainer that keeps more adds it.
        """
        return {
            "loss": self.loss.state_dict() if self.loss is not None else {},
            "regularizers": {key: each.state_dict() for key, each in self.regularizers.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what :meth:`state_dict` returned."""
        if self.loss is not None:
            self.loss.load_state_dict(state["loss"])
        for key, each in self.regularizers.items():
            each.load_state_dict(state["regularizers"][key])

    def to(self, device: torch.device) -> None:
        """Move the networks to the device, convolution weights in channels-last layout."""
        for network in self.networks.values():
            network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return next(parameter.device for network in self.networks.values() for parameter in network.parameters())

    def scaled(self, field: SignatureField) -> SignatureField:
        """Return a data field as the networks see it: an image in ``pixel_range`` instead of 0..255."""
        return replace(field, range=self.pixel_range) if isinstance(field, Image) else field

    def prepare(self, batch: Batch) -> Batch:
        """Move a batch to the device and scale uint8 images to ``pixel_range``, channels last."""
        device, (low, high) = self.device, self.pixel_range
        prepared = {}
        for name, tensor in batch.items():
            if tensor.dtype == torch.uint8:
                # Copied as bytes and converted there: a quarter of the traffic to the device.
                tensor = tensor.to(device, non_blocking=True)
                tensor = tensor.to(torch.float32, memory_format=torch.channels_last)
                tensor = tensor.mul_((high - low) / 255)
                prepared[name] = tensor.add_(low) if low else tensor
            else:
                prepared[name] = tensor.to(device, non_blocking=True)
        return prepared


def _plural(kind: type[SignatureField]) -> str:
    return kind.kind if kind.kind.endswith("s") else f"{kind.kind}s"
