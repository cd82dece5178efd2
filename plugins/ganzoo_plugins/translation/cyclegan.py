"""CycleGAN: two domains, a generator for each direction, and a loss for what a round trip changes."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ganzoo import (
    Batch,
    DataSpec,
    Discriminator,
    DiscriminatorObjective,
    GeneratorRegularizer,
    Image,
    Loss,
    Network,
    OptimizerConfig,
    Phase,
    Regularizer,
    Score,
    Trainer,
    TrainerConfig,
)
from ganzoo_plugins.networks.dcgan import DCGANDiscriminator, initialize
from ganzoo_plugins.networks.patch import PatchDiscriminator
from ganzoo_plugins.networks.unet import UNet
from ganzoo_plugins.translation.domains import two_domains
from ganzoo_plugins.translation.networks import ResNet, Translator
from ganzoo_plugins.translation.pool import ImagePool, Relay

__all__ = ["CycleGAN", "CycleGANConfig"]

_WAYS = {"a_to_b": ("a", "b"), "b_to_a": ("b", "a")}


class CycleGANConfig(TrainerConfig):
    """Settings of CycleGAN and its kin."""

    generator: Literal["resnet", "unet", "encoder_decoder"] = Field(
        "resnet", description="encoder_decoder: a U-Net without its skip connections"
    )
    width: int = Field(16, ge=1, description="channels of a generator's first map")
    blocks: int = Field(2, ge=0, description="residual blocks of a resnet")
    depth: int | None = Field(
        None,
        ge=1,
        description="downsampling steps of a U-Net; left out: down to a map of 1 to 3 pixels a side, without "
        "skip connections 4 to 7",
    )
    repaint: bool = Field(
        False,
        description="generators change the image instead of drawing a new one; only where both domains have "
        "as many channels",
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="share of the innermost maps of a U-Net that is dropped")
    discriminator: Literal["patch", "image"] = Field(
        "patch", description="patch: a score for each patch; image: DCGAN's, one for the image"
    )
    discriminator_width: int = Field(32, ge=1, description="channels of a discriminator's first map")
    patch_layers: int = Field(
        2, ge=1, description="stride-2 layers in a patch discriminator: patches of 16, 34, 70 ... pixels"
    )
    patch_norm: Literal["instance", "none"] = Field(
        "instance",
        description="normalization in a patch discriminator; instance norm hides from it how bright flat areas are",
    )
    cycle_loss: Literal["l1", "l2"] = Field("l1", description="distance from the image to what comes back")
    cycle_weight: float = Field(
        5.0,
        ge=0,
        description="weight of that distance; 5 is the paper's 10, as the loss lsgan has a factor of 1/2 here",
    )
    identity_weight: float = Field(
        0.0,
        ge=0,
        description="weight of the distance from an image to its translation into its own domain; used where both "
        "domains have as many channels",
    )
    pool: int = Field(
        50, ge=0, description="earlier translations that are kept and shown to discriminators as well; 0: none"
    )
    n_critic: int | None = Field(
        None, ge=1, description="discriminator steps for each generator step; left out: as in the paper of the loss"
    )
    optimizer: OptimizerConfig = Field(
        OptimizerConfig(lr=1e-3), description="optimizer of generators and discriminators"
    )
    discriminator_lr: float | None = Field(
        None, gt=0, description="learning rate of the discriminators, if not the generators'"
    )


class CycleGAN(Trainer[CycleGANConfig]):
    """Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks (arXiv:1703.10593).

    The generators a_to_b and b_to_a minimize

        L(D_b, a_to_b) + L(D_a, b_to_a) + cycle_weight (|b_to_a(a_to_b(a)) - a| + |a_to_b(b_to_a(b)) - b|)
        + identity_weight (|a_to_b(b) - b| + |b_to_a(a) - a|),

    and each discriminator minimizes L on real images and on translations, half of them from a pool of earlier ones
    (arXiv:1612.07828). Weights are initialized from N(0, 0.02^2). Two things differ from the paper. The generators of
    ``cyclegan`` change the image instead of drawing a new one (``repaint``), because with instance norm a short
    training does not learn to keep colors. And the discriminators have R1 in place of instance norm: instance norm
    removes the brightness of flat areas, so the generators could hide there what their inverse needs. The preset
    ``paper`` has neither; it has the authors' networks for 128x128, batch size, identity loss (half the cycle's weight)
    and learning rate, which decays over the whole training here and over its second half in the paper.

    DiscoGAN (arXiv:1703.05192) is the same with an encoder-decoder as generator, DCGAN's discriminator, cross entropy
    and squared distances. DualGAN (arXiv:1704.02510) is the same with U-Nets, the Wasserstein loss with clipped
    weights, RMSProp and a large cycle weight. Unlike in its paper, dropout is on in training only, and generators
    change the image (``repaint``).

    The data has the domains ``a`` and ``b``. If it has pairs, they are not used.
    """

    loss: Loss
    averaged = ("a_to_b", "b_to_a")
    defaults = {
        "steps": 4_000,
        "batch_size": 8,
        "ema": 0.995,
        "lr_schedule": "linear",
        "loss": {"name": "lsgan"},
        "data": {"name": "shapes_styles"},
    }
    presets = {
        "paper": {
            "steps": 200_000,
            "batch_size": 1,
            "ema": 0.999,
            "regularizer": {"r1": {"weight": 0.0}},
            "model": {
                "repaint": False,
                "width": 64,
                "blocks": 6,
                "discriminator_width": 64,
                "patch_layers": 3,
                "patch_norm": "instance",
                "identity_weight": 2.5,
                "optimizer": {"lr": 2e-4},
            },
        }
    }

    def __init__(
        self,
        config: CycleGANConfig,
        data: DataSpec,
        loss: Loss | None,
        regularizers: Mapping[str, Regularizer | GeneratorRegularizer],
    ) -> None:
        super().__init__(config, data, loss, regularizers)
        domains = two_domains(self)
        alike = domains["a"].channels == domains["b"].channels
        # Both need an input and an output of the same shape: one adds to the input, one compares with it.
        self.identity_weight = config.identity_weight if alike else 0.0
        self.repaint = config.repaint and alike
        for way, (source, target) in _WAYS.items():
            self.networks[way] = self.build_generator(domains[source], domains[target])
        self.objectives = {}
        for domain, image in domains.items():
            name = f"discriminator_{domain}"
            discriminator = self.networks[name] = self.build_discriminator(image)
            self.objectives[domain] = DiscriminatorObjective(
                discriminator, loss, regularizers, network=name, optimizer="discriminators"
            )
        for network in self.networks.values():
            network.apply(initialize)
        self.pools = {domain: ImagePool(config.pool, image.shape) for domain, image in domains.items()}
        # One optimizer for both generators and one for both discriminators, as in the authors' code: the cycle loss has
        # gradients in both generators, so they are trained on one sum.
        players = {"generators": tuple(_WAYS), "discriminators": ("discriminator_a", "discriminator_b")}
        for key, names in players.items():
            parameters = [parameter for name in names for parameter in self.networks[name].parameters()]
            rate = config.discriminator_lr if key == "discriminators" else None
            self.optimizers[key] = config.optimizer.build(parameters, lr=rate, betas=self.loss.betas)
        self.steps = config.n_critic or self.loss.critic_steps
        # With one step of the discriminators, they score what the generators' phase has translated, so that a step
        # translates each image once. With several, each translates its own batch.
        self._relay = Relay() if self.steps == 1 else None

    def build_generator(self, source: Image, target: Image) -> Network:
        """Return the generator of one way."""
        config = self.config
        # With repaint the body draws what is added, what is placed, and a mask of one channel (Translator).
        outputs = 2 * target.channels + 1 if self.repaint else target.channels
        if config.generator == "resnet":
            body: nn.Module = ResNet(source.channels, outputs, config.width, config.blocks)
            return Translator(body, source, target, ResNet.multiple, repaint=self.repaint)
        skips = config.generator == "unet"
        # Bits of the innermost map's side. Without skips everything passes through that map, so it must keep places.
        smallest = 1 if skips else 3
        depth = config.depth or max(1, min(source.height, source.width).bit_length() - smallest)
        body = UNet(source.channels, outputs, config.width, depth, dropout=config.dropout, skips=skips)
        return Translator(body, source, target, 2**depth, repaint=self.repaint)

    def build_discriminator(self, image: Image) -> Discriminator:
        """Return the discriminator of one domain."""
        config = self.config
        if config.discriminator == "image":
            return DCGANDiscriminator(config.discriminator_width, True, image)
        return PatchDiscriminator((image,), config.discriminator_width, config.patch_layers, config.patch_norm)

    def phases(self) -> Sequence[Phase]:
        """Both generators, then both discriminators with the same images, then lazy regularizers of each."""
        names = ("discriminator_a", "discriminator_b")
        phases = [
            Phase("generators", self.generator_loss, updates=tuple(_WAYS)),
            Phase("discriminators", self.discriminator_loss, updates=names, repeat=self.steps, after=self._project),
        ]
        for domain, objective in self.objectives.items():
            phases += objective.lazy_phases(self._pair(domain), prefix=f"{domain}/")
        return phases

    def generator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return what both generators minimize together."""
        config = self.config
        distance = nn.functional.l1_loss if config.cycle_loss == "l1" else nn.functional.mse_loss
        translated: dict[str, Tensor] = {}
        adversarial, cycle, identity = (torch.zeros((), device=self.device) for _ in range(3))
        for way, back in (("a_to_b", "b_to_a"), ("b_to_a", "a_to_b")):
            source, target = _WAYS[way]
            there, objective = self.networks[way](batch[source]), self.objectives[target]
            real_scores = objective.discriminator(batch[target]) if self.loss.needs_real else None
            adversarial = adversarial + self.loss.generator(objective.discriminator(there), real_scores)
            # Cycle consistency: without it any mapping onto the other domain would satisfy the discriminators.
            cycle = cycle + distance(self.networks[back](there), batch[source])
            # An image that is in the target domain already should not change; this keeps colors (section 5.2).
            if self.identity_weight:
                identity = identity + distance(self.networks[way](batch[target]), batch[target])
            translated[target] = there.detach()
        if self._relay is not None:
            self._relay.put(translated)
        loss = adversarial + config.cycle_weight * cycle + self.identity_weight * identity
        logs = {"adversarial": adversarial.detach(), "cycle": cycle.detach()}
        if self.identity_weight:
            logs["identity"] = identity.detach()
        return {"loss": loss, **logs}

    def discriminator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return what both discriminators minimize together, each against its pool."""
        translated = self._translate(batch) if self._relay is None else self._relay.take()
        loss, logs = torch.zeros((), device=self.device), dict[str, Tensor]()
        for domain, objective in self.objectives.items():
            real, fake = batch[domain], self.pools[domain](translated[domain])
            scores = objective.discriminator(real), objective.discriminator(fake)
            results = objective.discriminator_loss(*scores, objective.discriminator, real, fake)
            loss = loss + results.pop("loss")
            logs |= {f"{domain}/{key}": value for key, value in results.items()}
        return {"loss": loss, **logs}

    def state_dict(self) -> dict[str, Any]:
        """Return the pools, and what the loss and the regularizers keep."""
        return {**super().state_dict(), "pools": {domain: pool.images for domain, pool in self.pools.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        for domain, pool in self.pools.items():
            pool.restore(state["pools"][domain])

    @torch.no_grad()
    def _translate(self, batch: Batch) -> dict[str, Tensor]:
        return {target: self.networks[way](batch[source]) for way, (source, target) in _WAYS.items()}

    def _pair(self, domain: str) -> Any:
        def pair(batch: Batch) -> tuple[Score, Tensor, Tensor]:
            return self.objectives[domain].discriminator, batch[domain], self._translate(batch)[domain]

        return pair

    def _project(self) -> None:
        for objective in self.objectives.values():
            objective.project()
