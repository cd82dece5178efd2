"""Directions in the space of latents: fitted from labeled samples, found without labels, kept in JSON files.

A file of directions maps names to ``{"latent", "vector", "range", "method", ...}``: which latent, the direction as a
unit vector in row-major order (of styles one of D numbers for all layers, or for those from the first to the last of
``"layers"``), the strengths that a slider offers (a strength is how far along it a latent is moved),
and how it came about. The metadata of an exported file has the same under ``"directions"``, as has a file that holds a
mean of latents (``"latent_mean"``) beside.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ganzoo import Latent, Signature, Styles, UserError, files, read_directions

if TYPE_CHECKING:
    from ganzoo import Network

__all__ = [
    "Directions",
    "Method",
    "describe",
    "find_components",
    "find_in_first_layer",
    "find_in_style_layers",
    "fit",
    "held_out",
    "kept_entries",
    "project_out",
    "write_directions",
]

Directions = dict[str, dict[str, Any]]
Vector = NDArray[np.float64]
Method = Literal["difference", "svm"]

LEAST = 10
"""Labeled samples that a fit needs."""

_REACH = 3.0  # standard deviations of the latent to either side
_SAME = 1e-3  # the length of what two unit vectors may differ by and still count as one


def write_directions(path: Path, directions: Directions, signature: Signature) -> None:
    """Write directions to a file; those that it holds already and that have other names are kept, as is its mean."""
    entries = kept_entries(path, signature)
    entries["directions"] = {**entries.get("directions", {}), **directions}
    document = entries if "latent_mean" in entries else entries["directions"]
    files.write_atomic(path, json.dumps(document, indent=1) + "\n")


def kept_entries(path: Path, signature: Signature) -> dict[str, Any]:
    """Return what a file of directions holds already; raises :class:`UserError` if none of this model fit into it."""
    files.check_writable(path)
    try:
        return read_directions(path, signature) if path.exists() else {}
    except UserError as error:
        raise UserError(f"{error}; it is kept, so choose another --out") from None


def describe(
    field: Latent | Styles, vector: Vector, method: str, latents: ArrayLike | None = None, **metadata: Any
) -> dict[str, Any]:
    """Return a direction as files hold it, with ``metadata`` beside; the vector is scaled to length 1.

    Of styles, whose spread is not known beforehand, it takes ``latents`` [N, D].
    """
    unit = vector.reshape(-1) / np.linalg.norm(vector)
    if isinstance(field, Latent):
        spread = 1.0 if field.distribution == "normal" else 3**-0.5
    else:
        assert latents is not None
        spread = float((np.asarray(latents, np.float64) @ unit).std()) or 1.0
    reach = float(f"{_REACH * spread:.3g}")
    numbers = [float(f"{number:.7g}") for number in unit]
    return {"latent": field.name, "vector": numbers, "range": [-reach, reach], "method": method, **metadata}


def fit(latents: ArrayLike, values: ArrayLike, method: Method = "difference") -> Vector:
    """Return the unit vector, flat, along which the values of samples grow, from their latents [N, ...] and values [N].

    ``"difference"`` is the covariance of latents and values: of two classes, the difference of their means. ``"svm"``
    is the normal of the linear support vector machine that tells values above the median from the others, or the two
    classes apart (InterFaceGAN, arXiv:2005.09635). Raises :class:`UserError` where there is nothing to fit.
    """
    points, targets = np.asarray(latents, np.float64), np.asarray(values, np.float64)
    if len(points) < LEAST:
        raise UserError(f"a direction is fitted to at least {LEAST} labeled samples, not {len(points)}")
    if np.ptp(targets) == 0:
        raise UserError("a direction is fitted to samples of different values; these are all the same")
    vector = _fit(points.reshape(len(points), -1), targets, method)
    if not np.linalg.norm(vector) > 0:
        raise UserError("the values of these samples have nothing to do with their latents")
    return vector / np.linalg.norm(vector)


def _fit(points: Vector, targets: Vector, method: Method) -> Vector:
    if method == "difference":
        return np.asarray((points - points.mean(axis=0)).T @ (targets - targets.mean()))
    from sklearn.svm import LinearSVC

    middle = np.median(targets)
    above = targets > middle if middle < targets.max() else targets == middle
    machine = LinearSVC(C=0.01, dual=len(points) < points.shape[1], random_state=0, max_iter=20_000)
    return np.asarray(machine.fit(points, above).coef_[0])


def held_out(latents: ArrayLike, values: ArrayLike, method: Method = "difference", folds: int = 5) -> float:
    """Return how well directions predict values that they were not fitted to: the correlation, over all folds."""
    points, targets = np.asarray(latents, np.float64), np.asarray(values, np.float64)
    points = points.reshape(len(points), -1)
    order = np.random.Generator(np.random.Philox(0)).permutation(len(points))
    predicted = np.zeros(len(points))
    for fold in range(folds):
        left_out = np.zeros(len(points), bool)
        left_out[order[fold::folds]] = True
        if np.ptp(targets[~left_out]) > 0:
            vector = _fit(points[~left_out], targets[~left_out], method)
            predicted[left_out] = points[left_out] @ vector / (np.linalg.norm(vector) or 1.0)
    return float(np.corrcoef(predicted, targets)[0, 1]) if np.ptp(predicted) > 0 else 0.0


def project_out(vector: Vector, others: Sequence[Vector]) -> Vector:
    """Return the vector without its share in the span of the others, as a unit vector: it leaves their factors alone.

    This is the conditional direction of InterFaceGAN (arXiv:2005.09635). Raises :class:`UserError` for a vector that
    lies in that span.
    """
    rest = vector / np.linalg.norm(vector)
    if others:
        basis, sizes, _ = np.linalg.svd(np.stack(others, axis=1), full_matrices=False)
        basis = basis[:, sizes > _SAME * sizes[0]]
        rest = rest - basis @ (basis.T @ rest)
    length = np.linalg.norm(rest)
    if length < _SAME:
        raise UserError("the direction is a mixture of the others, so nothing of it is its own")
    return np.asarray(rest / length)


def find_components(latents: ArrayLike, samples: ArrayLike, groups: ArrayLike, k: int) -> list[Vector]:
    """Return the ``k`` directions along which samples change most, as unit vectors, the strongest first.

    ``latents`` [N, ...] and ``samples`` [N, ...] belong together, and each of the ``groups`` [N], such as classes, is
    looked at around its own mean. The principal components of the samples are carried over to the latents by
    regression (GANSpace, arXiv:2004.02546). For normal latents this is the singular value decomposition of the
    generator's mean Jacobian, by Stein's lemma. Raises :class:`~ganzoo.UserError` for fewer samples than that takes.
    """
    points, values = (np.asarray(part, np.float64).reshape(len(np.asarray(part)), -1) for part in (latents, samples))
    seen, wanted = np.unique(groups), min(k, points.shape[1], values.shape[1])
    if len(points) < wanted + len(seen):  # around a mean each, so many differ in fewer directions
        raise UserError(
            f"{wanted} directions are found from {wanted + len(seen)} samples or more, not from {len(points)}"
        )
    for group in seen:
        of_it = np.asarray(groups) == group
        values[of_it] -= values[of_it].mean(axis=0)
    left, _, _ = np.linalg.svd((points - points.mean(axis=0)).T @ values, full_matrices=False)
    return [_pointing(left[:, index]) for index in range(wanted)]


def find_in_first_layer(network: Network, inputs: Sequence[Any], index: int, k: int) -> list[Vector]:
    """Return the ``k`` directions that the first layer amplifies most, as unit vectors, the strongest first.

    The closed-form factorisation of SeFa (arXiv:2007.06600): eigenvectors of ``A.T @ A`` for the first layer's weight
    ``A``. The layer is the first linear or convolutional one whose output depends on the latent, which is number
    ``index`` of the ``inputs``, [1, ...] each. ``A`` is read off as the derivative there, so that whatever else is put
    into that layer does not matter.
    """
    import torch
    from torch import Tensor, nn
    from torch.nn.modules.conv import _ConvNd

    class Found(Exception):
        """The first layer has been computed."""

    def stop(module: nn.Module, given: Any, output: Tensor) -> None:
        if output.requires_grad:
            raise Found(output)

    def first(latent: Tensor) -> Tensor:
        try:
            network(*inputs[:index], latent, *inputs[index + 1 :])
        except Found as found:
            output: Tensor = found.args[0]
            return output
        raise UserError("the network has no linear or convolutional layer that the latent goes into")

    layers = [module for module in network.modules() if isinstance(module, nn.Linear | _ConvNd)]
    hooks = [layer.register_forward_hook(stop) for layer in layers]
    try:
        jacobian = torch.autograd.functional.jacobian(first, inputs[index])
    finally:
        for hook in hooks:
            hook.remove()
    weight = jacobian.reshape(-1, inputs[index].numel()).double().cpu().numpy()
    _, _, right = np.linalg.svd(weight, full_matrices=False)
    return [_pointing(row) for row in right[:k]]


def find_in_style_layers(
    network: Network, inputs: Sequence[Any], index: int, layers: tuple[int, int], k: int
) -> list[Vector]:
    """Return the ``k`` directions of W that the affine layers of these styles amplify most, the strongest first.

    SeFa (arXiv:2007.06600) for style-based generators: eigenvectors of ``A.T @ A``, where ``A`` stacks the weights of
    the layers which a style goes into as it is; ``layers`` are the first and the last of these. Weights are taken as
    they are, as the paper has it; the authors' code scales each row to length 1 first. ``inputs`` are any of the
    network, [1, ...] each, and styles are number ``index`` of them.
    """
    import torch
    from torch import Tensor, nn

    first, last = layers
    styles = torch.randn_like(inputs[index])
    found: list[Tensor] = []

    def look(module: nn.Module, given: Any, output: Tensor) -> None:
        for style in styles[0, first : last + 1]:
            if len(given) == 1 and given[0].shape == (1, len(style)) and torch.equal(given[0][0], style):
                found.append(torch.autograd.functional.jacobian(module.forward, given[0])[0, :, 0])

    weighted = [module for module in network.modules() if isinstance(getattr(module, "weight", None), Tensor)]
    hooks = [module.register_forward_hook(look) for module in weighted]
    # A share of 0 of what is mapped: the given styles alone.
    shares = [torch.zeros_like(part) for part in inputs[index - 1 : index]]
    try:
        network(*inputs[: index - 1], *shares, styles, *inputs[index + 1 :])
    finally:
        for hook in hooks:
            hook.remove()
    if not found:
        raise UserError("the network has no linear layer that its styles go into as they are")
    _, _, right = np.linalg.svd(torch.cat(found).double().cpu().numpy(), full_matrices=False)
    return [_pointing(row) for row in right[:k]]


def _pointing(vector: Vector) -> Vector:
    """Choose the sign, which such methods leave open, so that the largest entry is above 0."""
    return np.asarray(vector * np.sign(vector[np.abs(vector).argmax()]))
