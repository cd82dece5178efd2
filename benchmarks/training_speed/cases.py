"""What is trained: models of ganzoo at the settings that textbooks have, and the textbook's loop for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ganzoo import Config, Dataset, Image, Loop, load_config, load_registry
from training_speed import networks, textbook


class Kind(NamedTuple):
    plugin: str
    preset: str | None
    model: dict[str, Any]
    data: dict[str, Any]
    batch_size: int
    networks: Callable[[Any, networks.Shape], tuple[nn.Module, nn.Module]]
    loop: Callable[[textbook.Setup], Iterator[textbook.Losses]]
    text: str


_DIGITS = {"name": "mnist5k"}
_SHAPES = {"name": "shapes", "image_size": 64, "size": 2_000, "condition": "none"}
_TUTORIAL = {"width": 64, "latent": "normal"}
CASES = {
    "fc": Kind("gan_fc", None, {"hidden": [512, 512]}, _DIGITS, 128, networks.mlp, textbook.train_gan,
               "`gan_fc`, hidden layers 512-512"),
    "fc_default": Kind("gan_fc", None, {}, _DIGITS, 128, networks.mlp, textbook.train_gan, "`gan_fc`"),
    "conv": Kind("wgan_gp_conv", "textbook", {}, _DIGITS, 128, networks.convolutional, textbook.train_wgan_gp,
                 "`wgan_gp_conv`, preset `textbook`"),
    "dcgan28": Kind("dcgan", None, {}, _DIGITS, 64, networks.dcgan, textbook.train_gan, "`dcgan` 28x28"),
    "dcgan64": Kind("dcgan", "paper", _TUTORIAL, _SHAPES, 64, networks.dcgan, textbook.train_gan,
                    "`dcgan` 64x64x3, preset `paper` of width 64"),
    "cyclegan": Kind("cyclegan", None, {}, {"name": "shapes_styles"}, 8, networks.cyclegan, textbook.train_cyclegan,
                     "`cyclegan` 32x32x3"),
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A model of ganzoo's, and the textbook's loop for it."""

    name: str
    config: Config
    dataset: Dataset
    device: torch.device

    def ours(self, dtype: torch.dtype = torch.float32) -> Loop:
        """Return ganzoo's loop, freshly begun."""
        torch.manual_seed(self.config.train.seed)
        trainer = self.config.build_trainer(self.dataset.spec)
        trainer.to(self.device)
        if dtype != torch.float32:
            prepare = trainer.prepare
            trainer.prepare = lambda batch: {key: value.to(dtype) for key, value in prepare(batch).items()}  # type: ignore[method-assign]
            for network in trainer.networks.values():
                network.to(dtype)
        return Loop(trainer, self.dataset, self.config.train)

    def textbook(self, ours: Loop, batches: Iterator[tuple[Tensor, ...]]) -> Iterator[textbook.Losses]:
        """Return the textbook's loop, beginning with the weights that ours has now."""
        return CASES[self.name].loop(self.setup(ours, batches))

    def setup(self, ours: Loop, batches: Iterator[tuple[Tensor, ...]]) -> textbook.Setup:
        """Return the textbook's networks and optimizers, with the weights that ours has now."""
        kind, trainer = CASES[self.name], ours.trainer
        shape = self.images[0].shape
        built: dict[str, nn.Module] = {}
        for name, source in trainer.networks.items():
            pair = kind.networks(self.config.model.settings, shape)
            built[name] = pair["discriminator" in name].to(self.device, next(source.parameters()).dtype)
            copy_weights(source, built[name])
        optimizers = {}
        for phase in ours.phases:
            if phase.every == 1:
                group = trainer.optimizers[phase.optimizer].param_groups[0]
                settings = {key: group[key] for key in ("lr", "betas", "weight_decay")} | {"lr": float(group["lr"])}
                parameters = [each for name in phase.updates for each in built[name].parameters()]
                plain = getattr(torch.optim, type(trainer.optimizers[phase.optimizer]).__name__)
                optimizers[phase.optimizer] = plain(parameters, **settings)
        r1 = trainer.regularizers.get("r1")
        first = getattr(trainer, "generator", None)
        return textbook.Setup(
            built,
            optimizers,
            batches,
            latent=first.signature.inputs[0].shape if first is not None else (),
            settings=self.config.model.settings,
            r1=(r1.config.weight, r1.config.interval) if r1 is not None else None,
            device=self.device,
        )

    def loader(self) -> Iterator[tuple[Tensor, ...]]:
        """Return batches as a textbook loads them: PIL images through ``ToTensor`` in a ``DataLoader``, for ever."""
        low = self.images[0].range[0]
        data = _Pictures(self.dataset, [field.name for field in self.images], centered=low < 0)
        loader: Iterable[Any] = DataLoader(data, self.config.train.batch_size, shuffle=True, drop_last=True)
        while True:
            yield from loader

    @property
    def images(self) -> Sequence[Image]:
        """The image fields of the data, as the networks see them."""
        fields = self.dataset.spec.fields
        pixel_range = self.config.model.entry.spec.load().pixel_range
        return [Image(*field.shape, range=pixel_range, name=field.name) for field in fields if isinstance(field, Image)]

    @property
    def images_a_step(self) -> int:
        """Real images (of each domain) that the discriminator sees in a generator step."""
        settings: Any = self.config.model.settings
        return self.config.train.batch_size * settings.n_critic


def make_case(
    name: str,
    batch_size: int | None = None,
    n_critic: int = 1,
    data: str = "",
    sets: Sequence[str] = (),
    device: str = "cpu",
) -> Case:
    """Return one of ``CASES``; ``sets`` are more settings, as ``--set`` takes them."""
    kind = CASES[name]
    flags: dict[str, Any] = {
        "batch_size": batch_size or kind.batch_size,
        "lr_schedule": "constant",
        "lr_warmup": 0,
        "device": device,
        "data": {"name": data} if data else kind.data,
        "model": {"n_critic": n_critic, **kind.model},
    }
    config = load_config(load_registry(), kind.plugin, preset=kind.preset, flags=flags, sets=("precision=fp32", *sets))
    return Case(name, config, config.build_dataset(), torch.device(device))


def copy_weights(source: nn.Module, target: nn.Module) -> None:
    """Copy ganzoo's weights to the textbook's network; ganzoo keeps those of layer norm over maps as H, W, C."""
    with torch.no_grad():
        for ours, theirs in zip(source.parameters(), target.parameters(), strict=True):
            theirs.copy_(ours.permute(2, 0, 1) if ours.dim() == 3 else ours)


class _Pictures(torch.utils.data.Dataset[tuple[Any, ...]]):
    """ganzoo's images in the way of torchvision's data sets: PIL images through transforms, one by one."""

    def __init__(self, dataset: Dataset, names: Sequence[str], centered: bool) -> None:
        from torchvision.transforms import Compose, Normalize, ToTensor

        everything = dataset.batch(torch.arange(len(dataset)), torch.Generator())
        self.domains = [everything[name].permute(0, 2, 3, 1).squeeze(3).contiguous() for name in names]
        self.transform: Any = Compose([ToTensor(), Normalize(0.5, 0.5)]) if centered else ToTensor()

    def __len__(self) -> int:
        return len(self.domains[0])

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        from PIL.Image import fromarray

        return tuple(self.transform(fromarray(images[index].numpy())) for images in self.domains)
