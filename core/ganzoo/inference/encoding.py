"""Finding the latents of images: by an encoder, by projection on the generator, or by both."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from ganzoo.errors import UserError, at_least, one_of, path_of
from ganzoo.fields import Attributes, Image, Label, Latent, Styles
from ganzoo.files import atomic_path
from ganzoo.images.grids import save_comparison
from ganzoo.images.reading import fitted
from ganzoo.inference.opening import Model, load
from ganzoo.inference.sources import Sources, image_reader
from ganzoo.terminal import print
from ganzoo_runtime.images import pixels as to_pixels
from ganzoo_runtime.marking import COMPOSITE, provenance
from ganzoo_runtime.text import counted

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.gan.networks import Network
    from ganzoo.inference.model import TrainedModel
    from ganzoo_runtime.random_inputs import Vectors

__all__ = ["Encoding", "Space", "encode"]

Space = Literal["z", "w", "w+"]
"""What is looked for: a latent, a style for all layers, or one for each of them."""

Floats = NDArray[np.float32]

_LEADS = 64  # random latents of which the nearest is where gradients start
_STYLES = 1000  # that the mean and the spread of W are taken from


@dataclass(frozen=True, eq=False)
class Encoding:
    """The result of :func:`encode`: a latent for each image."""

    latents: Floats
    """float32 [N, *shape], as the generator takes them; in W and W+ styles, [N, L, D]."""

    files: Sequence[Path]
    """The N files of the images."""

    images: Floats
    """The images as the network was given them, float32 [N, C, H, W] in ``range``."""

    range: tuple[float, float]

    generator: _Conditioned | None
    """What draws images from the latents, if it was loaded."""

    space: Space = "z"
    """What the latents are."""

    noise: Floats | None = None
    """The noise of each image, float32 [N, S], if it was looked for; ``sample`` takes it as the latent ``"noise"``."""

    @cached_property
    def reconstructions(self) -> Floats:
        """What the generator draws from the latents, float32 [N, C, H, W] in ``range``.

        Raises :class:`~ganzoo.UserError` if the generator was not loaded.
        """
        if self.generator is None:
            raise UserError("the generator is not loaded; encode with reconstruct=True")
        return self.generator(self.latents, self.noise)

    @property
    def difference(self) -> float:
        """The mean absolute difference of the reconstructions' pixels from the images', as a share of their range."""
        low, high = self.range
        return float(np.abs(self.reconstructions - self.images).mean() / (high - low))

    def save(self, path: str | PathLike[str]) -> None:
        """Write an .npz: ``latents``, called ``w`` if they are styles, ``noise`` if it was found, the ``files``."""
        if path_of("path", path).suffix.lower() != ".npz":
            raise UserError(f"latents are written to an .npz, not to {path}")
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            arrays: dict[str, Any] = {"latents" if self.space == "z" else "w": self.latents}
            arrays |= {} if self.noise is None else {"noise": self.noise}
            np.savez(file, **arrays, files=np.array([str(each) for each in self.files]))

    def save_grid(self, path: str | PathLike[str]) -> None:
        """Draw a .png of the images, each beside its reconstruction; one of the images is not overwritten."""
        if path_of("path", path).suffix.lower() != ".png":
            raise UserError(f"a grid is a .png, not {path}")
        Sources(Path(path), self.files).refuse_overwriting([Path(path)])
        columns = [to_pixels(each, self.range) for each in (self.images, self.reconstructions)]
        assert self.generator is not None  # it has drawn the reconstructions
        claims = provenance(self.generator.model.metadata) | {"source_type": COMPOSITE}
        save_comparison(path, columns, claims)


@dataclass(frozen=True)
class _Conditioned:
    """A generator as a function of the latent, or the styles, alone: what else it takes is chosen."""

    model: TrainedModel
    asked: Mapping[str, Any]
    field: Latent | Styles

    def __call__(self, latents: Floats, noise: Floats | None = None) -> Floats:
        given = {self.field.name: latents, **({} if noise is None else {"noise": noise})}
        return self.model.sample(len(latents), latents=given, **self.asked)


def encode(
    model: Model,
    source: str | PathLike[str],
    *,
    optimize: bool = False,
    space: Space | None = None,
    noise: bool = False,
    steps: int = 200,
    label: int | str | Mapping[str, int | str] | None = None,
    attributes: Vectors = None,
    reconstruct: bool = False,
    background: str = "white",
    max_pixels: int | None = None,
    seed: int = 0,
    quiet: bool = False,
) -> Encoding:
    """Find latents that a generator draws images from: of an image file, or of all in a folder.

    ``model`` is called as in :func:`ganzoo.load`. Its encoder is asked, if it has one; with ``optimize`` what the
    encoder finds is improved, or found without one, so that the drawn image comes near: in so many ``steps`` of
    gradients for a run, of a search without gradients for a file. It is looked for in the ``space`` of latents
    (``"z"``), or of the styles of a style-based model (``"w"``, its default; ``"w+"`` with a style for each layer, of a
    run alone); in these two near means as the run's own discriminator sees it, and elsewhere in pixels. With ``noise``
    each image is given noise maps of its own besides, which a run alone draws with. A conditional generator is given
    the class ``label``, by index or name, or a class for each of several labels by the label's name, and ``attributes``
    as in :meth:`ganzoo.Sampler.sample`, the same for all images; no label may be left out. With ``reconstruct`` the
    generator is loaded for :attr:`Encoding.reconstructions` even if it is not needed otherwise.

    Images are scaled and cut to the size that the network takes. Transparent pixels are laid on the color
    ``background``, and images of more than ``max_pixels`` pixels (by default 134 million) are refused. Progress goes to
    stderr unless ``quiet``; what cannot be read in a folder is skipped, and named in a warning of the logger
    ``ganzoo``. ``seed`` decides what is drawn at random.

    Raises :class:`~ganzoo.UserError` if the model has neither an encoder nor ``optimize``, if its generator draws no
    images from a latent, if a label is missing, if it adds no noise maps that are asked for, and if no image can be
    read.
    """
    at_least("--steps", steps, 1)
    at_least("--seed", seed, 0)
    one_of("space", space, (None, "z", "w", "w+"))
    if space is not None and not optimize:
        raise UserError("the space is where --optimize looks; give that too")
    if noise and not optimize:
        raise UserError("noise is what --optimize finds besides; give that too")
    encoder = _encoder(model, required=not optimize)
    generator: _Conditioned | None = None
    if encoder is None or optimize or reconstruct or label is not None or attributes is not None:
        generator, space = _generator(model, label, attributes, space if optimize else "z", noise)
        image = generator.model.signature.output
    if encoder is not None:
        image = encoder.signature.inputs[0]
    assert isinstance(image, Image)
    reader, size = image_reader(image, background, max_pixels), replace(image, multiple=None)
    read = dict(Sources.find(path_of("source", source)).each(lambda path: fitted(reader.read(path), size), quiet=quiet))
    low, high = image.range
    images = np.stack(list(read.values())).astype(np.float32) * np.float32((high - low) / 255) + np.float32(low)
    latents = encoder(images) if encoder is not None else None
    maps = None
    if optimize:
        assert generator is not None
        if not quiet:
            print(f"looking for {counted(len(images), 'latent')} by {generator.model.device}", file=sys.stderr)
        if space == "z":
            latents = _improved(generator, images, latents, steps, seed)
        else:
            each = space == "w+"
            latents, maps = _projected(generator, images, latents, steps, seed, each=each, noise=noise, quiet=quiet)
    assert latents is not None
    return Encoding(np.asarray(latents, np.float32), list(read), images, image.range, generator, space or "z", maps)


def _encoder(model: Model, *, required: bool) -> TrainedModel | None:
    """Return the model's encoder; None if it has none and none is ``required``."""
    try:
        encoder = load(model, "encoder")
    except UserError as error:
        if required:
            raise UserError(f"{error}; or do without an encoder, with --optimize") from None
        return None
    signature = encoder.signature
    if not isinstance(signature.output, Latent) or [field.kind for field in signature.inputs] != ["image"]:
        raise UserError(f"the encoder of {model} is none that maps an image to a latent")
    return encoder


