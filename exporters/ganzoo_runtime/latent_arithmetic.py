"""Interpolation, truncation and directions in the space of latents, as arithmetic on arrays.

z = generator.latents(4, seed=7)
generator.sample(46, latents=interpolate(z, 15), label=3)                 # from each to the next
generator.sample(4, latents=edit(z, generator.directions, {"smile": 1.5}))
generator.sample(1, latents=z[0] - z[1] + z[2])                           # arithmetic needs no function
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["edit", "interpolate", "pick", "truncate", "truncated_normal"]


_FAR, _KNOTS = 8.0, 1025  # a table of normal numbers: up to what is never drawn


def interpolate(keys: ArrayLike, steps: int = 15, *, spherical: bool = True, loop: bool = False) -> NDArray[np.float32]:
    """Return the latents on the way through the keys, [K, *shape] and at least two, as float32 [frames, *shape].

    From each key to the next it takes ``steps`` steps; the first frame is the first key, and the last one is the last
    key. With ``loop`` the way goes on to the first key and ends a step before it: K * steps frames.
    ``spherical`` goes along the great circle between two keys (Shoemake 1985), so that the length of normal latents,
    which in many dimensions is nearly constant, stays so; keys that point the same way or opposite ways are joined by
    a straight line, as all are without it.
    """
    points = np.asarray(keys, np.float64)
    if points.ndim < 2 or len(points) < 2 or steps < 1:
        raise ValueError("an interpolation takes at least two latents, [K, *shape], and at least one step")
    flat = points.reshape(len(points), -1)
    ways = [
        _between(start, end, np.arange(steps) / steps, spherical)
        for start, end in zip(flat, np.roll(flat, -1, axis=0), strict=True)
    ]
    frames = np.concatenate(ways if loop else [*ways[:-1], flat[-1:]])
    return frames.reshape(-1, *points.shape[1:]).astype(np.float32)


def _between(
    start: NDArray[np.float64], end: NDArray[np.float64], at: NDArray[np.float64], spherical: bool
) -> NDArray[np.float64]:
    at = at[:, None]
    lengths = float(np.linalg.norm(start) * np.linalg.norm(end))
    cosine = float(start @ end) / lengths if lengths else 1.0
    if not spherical or abs(cosine) > 1 - 1e-6:
        return np.asarray((1 - at) * start + at * end)
    angle = np.arccos(cosine)
    return np.asarray((np.sin((1 - at) * angle) * start + np.sin(at * angle) * end) / np.sin(angle))


def truncate(latents: ArrayLike, truncation: float, mean: ArrayLike = 0.0) -> NDArray[np.float32]:
    """Move latents towards their mean, to ``mean + truncation * (latents - mean)``: more typical, less varied.

    Raises ValueError where finite latents become larger than float32 can hold.
    """
    values, middle = np.asarray(latents, np.float32), np.asarray(mean, np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        moved = np.asarray(middle + np.float32(truncation) * (values - middle) if truncation != 1 else values)
    if np.isfinite(values).all() and not np.isfinite(moved).all():
        raise ValueError(f"a truncation of {truncation:g} makes latents that are too large for float32")
    return moved


def truncated_normal(latents: ArrayLike, threshold: float) -> NDArray[np.float32]:
    """Return normal latents as if their numbers beyond the threshold had been drawn again until they are within.

    That is BigGAN's truncation trick (arXiv:1809.11096, section 3.2); :func:`truncate` scales latents instead. Every
    number is moved to the same quantile of the truncated normal distribution: so it depends on no other number and on
    no further seed, and what lies between two latents stays between them. Raises ValueError for a threshold of 0 or
    less.
    """
    if not threshold > 0:
        raise ValueError(f"the threshold is above 0, not {threshold}")
    normal, threshold = NormalDist(), min(threshold, _FAR)
    below, within = normal.cdf(-threshold), normal.cdf(threshold) - normal.cdf(-threshold)
    # NumPy has no normal quantiles. So they are those of a table, with cubics between its knots that have the right
    # slopes there, which are exact in float32. Negative numbers have the digits that probabilities near 1 lack.
    knots = np.linspace(0, _FAR, _KNOTS)
    targets = np.array([-normal.inv_cdf(below + normal.cdf(-knot) * within) for knot in knots])
    rises = knots[1] * within * np.exp((targets**2 - knots**2) / 2)
    values = np.asarray(latents, np.float64)
    at = np.abs(values) / knots[1]
    left = np.fmin(at, _KNOTS - 2).astype(np.int64)
    share, start, rise = np.minimum(at, _KNOTS - 1) - left, targets[left], rises[left]
    way, end = targets[left + 1] - start, rises[left + 1]
    found = start + share * (rise + share * (3 * way - 2 * rise - end + share * (rise + end - 2 * way)))
    return np.asarray(np.copysign(found, values), np.float32)


def pick(pieces: Iterable[Mapping[str, NDArray[Any]]], numbers: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Return the rows of these numbers, [N, ...], of inputs by name that come in pieces, [any, ...] each.

    No more pieces are taken than that needs, and they need not be kept.
    """
    order = np.argsort(numbers, kind="stable")
    found, start, done = list[dict[str, NDArray[Any]]](), 0, 0
    for piece in pieces:
        stop = start + len(next(iter(piece.values())))
        end = done + int(np.searchsorted(numbers[order[done:]], stop))
        found.append({name: values[numbers[order[done:end]] - start] for name, values in piece.items()})
        start, done = stop, end
        if done == len(numbers):
            break
    back = np.argsort(order)
    return {name: np.concatenate([piece[name] for piece in found])[back] for name in found[0]}


def edit(
    latents: ArrayLike, directions: Mapping[str, Mapping[str, Any]], strengths: Mapping[str, float]
) -> NDArray[np.float32]:
    """Return the latents, [N, *shape] or one, moved along named directions: ``+ strength * vector`` for each.

    ``directions`` are the metadata's, or those of a file of directions, whose ``"vector"`` is the direction in
    row-major order; of styles [N, L, D] one of D numbers for all layers, or for those from the first to the last of its
    ``"layers"``. Raises ValueError for an unknown name, and for a vector of another length than the latents.
    """
    edited = np.array(latents, np.float32)
    for name, strength in strengths.items():
        if name not in directions:
            raise ValueError(f"there is no direction {name!r}; there is: {', '.join(directions) or 'none'}")
        vector = np.asarray(directions[name]["vector"], np.float32).reshape(-1)
        if vector.size not in [math.prod(edited.shape[axis:]) for axis in range(edited.ndim)]:
            raise ValueError(f"the direction {name!r} has {vector.size} numbers: it is of a model with other latents")
        with np.errstate(over="ignore", invalid="ignore"):  # drawing a sample says what is wrong
            moved = np.float32(strength) * np.tile(vector, edited.size // vector.size).reshape(edited.shape)
            if (layers := directions[name].get("layers")) is not None:
                if edited.ndim < 2 or edited.shape[-1] != vector.size:
                    raise ValueError(f"the direction {name!r} is of layers: it moves styles, [N, L, {vector.size}]")
                first, last = layers
                moved[..., :first, :] = 0
                moved[..., last + 1 :, :] = 0
            edited += moved
    return edited
