"""Projection: finding a latent from which a generator draws an image, by gradients or, without them, by search."""

from collections.abc import Callable, Iterable, Sequence
from math import cos, log, pi, sqrt

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from ganzoo.gan.networks import MixesSamples, Network

__all__ = ["ImageDistance", "descend", "descend_styles", "noise_correlation", "search"]

Floats = NDArray[np.float32]
Draw = Callable[[Floats], Floats]
"""A generator as a function of latents [N, ...] alone."""

_PRIOR = 1e-3  # weight of a latent's mean square, so that it stays where the generator has learned to draw
_NOISE = 1e5 / 1024**2  # weight of the correlation of noise maps, for each number of the largest map
_LEADS = 256  # latents that a search from nowhere begins with


def descend(
    network: Network, condition: tuple[Tensor, ...], images: Tensor, start: Tensor, steps: int = 200, lr: float = 0.05
) -> Tensor:
    """Return latents [N, ...] whose images are near ``images`` [N, C, H, W], in the generator's range.

    Adam minimizes the mean squared difference of pixels, and with little weight the mean square of the latent, from
    ``start``, while the rate falls to 0. (Generative Visual Manipulation on the Natural Image Manifold, 1609.03552.)
    """
    network.eval().requires_grad_(False)
    latents = start.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([latents], lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        loss = _PRIOR * latents.square().flatten(1).mean(1) + _distance(network(latents, *condition), images)
        optimizer.zero_grad(set_to_none=True)
        loss.sum().backward()
        optimizer.step()
        schedule.step()
    return latents.detach()


def descend_styles(
    draw: Callable[..., Tensor],
    distance: Callable[[Tensor], Tensor],
    start: Tensor,
    layers: int,
    spread: float,
    steps: int = 200,
    seed: int = 0,
    noises: Iterable[Tensor] = (),
) -> tuple[Tensor, list[Tensor]]:
    """Return styles [N, L, D] whose images ``draw`` makes, with little ``distance`` [N] to what is wanted, and noise.

    ``start`` is [N, 1, D] for one style in all ``layers`` (W), or [N, L, D] for one in each (W+, Image2StyleGAN,
    arXiv:1904.03189). The procedure of StyleGAN2's projection (arXiv:1912.04958, appendix D): Adam at a rate of 0.1
    that rises at first and falls at the end, and noise on the styles that fades, of the ``spread`` of W: the root of
    its total variance. ``noises`` are maps [N, H, W] to begin with that ``draw`` takes behind the styles, if any: they
    are found along, and kept uncorrelated as noise is, with mean 0 and variance 1. The weight of that is the paper's at
    1024x1024, and else in proportion to the pixels.
    """
    random = torch.Generator(start.device).manual_seed(seed)
    styles = start.clone().requires_grad_(True)
    noises = [each.clone().requires_grad_(True) for each in noises]
    # The paper's weight is for 1024x1024. By chance noise is correlated, more in small maps, and with that weight these
    # would follow nothing else.
    weight = _NOISE * max((each[0].numel() for each in noises), default=0)
    optimizer = torch.optim.Adam([styles, *noises], lr=0.1)
    for step in range(steps):
        t = step / steps
        down = 0.5 - 0.5 * cos(pi * min(1.0, (1 - t) / 0.25))
        optimizer.param_groups[0]["lr"] = 0.1 * down * min(1.0, t / 0.05 if step else 1 / steps)
        noise = torch.randn(styles.shape, generator=random, device=styles.device)
        moved = styles + noise * (0.05 * spread * max(0.0, 1 - t / 0.75) ** 2)
        loss = distance(draw(moved.expand(-1, layers, -1), *noises)).sum()
        loss = loss + weight * sum(noise_correlation(each).sum() for each in noises)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        for each in (noise.detach() for noise in noises):
            each.sub_(each.mean((1, 2), keepdim=True))
            each.mul_(each.square().mean((1, 2), keepdim=True).rsqrt())
    return styles.detach().expand(-1, layers, -1), [each.detach() for each in noises]


def noise_correlation(noise: Tensor) -> Tensor:
    """Return how far noise maps [N, H, W] are from uncorrelated, [N]: 0 where no signal hides in them.

    That is the regularizer of StyleGAN2's projection (arXiv:1912.04958, appendix D): the mean product of neighbors,
    squared, of both directions, with the map's ends joined, at the map's own size and at every half of it down to 8.
    Halves are means of 2x2 numbers, times two, so that their variance stays.
    """
    level, found = noise[:, None], noise.new_zeros(len(noise))
    while True:
        for axis in (2, 3):
            found = found + (level * level.roll(1, axis)).mean((1, 2, 3)).square()
        if min(level.shape[2:]) <= 8:
            return found
        level = 2 * avg_pool2d(level, 2)


class ImageDistance:
    """How far images are from some wanted ones: mean squared differences of pixels, and of a discriminator's features.

    The run's own discriminator knows what matters in such images (Exploiting Deep Generative Prior, arXiv:2003.13659).
    Its features are what convolutions return, as far as no layer mixes samples. They are compared as LPIPS compares
    (arXiv:1801.03924, eq. 1, without learned weights): of unit length over channels, squared, the mean over pixels and
    layers. Without a discriminator, which takes ``condition`` besides images, pixels are all there is.
    """

    def __init__(self, images: Tensor, network: Network | None = None, condition: Sequence[Tensor] = ()) -> None:
        self.network, self.condition, self.images = network, condition, images
        self._found: list[Tensor] = []
        self._mixed = False
        self._wanted: list[Tensor] = []
        if network is None:
            return
        network.eval().requires_grad_(False)
        for module in network.modules():
            weight = getattr(module, "weight", None)
            if isinstance(module, MixesSamples) and module.mixes_samples:
                module.register_forward_hook(self._stop)
            elif isinstance(weight, Tensor) and weight.dim() == 4:
                module.register_forward_hook(self._keep)
        with torch.no_grad():
            self._wanted = self._features(images)

    @property
    def name(self) -> str:
        """What is compared, in words."""
        return "pixels and the discriminator's features" if self._wanted else "pixels"

    def __call__(self, drawn: Tensor) -> Tensor:
        """Return the distances [N] of images [N, C, H, W]."""
        pixels = _distance(drawn, self.images)
        if not self._wanted:
            return pixels
        pairs = zip(self._features(drawn), self._wanted, strict=True)
        layers = [(ours - theirs).square().sum(1).flatten(1).mean(1) for ours, theirs in pairs]
        return pixels + torch.stack(layers).mean(0)

    def _features(self, images: Tensor) -> list[Tensor]:
        assert self.network is not None
        self._found, self._mixed = [], False
        self.network(images, *self.condition)
        return [each / (each.square().sum(1, keepdim=True) + 1e-10).sqrt() for each in self._found]

    def _keep(self, module: nn.Module, given: object, output: Tensor) -> None:
        if not self._mixed and output.dim() == 4:
            self._found.append(output)

    def _stop(self, module: nn.Module, given: object, output: Tensor) -> None:
        self._mixed = True


def search(
    draw: Draw, images: Floats, shape: tuple[int, ...], start: Floats | None = None, rounds: int = 200, seed: int = 0
) -> Floats:
    """Return such latents without gradients, for one image after another, of a generator that is only a function.

    The separable evolution strategy with covariance matrix adaptation (Ros and Hansen, A Simple Modification in CMA-ES
    Achieving Linear Time and Space Complexity, 2008), from ``start`` or the best of many random latents. ``rounds`` are
    generations; each draws 4 + 3 ln d images for latents of d numbers.
    """
    rng = np.random.default_rng(seed)
    found = []
    for index, image in enumerate(images):

        def cost(latents: NDArray[np.float64], image: Floats = image) -> NDArray[np.float64]:
            drawn = draw(latents.reshape(-1, *shape).astype(np.float32))
            distance: NDArray[np.float64] = ((drawn - image) ** 2).reshape(len(drawn), -1).mean(1, dtype=np.float64)
            distance += _PRIOR * (latents**2).mean(1)
            return distance

        if start is not None:
            mean, width = start[index].reshape(-1).astype(np.float64), 0.3
        else:
            leads = rng.standard_normal((_LEADS, int(np.prod(shape))))
            mean, width = leads[cost(leads).argmin()], 0.5
        found.append(_evolve(cost, mean, width, rounds, rng).reshape(shape).astype(np.float32))
    return np.stack(found)


def _evolve(
    cost: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    mean: NDArray[np.float64],
    width: float,
    rounds: int,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Return the best point found: sep-CMA-ES with the constants of its paper."""
    d = len(mean)
    count = 4 + int(3 * log(d)) if d > 1 else 4
    chosen = count // 2
    weights = np.log(chosen + 0.5) - np.log(np.arange(1, chosen + 1))
    weights /= weights.sum()
    effective = 1 / (weights**2).sum()
    c_sigma = (effective + 2) / (d + effective + 3)
    damping = 1 + 2 * max(0.0, sqrt((effective - 1) / (d + 1)) - 1) + c_sigma
    c_path = 4 / (d + 4)
    c_cov = (d + 2) / 3 * (2 / effective / (d + sqrt(2)) ** 2)
    c_cov += (d + 2) / 3 * (1 - 1 / effective) * min(1.0, (2 * effective - 1) / ((d + 2) ** 2 + effective))
    c_cov = min(c_cov, 1.0)
    expected = sqrt(d) * (1 - 1 / (4 * d) + 1 / (21 * d * d))
    step_path, path, variance = np.zeros(d), np.zeros(d), np.ones(d)
    best, least = mean, float(cost(mean[None])[0])
    for round_ in range(1, rounds + 1):
        noise = rng.standard_normal((count, d))
        points = mean + width * np.sqrt(variance) * noise
        costs = cost(points)
        order = costs.argsort()[:chosen]
        if costs[order[0]] < least:
            best, least = points[order[0]], float(costs[order[0]])
        moved = (points[order] - mean) / width
        shift = weights @ moved
        mean = mean + width * shift
        step_path = (1 - c_sigma) * step_path + sqrt(c_sigma * (2 - c_sigma) * effective) * (weights @ noise[order])
        length = float(np.linalg.norm(step_path))
        going = length / sqrt(1 - (1 - c_sigma) ** (2 * round_)) < (1.4 + 2 / (d + 1)) * expected
        path = (1 - c_path) * path + going * sqrt(c_path * (2 - c_path) * effective) * shift
        spread = path**2 / effective + (1 - 1 / effective) * (weights @ moved**2)
        variance = (1 - c_cov) * variance + c_cov * spread
        width *= float(np.exp(c_sigma / damping * (length / expected - 1)))
    return best


def _distance(drawn: Tensor, images: Tensor) -> Tensor:
    return (drawn - images).square().flatten(1).mean(1)
