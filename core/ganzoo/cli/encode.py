"""``ganzoo encode``."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ganzoo.cli.conditions import Attribute, Classes, Model, Seed, conditions
from ganzoo.cli.images import Background, MaxPixels, Source, each_image, image_reader
from ganzoo.errors import UserError
from ganzoo.terminal import print

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ganzoo.inference.formats import Sampler

__all__ = ["encode"]


def encode(
    model: Model,
    source: Source,
    optimize: Annotated[
        bool,
        typer.Option(
            "--optimize",
            help="Improve on the encoder, or do without one: by gradients from a run folder, by search from a file.",
        ),
    ] = False,
    steps: Annotated[int, typer.Option(min=1, help="Steps of --optimize.")] = 200,
    label: Classes = None,
    attribute: Attribute = None,
    background: Background = "white",
    max_pixels: MaxPixels = None,
    seed: Seed = 0,
    sheet: Annotated[
        Path | None, typer.Option(help="FILE.png: the images, and what the generator draws from their latents.")
    ] = None,
    out: Annotated[Path, typer.Option(help="FILE.npz with the latents, and the names of the images.")] = Path(
        "latents.npz"
    ),
) -> None:
    """Find the latents that a generator draws images from.

    The file goes into 'ganzoo edit --latent' and 'ganzoo interpolate --latent'. Images are scaled and cut to the size
    that the generator draws; what cannot be read in a folder is skipped and named. A conditional generator is told the
    classes and attributes that are given here.
    """
    import numpy as np

    from ganzoo.fields import Image, Label, Latent, Signature
    from ganzoo.files import atomic_path
    from ganzoo.images.grids import save_comparison
    from ganzoo.images.reading import fitted
    from ganzoo.inference.opening import open_model
    from ganzoo_runtime.images import pixels as to_pixels

    if out.suffix.lower() != ".npz" or (sheet is not None and sheet.suffix.lower() != ".png"):
        raise UserError("--out is an .npz, and --sheet a .png")
    encoder = _encoder(model, required=not optimize)
    generator = open_model(model, network="generator") if encoder is None or optimize or sheet is not None else None
    told: dict[str, Any] = {}
    if generator is not None:
        signature = Signature.from_json(generator.metadata["signature"])
        drawn, latent = signature.output, signature.inputs[0]
        if not isinstance(drawn, Image) or not isinstance(latent, Latent):
            raise UserError(f"{model} draws no images from a latent, so there is nothing to encode to")
        image = drawn
        if image.layout:
            raise UserError(f"{model} gives pixels; encode with a file that was exported without --pixels")
        told = conditions(signature, seed, 1.0, label, attribute)
        unsaid = [each.name for each in signature.inputs if isinstance(each, Label)]
        if set(unsaid) - set(told["label"] or {}):
            raise UserError(f"say with --label of which class the images are: the generator is told {unsaid[0]!r}")
    if encoder is not None:
        taken = Signature.from_json(encoder.metadata["signature"]).inputs[0]
        assert isinstance(taken, Image)
        image = taken
    reader, size = image_reader(image, background, max_pixels), replace(image, multiple=None)
    read = dict(each_image(source, lambda path: fitted(reader.read(path), size)))
    pixels = np.stack(list(read.values()))
    low, high = image.range
    images = pixels.astype(np.float32) * np.float32((high - low) / 255) + np.float32(low)
    latents = encoder(images) if encoder is not None else None
    if optimize:
        assert generator is not None
        print(f"looking for {len(images)} latents by {generator.device}", file=sys.stderr)
        latents = _improved(generator, told, images, latents, latent.shape, steps, seed)
    assert latents is not None
    with atomic_path(out) as temporary, temporary.open("wb") as file:
        np.savez(file, latents=np.asarray(latents, np.float32), files=np.array([str(path) for path in read]))
    if sheet is not None:
        assert generator is not None
        returned = _draw(generator, told, latents)
        difference = float(np.abs(returned - images).mean() / (high - low))
        print(f"mean difference of pixels {difference:.3f} of their range", file=sys.stderr)
        save_comparison(sheet, [pixels.transpose(0, 2, 3, 1), to_pixels(returned, image.range)])
    print(out)


def _encoder(model: str, *, required: bool) -> Sampler | None:
    from ganzoo.fields import Latent, Signature
    from ganzoo.inference.opening import open_model

    try:
        encoder = open_model(model, network="encoder")
    except UserError as error:
        if required:
            raise UserError(f"{error}; or do without an encoder, with --optimize") from None
        return None
    signature = Signature.from_json(encoder.metadata["signature"])
    if not isinstance(signature.output, Latent) or [field.kind for field in signature.inputs] != ["image"]:
        raise UserError(f"the encoder of {model} is none that maps an image to a latent")
    return encoder


def _draw(generator: Sampler, told: dict[str, Any], latents: NDArray[np.float32]) -> NDArray[np.float32]:
    asked = {"label": told["label"], "attributes": told["attributes"]}
    return generator.sample(len(latents), latents=latents, **asked)


def _improved(
    generator: Sampler,
    told: dict[str, Any],
    images: NDArray[np.float32],
    start: NDArray[np.float32] | None,
    shape: tuple[int, ...],
    steps: int,
    seed: int,
) -> NDArray[np.float32]:
    import torch

    from ganzoo.inference.projection import descend, search
    from ganzoo.inference.sampling import TorchSampler, draw_inputs, run_batched

    if not isinstance(generator, TorchSampler):
        return search(lambda latents: _draw(generator, told, latents), images, shape, start, steps, seed)
    network = generator.network
    asked = {"label": told["label"], "attributes": told["attributes"]}
    _, *condition = draw_inputs(network.signature, len(images), seed, **asked)
    wanted = torch.from_numpy(images)
    if start is None:
        # The best of some: gradients from a bad start end somewhere else.
        leads, *beside = draw_inputs(network.signature, 64, seed, **asked)
        drawn = run_batched(network, [leads, *beside])
        nearest = torch.cdist(wanted.flatten(1), drawn.flatten(1)).argmin(dim=1)
        start = leads[nearest].numpy()
    return descend(network, tuple(condition), wanted, torch.from_numpy(start), steps).numpy()
