"""Latents of a model, by the numbers of its samples, and the images that they give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ganzoo import Attributes, Image, Label, Latent, Sampler, Signature, UserError, did_you_mean, files
from ganzoo_plugins.latent.directions import Directions, check_directions, read_directions
from ganzoo_runtime.images import pixels as to_pixels

__all__ = ["Editor", "find_latent"]

Latents = NDArray[np.float32]


def find_latent(signature: Signature, name: str | None = None) -> Latent:
    """Return the latent of this name, the first one if left out; raises :class:`UserError` if there is none."""
    latents = {field.name: field for field in signature.inputs if isinstance(field, Latent)}
    if not latents:
        raise UserError("this model takes no latents")
    if name is not None and name not in latents:
        raise UserError(f"there is no latent {name!r}{did_you_mean(name, latents)}")
    return latents[name] if name is not None else next(iter(latents.values()))


class Editor:
    """Draws chosen latents of a model of images, with what is ``asked`` of it besides held fixed.

    A sample has the number that ``ganzoo sample`` gives it, with that number's latents, classes and attributes.
    ``asked`` are the arguments seed, truncation, label (classes by name) and attributes (numbers by name) of
    :meth:`ganzoo.Sampler.sample`. ``latent`` is the one that is chosen, by name, of a model with several; the first if
    left out. Raises :class:`UserError` for a model that has no such latent or draws no images.
    """

    def __init__(self, sampler: Sampler, asked: Mapping[str, Any], latent: str | None = None) -> None:
        self.sampler = sampler
        self.signature = Signature.from_json(sampler.metadata["signature"])
        if not isinstance(self.signature.output, Image):
            raise UserError("this model draws no images that could be edited")
        self.field, self.output = find_latent(self.signature, latent), self.signature.output
        self._others = [
            field.name for field in self.signature.inputs if isinstance(field, Latent) and field is not self.field
        ]
        self._seed, self._truncation = asked["seed"], asked["truncation"]
        self._classes: Mapping[str, int] = asked["label"] or {}
        self._values: Mapping[str, float] = asked["attributes"] or {}

    def latents(self, numbers: Sequence[int], seed: int | None = None) -> Latents:
        """Return the latents of the samples with these numbers, [N, *shape]; of another seed than asked, if given."""
        return self._drawn(numbers, self.field.name, seed)

    def read_latents(self, path: Path) -> Latents:
        """Return the latents, [N, *shape], in a .npy, or in an .npz under ``latents`` or the latent's own name."""
        arrays = files.read_arrays(path, ("latents", self.field.name))
        found = next((arrays[name] for name in ("", "latents", self.field.name) if name in arrays), None)
        if found is None:
            raise UserError(f"no latents can be read from {path}: there is no 'latents' in it")
        with np.errstate(all="ignore"):  # what is no number, or too large for float32, is refused below
            latents = np.asarray(found, np.float32)
        shape = self.field.shape
        if latents.shape[-len(shape) :] != shape or latents.ndim > len(shape) + 1:
            raise UserError(f"{path} holds no latents of this model, which have the shape {list(shape)}")
        if not np.isfinite(latents).all():
            raise UserError(f"{path} holds latents that are not finite, as float32")
        return latents.reshape(-1, *shape)

    def combinations(self) -> int:
        """Return how many combinations there are of the classes that nothing was asked about."""
        fields = (field for field in self.signature.inputs if isinstance(field, Label))
        return prod(field.classes for field in fields if field.name not in self._classes)

    def attributes(self, numbers: ArrayLike, changed: Mapping[str, float] | None = None) -> Latents | None:
        """Return the attributes of the samples with these numbers, [N, dim], some ``changed`` by name; None without."""
        field = next((field for field in self.signature.inputs if isinstance(field, Attributes)), None)
        if field is None:
            return None
        names = field.names or tuple(map(str, range(field.dim)))
        rows = np.array(field.examples or [[0.0] * field.dim], np.float32)
        for name, value in {**self._values, **(changed or {})}.items():
            rows[:, names.index(name)] = value
        return rows[np.asarray(numbers) % len(rows)]

    def draw(
        self,
        latents: Latents,
        numbers: ArrayLike,
        examples: ArrayLike | None = None,
        *,
        attributes: Latents | None = None,
    ) -> NDArray[np.uint8]:
        """Return images of latents, [N, *shape], as pixels, uint8 [N, H, W, C].

        ``numbers`` [N] are the numbers of samples whose classes, attributes and other latents they get; if ``examples``
        are given, [N] or [1], they get the attributes and the other latents of these. ``attributes``, [N, dim], are
        used as they are.
        """
        held = np.broadcast_to(np.asarray(numbers if examples is None else examples), len(latents))
        rest = np.asarray(numbers)
        classes: dict[str, Any] = {}
        for field in self.signature.inputs:
            match field:
                case Label(name=name) if name in self._classes:
                    classes[name] = self._classes[name]
                case Label(name=name):
                    classes[name], rest = rest % field.classes, rest // field.classes
        given = {self.field.name: latents}
        if self._others:
            few, places = np.unique(held, return_inverse=True)
            given |= {name: self._drawn(few.tolist(), name)[places] for name in self._others}
        samples = self._checked(
            self.sampler.sample,
            len(latents),
            label=classes or None,
            attributes=self.attributes(held) if attributes is None else attributes,
            latents=given,
        )
        return to_pixels(samples, self.output.range, self.output.layout)

    def directions(self, path: Path | None) -> Directions:
        """Return the directions of the latent in the file, or those that the model file brings along."""
        if path is not None:
            known = read_directions(path, self.signature)
        else:
            known = check_directions(self.sampler.metadata.get("directions", {}), self.signature, "the model file")
        return {name: entry for name, entry in known.items() if entry["latent"] == self.field.name}

    def _drawn(self, numbers: Sequence[int], name: str, seed: int | None = None) -> Latents:
        seed = self._seed if seed is None else seed
        latents: Latents = self._checked(self.sampler.latents, numbers, seed, name, truncation=self._truncation)
        return latents

    @staticmethod
    def _checked(draw: Any, *arguments: Any, **asked: Any) -> Any:
        try:
            return draw(*arguments, **asked)
        except ValueError as error:  # the runtime's own
            raise UserError(str(error)) from None
