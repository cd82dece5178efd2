"""The interface of a GAN: its networks, its optimizers, and the phases of a training step.

The author of a GAN writes networks and losses. The core does the rest for every GAN: freezing, accumulation, mixed
precision, clipping, optimizer steps, averaging, checkpoints and resume (:mod:`ganzoo.training.loop`).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from inspect import signature
from typing import Any, ClassVar

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from typing_extensions import TypeVar

from ganzoo.configured import Configured
from ganzoo.data.dataset import Batch, DataSpec
from ganzoo.errors import UserError
from ganzoo.fields import Field as SignatureField
from ganzoo.gan.losses import GeneratorRegularizer, Loss, Regularizer
from ganzoo.gan.networks import Network

__all__ = ["Phase", "Trainer", "TrainerConfig"]


class TrainerConfig(BaseModel):
    """Base of the settings of a GAN: what ``[model]`` may say."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class Phase:
    """One part of a training step: which networks learn, from which loss, how often.

    ``loss`` maps a batch to named scalars, of which ``"loss"`` is minimized and the others are logged. If it takes an
    argument ``step``, it is given the number of the training step, from 0, as a float32 scalar on the device, which is
    the same tensor each time: computed with, and not read, it suits a CUDA graph. Only the networks named in
    ``updates`` are trainable while it runs. Each of the ``repeat`` runs draws a fresh batch; with
    ``every`` k the phase runs at every k-th step. ``optimizer`` names the optimizer, the phase's own name by default;
    ``after`` is called after each optimizer step.
    """

    name: str
    loss: Callable[..., Mapping[str, Tensor]]
    updates: tuple[str, ...]
    optimizer: str = ""
    repeat: int = 1
    every: int = 1
    after: Callable[[], None] | None = None
    takes_step: bool = field(init=False, default=False, compare=False)
    """Whether the loss asks for the step."""

    def __post_init__(self) -> None:
        with suppress(TypeError, ValueError):  # of a function that is not Python's, nothing is known
            object.__setattr__(self, "takes_step", "step" in signature(self.loss).parameters)
        if self.repeat < 1 or self.every < 1:
            raise ValueError(f"phase {self.name!r}: repeat and every are at least 1")
        if not self.optimizer:
            object.__setattr__(self, "optimizer", self.name)

    def compute(self, batch: Batch, step: Tensor) -> Mapping[str, Tensor]:
        """Return what the loss returns for a batch; it is given the step if it asks for it."""
        return self.loss(batch, step=step) if self.takes_step else self.loss(batch)


Settings = TypeVar("Settings", bound=TrainerConfig, default=TrainerConfig, covariant=True)


class Trainer(Configured[Settings], ABC):
    """A GAN: networks and optimizers by name, and phases.

    A subclass, ``Trainer[ItsConfig]``, fills ``networks`` and ``optimizers`` in ``__init__`` and implements
    :meth:`phases`. ``samples`` are the kinds of samples that it learns to draw; other data is refused. ``defaults`` are
    the training settings that suit it (steps, batch size, data set, loss ...), laid over the core's; ``presets`` are
    named sets of settings that the user may choose, laid over the defaults; None in one takes back what they say.
    ``pixel_range`` is the range that images are scaled to before
    they reach a phase. ``averaged`` names the networks that an exponential moving average is kept of.
    ``batch_multiple`` is what the size of a batch has to be a multiple of, as where samples are scored together.

    On CUDA, what a phase computes is captured once and repeated without its Python (:mod:`ganzoo.training.capture`), so
    that state is kept in tensors which are changed in place, and no value is read. :meth:`prepare` is Python in each
    run. ``revision`` is to be raised there when phases have to be captured anew.

    ``samples_per_step`` is how many samples a step of the training takes, its batch size times ``accumulate``, for
    schedules that count samples.

    A GAN that grows (progressive growing, arXiv:1710.10196) says in ``stages`` before which steps, in ascending order,
    and implements :meth:`grow`. ``stage`` is how many of them it has reached. A checkpoint is read by a trainer that
    grows to its step first, so that ``stages`` depends on settings, data and ``samples_per_step`` alone.
    """

    samples: ClassVar[tuple[type[SignatureField], ...]] = (SignatureField,)
    defaults: ClassVar[Mapping[str, Any]] = {}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    pixel_range: tuple[float, float] = (-1.0, 1.0)
    averaged: tuple[str, ...] = ("generator",)
    batch_multiple: int = 1
    samples_per_step: int = 64
    revision: int = 0
    stages: Sequence[int] = ()
    stage: int = 0

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

    @classmethod
    def regularizer_settings(cls, data: DataSpec, samples: int) -> Mapping[str, Mapping[str, Any]]:
        """Return settings of regularizers, by key, that follow from the data and the number of samples a step.

        They hold for settings that nobody has given: neither ``defaults`` nor a preset, a file or the user.
        """
        return {}

    @abstractmethod
    def phases(self) -> Sequence[Phase]:
        """Return the phases of one training step, in order; called before training, and after each :meth:`grow`."""

    def grow(self, stage: int) -> None:
        """Become what the trainer is from step ``stages[stage]`` on; called once for each stage, in order.

        It may add layers to networks, networks to ``networks``, and their parameters to optimizers, as groups
        (``add_param_group``) or with an optimizer of their own; layers that are no longer used may go. The rest is
        followed: phases, averages, CUDA graphs, checkpoints. The signatures of what is exported stay as they are, so a
        generator draws samples of the full size from the start, enlarged.
        """
        raise NotImplementedError(f"{type(self).__name__} names stages, and does not implement grow()")

    def is_due(self, step: int) -> bool:
        """Return whether the trainer is to grow before this step."""
        return self.stage < len(self.stages) and self.stages[self.stage] <= step

    def reach(self, step: int) -> None:
        """Grow to what the trainer is in this step."""
        while self.is_due(step):
            self.grow(self.stage)
            self.stage += 1
            self.revision += 1

    def averaged_networks(self) -> dict[str, nn.Module]:
        """Return the networks that an average is kept of; of those that are added later, the ones that are there."""
        return {name: self.networks[name] for name in self.averaged if name in self.networks}

    def settle(self, averages: Mapping[str, nn.Module]) -> None:
        """Finish the averaged networks, by name, before they are sampled or saved; does nothing by default.

        For what no average of weights has, as statistics that belong to these very weights. It may change buffers in
        place, which are copied from the trained networks again in the next step, and draws nothing from torch's global
        random state.
        """
        return

    def exports(self, networks: Mapping[str, nn.Module]) -> Mapping[str, Network]:
        """Return the networks that can be sampled and exported, the main one first; by default all averaged ones."""
        exported = {}
        for name in self.averaged_networks():
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
        """Return a data field as the networks see it: an image in ``pixel_range``, tokens as one-hot rows."""
        return field.scaled(self.pixel_range)

    @cached_property
    def _seen(self) -> Mapping[str, SignatureField]:
        return {field.name: self.scaled(field) for field in self.data.fields}

    def prepare(self, batch: Batch) -> Batch:
        """Move a batch to the device and encode it: images in ``pixel_range``, channels last, tokens one-hot."""
        device, prepared = self.device, {}
        for name, tensor in batch.items():
            # Moved as it is and encoded there: for bytes a quarter of the traffic to the device.
            tensor = tensor.to(device, non_blocking=True)
            prepared[name] = self._seen[name].encode(tensor) if name in self._seen else tensor
        return prepared


def _plural(kind: type[SignatureField]) -> str:
    return kind.kind if kind.kind.endswith("s") else f"{kind.kind}s"
