"""Projection: finding a latent from which a generator draws an image, by gradients or, without them, by search."""

from collections.abc import Callable
from math import log, sqrt

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganzoo.gan.networks import Network

__all__ = ["descend", "search"]

Floats = NDArray[np.float32]
Draw = Callable[[Floats], Floats]
"""A generator as a function of latents [N, ...] alone."""

_PRIOR = 1e-3  # weight of a latent's mean square, so that it stays where the generator has learned to draw
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
