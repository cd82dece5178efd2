"""Latents of a model, by the numbers of its samples, and the images that they give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ganzoo import (
    Attributes,
    Field,
    Image,
    Label,
    Latent,
    Sampler,
    Signature,
    Styles,
    UserError,
    did_you_mean,
    files,
    read_directions,
)
from ganzoo_plugins.latent.directions import Directions
from ganzoo_runtime.captions import caption_text, is_caption
from ganzoo_runtime.images import pixels as to_pixels
from ganzoo_runtime.marking import provenance
from ganzoo_runtime.metadata import check_directions
from ganzoo_runtime.random_inputs import check_memory

__all__ = ["Editor", "find_latent"]

Latents = NDArray[np.float32]


def find_latent(signature: Signature, name: str | None = None, *, given: bool = False) -> Latent | Styles:
    """Return what is edited: the latent, or styles, of this name; raises :class:`UserError` if there is none.

    If the name is left out it is the styles of a style-based model, and else the first latent; with ``given`` always
    the latent, since classes and attributes, which are to be chosen for each sample, are in the styles already.
    """
    latents = {field.name: field for field in signature.inputs if isinstance(field, Latent | Styles)}
    if not latents:
        raise UserError("this model takes no latents")
    if name is not None and name not in latents:
        raise UserError(f"there is no latent {name!r}{did_you_mean(name, latents)}")
    if name is None:
        styles = [] if given else [each.name for each in latents.values() if isinstance(each, Styles)]
        name = next(iter([*styles, *latents]))
    if given and isinstance(latents[name], Styles):
        raise UserError(f"classes and attributes are in the styles {name!r} already; give --on with a latent")
    return latents[name]


class Editor:
    """Draws chosen latents of a model of images, with what is ``asked`` of it besides held fixed.

    A sample has the number that ``ganzoo sample`` gives it, with that number's latents, classes and attributes.
    ``asked`` are the arguments seed, truncation, label (classes by name), attributes (numbers by name) and, if there
    are any, text (captions) of :meth:`ganzoo.Sampler.sample`. ``latent`` is the one that is chosen, by name, of a model
    with several; see :func:`find_latent`. Styles are edited like latents, [N, L, D] one for each layer, and hold the
    classes and attributes of their sample. ``claims`` are what files of its images say of where they come from. Raises
    :class:`UserError` for a model that has no such latent or draws samples of another kind than ``kinds``.
    """

    def __init__(
        self,
        sampler: Sampler,
        asked: Mapping[str, Any],
        latent: str | None = None,
        *,
        given: bool = False,
        kinds: tuple[type[Field], ...] = (Image,),
    ) -> None:
        self.sampler = sampler
        self.signature = Signature.from_json(sampler.metadata["signature"])
        if not isinstance(self.signature.output, kinds):
            raise UserError("this model draws no images that could be edited")
        self.field, self.output = find_latent(self.signature, latent, given=given), self.signature.output
        self.styled = isinstance(self.field, Styles)
        others = (field.name for field in self.signature.inputs if isinstance(field, Latent))
        self._others = [] if self.styled else [name for name in others if name != self.field.name]
        self._seed, self._truncation = asked["seed"], asked["truncation"]
        self.claims = provenance(sampler.metadata, self._seed)
        self._classes: Mapping[str, int] = asked["label"] or {}
        self._values: Mapping[str, float] = asked["attributes"] or {}
        self._texts: Sequence[str] = asked.get("text", ())
        self.noise: dict[str, Any] = {}

    def latents(self, numbers: Sequence[int], seed: int | None = None, texts: Sequence[str] | None = None) -> Latents:
        """Return the latents of the samples with these numbers, [N, *shape].

        If given, of another seed than asked, and styles of other captions. Raises :class:`UserError` for more samples
        than memory holds.
        """
        self._checked(check_memory, len(numbers), 4 * prod(self.output.shape))
        if not self.styled:
            return self._drawn(numbers, self.field.name, seed)
        asked = {"label": self._classes or None, "attributes": self._values or None, "truncation": self._truncation}
        if texts := texts or self._texts:
            asked["text"] = texts
        styles: Latents = self._checked(self.sampler.styles, numbers, self._seed if seed is None else seed, **asked)
        return styles

    @property
    def spherical(self) -> bool:
        """Whether a walk between latents goes along great circles, which it does where they are normal."""
        return isinstance(self.field, Latent) and self.field.distribution == "normal"

    def vectors(self, latents: Latents) -> Latents:
        """Return what directions of the latents [N, *shape] are of, [N, d]: of styles the mean over layers."""
        return latents.mean(axis=1) if self.styled else latents.reshape(len(latents), -1)

    def read_latents(self, path: Path) -> Latents:
        """Return the latents, [N, *shape], in a .npy, or in an .npz under ``latents`` or the latent's own name.

        Where styles have ``noise`` in the file, :attr:`noise`, the samples of these numbers are drawn with it.
        """
        arrays = files.read_arrays(path, ("latents", self.field.name, "noise"))
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
        latents = latents.reshape(-1, *shape)
        if not len(latents):
            raise UserError(f"{path} holds no latents: there is none in its array")
        if self.styled and "noise" in arrays:
            if arrays["noise"].shape[:1] != latents.shape[:1]:
                raise UserError(f"{path} does not hold noise for each of its {len(latents)} latents")
            self.noise = {"noise": arrays["noise"]}
        return latents

    def combinations(self) -> int:
        """Return how many combinations of classes there are to choose from; those in styles are chosen."""
        return 1 if self.styled else self.groups

    @property
    def groups(self) -> int:
        """How many combinations of classes samples have in turn."""
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

    def texts(self, numbers: ArrayLike) -> list[str]:
        """Return the captions of the samples with these numbers; none of a model without captions."""
        fields = [field.to_json() for field in self.signature.inputs]
        of = next((field for field in fields if is_caption(field)), None)
        if of is None:
            return list(self._texts)
        known = self._texts or [caption_text(row, of) for row in of.get("examples", [])]
        return [known[number % len(known)] for number in np.asarray(numbers).tolist()]

    def draw(
        self,
        latents: Latents,
        numbers: ArrayLike,
        examples: ArrayLike | None = None,
        *,
        attributes: Latents | None = None,
    ) -> NDArray[np.uint8]:
        """Return images of latents, [N, *shape], as pixels, uint8 [N, H, W, C].

        See :meth:`computed`.
        """
        assert isinstance(self.output, Image)
        samples = self.computed(latents, numbers, examples, attributes=attributes)
        return to_pixels(samples, self.output.range, self.output.layout)

    def sentences(
        self,
        latents: Latents,
        numbers: ArrayLike,
        examples: ArrayLike | None = None,
        *,
        attributes: Latents | None = None,
    ) -> list[str]:
        """Return what a model of text writes for latents, [N, *shape]; tokens without texts as numbers.

        See :meth:`computed`.
        """
        found = self.output.stored(self.computed(latents, numbers, examples, attributes=attributes))
        return found["text"].tolist() if found.dtype.names else [" ".join(map(str, row)) for row in found.tolist()]

    def computed(
        self,
        latents: Latents,
        numbers: ArrayLike,
        examples: ArrayLike | None = None,
        *,
        attributes: Latents | None = None,
    ) -> NDArray[Any]:
        """Return the samples of latents, [N, *shape], as the model gives them.

        ``numbers`` [N] are the numbers of samples whose classes, attributes and other latents they get; if ``examples``
        are given, [N] or [1], they get the attributes and the other latents of these. ``attributes``, [N, dim], are
        used as they are.
        """
        held = np.broadcast_to(np.asarray(numbers if examples is None else examples), len(latents))
        rest = np.asarray(numbers)
        classes: dict[str, Any] = {}
        for field in () if self.styled else self.signature.inputs:
            match field:
                case Label(name=name) if name in self._classes:
                    classes[name] = self._classes[name]
                case Label(name=name):
                    classes[name], rest = rest % field.classes, rest // field.classes
        given = {self.field.name: latents}
        if self._others:
            few, places = np.unique(held, return_inverse=True)
            given |= {name: self._drawn(few.tolist(), name)[places] for name in self._others}
        given |= {name: rows[held] for name, rows in self.noise.items()}
        texts = [] if self.styled else self.texts(held)
        samples: NDArray[Any] = self._checked(
            self.sampler.sample,
            len(latents),
            **({"text": texts} if texts else {}),
            label=classes or None,
            attributes=self.attributes(held) if attributes is None and not self.styled else attributes,
            truncation=self._truncation,
            latents=given,
        )
        return samples

    def directions(self, path: Path | None, *, every: bool = False) -> Directions:
        """Return the directions of the latent in the file, or those that the model file brings along.

        With ``every`` those of all latents.
        """
        if path is not None:
            known: Directions = read_directions(path, self.signature).get("directions", {})
        else:  # a plugin's format need not have checked them
            known = self.sampler.metadata.get("directions", {})
            self._checked(check_directions, {"directions": known}, [each.to_json() for each in self.signature.inputs])
        return {name: entry for name, entry in known.items() if every or entry["latent"] == self.field.name}

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