def _generator(
    model: Model,
    label: int | str | Mapping[str, int | str] | None,
    attributes: Vectors,
    space: Space | None,
    noise: bool,
) -> tuple[_Conditioned, Space]:
    """Return the model's generator, conditioned, and the space that is looked in, its best one if left open.

    Raises :class:`UserError` if it is none that can be encoded for.
    """
    from ganzoo.inference.sampling import TorchSampler

    loaded = load(model, "generator")
    signature = loaded.signature
    if not isinstance(signature.output, Image) or not isinstance(signature.inputs[0], Latent):
        raise UserError(f"{model} draws no images from a latent, so there is nothing to encode to")
    if signature.output.layout:
        raise UserError(f"{model} gives pixels; encode with a file that was exported without --pixels")
    labels = [field.name for field in signature.inputs if isinstance(field, Label)]
    if label is not None and not labels:
        raise UserError("this model has no labels; leave the label out")
    if attributes is not None and not any(isinstance(field, Attributes) for field in signature.inputs):
        raise UserError("this model has no attributes; leave the attributes out")
    said = labels if label is not None and not isinstance(label, Mapping) else label or ()
    if missing := [name for name in labels if name not in said]:
        raise UserError(f"say with --label of which class the images are: the generator takes {missing[0]!r}")
    styles = next((field for field in signature.inputs if isinstance(field, Styles)), None)
    if space in ("w", "w+") and styles is None:
        raise UserError(f"{model} is not style-based, so it has no {space.upper()}; look in z")
    space = space or ("z" if styles is None else "w")
    if (noise or space == "w+") and not isinstance(loaded.sampler, TorchSampler):
        what = "noise maps are" if noise else "a style for each layer is"
        raise UserError(f"{what} found by gradients, so give a run folder; {model} is an exported file")
    if noise and (space == "z" or not getattr(loaded.generator, "noises", {})):
        raise UserError(f"noise maps are found beside styles, and in {space.upper()} {model} has none")
    field = signature.inputs[0] if space == "z" else styles
    return _Conditioned(loaded, {"label": label, "attributes": attributes}, cast(Latent | Styles, field)), space


def _improved(generator: _Conditioned, images: Floats, start: Floats | None, steps: int, seed: int) -> Floats:
    """Return latents [N, *shape] whose images are near ``images``, from ``start`` if there is one."""
    import torch

    from ganzoo.inference.projection import descend, search
    from ganzoo.inference.sampling import TorchSampler, draw_inputs, run_batched

    if not isinstance(generator.model.sampler, TorchSampler):
        return search(generator, images, generator.field.shape, start, steps, seed)
    network = generator.model.sampler.network
    _, *condition = draw_inputs(network.signature, len(images), seed, **generator.asked)
    wanted = torch.from_numpy(images)
    if start is None:
        # Start from the nearest of several random latents: from a bad start, gradients end in a poor local minimum.
        leads, *beside = draw_inputs(network.signature, _LEADS, seed, **generator.asked)
        drawn = run_batched(network, [leads, *beside])
        nearest = torch.cdist(wanted.flatten(1), drawn.flatten(1)).argmin(dim=1)
        start = leads[nearest].numpy()
    return descend(network, tuple(condition), wanted, torch.from_numpy(start), steps).numpy()


def _projected(
    generator: _Conditioned,
    images: Floats,
    start: Floats | None,
    steps: int,
    seed: int,
    *,
    each: bool,
    noise: bool,
    quiet: bool,
) -> tuple[Floats, Floats | None]:
    """Return styles [N, L, D] whose images are near ``images``: one for all layers, or one for ``each``.

    With ``noise`` that of each image comes along, [N, S]. ``start`` are latents of an encoder, if there is one.
    """
    import torch

    from ganzoo.gan.networks import StyleGenerator
    from ganzoo.inference.projection import ImageDistance, descend_styles, search
    from ganzoo.inference.sampling import TorchSampler, draw_inputs, run_batched

    model, n = generator.model, len(images)
    layers, dim = generator.field.shape
    some = model.styles(_STYLES, seed, **generator.asked)[:, 0].astype(np.float64)
    mean, deviation = some.mean(axis=0), some.std(axis=0)
    if not isinstance(model.sampler, TorchSampler):

        def draw(found: Floats) -> Floats:
            # In units of the deviations W is as near to normal as the search assumes.
            styles = (mean + found * deviation).astype(np.float32)
            return generator(np.broadcast_to(styles[:, None], (len(styles), layers, dim)))

        found = mean + search(draw, images, (dim,), None, steps, seed) * deviation
        return np.broadcast_to(found[:, None], (n, layers, dim)).astype(np.float32), None
    network = model.sampler.network
    assert isinstance(network, StyleGenerator)
    network.eval().requires_grad_(False)
    names = (field.name for field in network.signature.inputs)
    inputs = dict(zip(names, draw_inputs(network.signature, n, seed, **generator.asked), strict=True))
    wanted = torch.from_numpy(images)
    if start is not None:
        conditions = [inputs[field.name] for field in network.signature.conditions]
        first = network.mapped(torch.from_numpy(start), *conditions)[:, :1]
    else:  # the nearest of some styles, among them the mean: for few numbers gradients are easily caught elsewhere
        leads = torch.from_numpy(np.stack([mean, *some[: _LEADS - 1]]).astype(np.float32))[:, None]
        drawn = run_batched(network, [leads.expand(-1, layers, -1)], compute=network.drawn)
        first = leads[torch.cdist(wanted.flatten(1), drawn.flatten(1)).argmin(dim=1)]
    distance = ImageDistance(wanted, *_discriminator(model, inputs))
    if not quiet:
        print(f"near in {distance.name}", file=sys.stderr)
    spread = float(np.sqrt((deviation**2).sum()))
    first = first.expand(-1, layers if each else 1, -1)
    *others, psi, _ = inputs.values()

    def flat(maps: Sequence[Tensor]) -> Tensor:
        return torch.cat([each.flatten(1) for each in maps], 1)

    def samples(styles: Tensor, *maps: Tensor) -> Tensor:
        return network.with_noise(*others, 0 * psi, styles, flat(maps)) if maps else network.drawn(styles)

    noises = [one.expand(n, -1, -1) for one in network.noises.values()] if noise else []
    styles, noises = descend_styles(samples, distance, first, layers, spread, steps, seed, noises)
    return styles.numpy(), flat(noises).numpy() if noise else None


def _discriminator(model: TrainedModel, inputs: Mapping[str, Tensor]) -> tuple[Network | None, Sequence[Tensor]]:
    """Return the run's discriminator with what it takes besides an image, of ``inputs`` by name; None if it has none.

    One that takes several images packed together is none.
    """
    try:
        network = load(model, "discriminator").generator
    except UserError:
        return None, ()
    image, *beside = network.signature.inputs
    if image.shape != model.signature.output.shape or any(field.name not in inputs for field in beside):
        return None, ()
    return network, [inputs[field.name] for field in beside]
