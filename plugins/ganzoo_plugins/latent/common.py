"""What the editing commands share: options, the model that is edited, where it starts, what is written."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ganzoo import Field, Image, Signature, UserError, cli, files, load
from ganzoo_plugins.latent import written

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from ganzoo_plugins.latent.editing import Editor

__all__ = [
    "Layers",
    "On",
    "Start",
    "To",
    "done",
    "only_png",
    "open_editor",
    "save_images",
    "save_rows",
    "starting_points",
]

Start = Annotated[
    Path | None,
    typer.Option(
        "--latent",
        help="Start from latents in a .npy, or under 'z' or 'latents' in an .npz, instead of drawing them.",
    ),
]
On = Annotated[
    str | None,
    typer.Option(
        "--on",
        metavar="LATENT",
        help="Which of several latents, by name; if left out the styles w of a style-based model, else the first.",
    ),
]
Layers = Annotated[
    str | None,
    typer.Option(metavar="FIRST-LAST", help="The layers of styles that are moved, by number from 0; all if left out."),
]
To = Annotated[
    list[str] | None,
    typer.Option("--to", metavar="NAME=VALUE", help="Change an attribute to this value (repeatable); see --attribute."),
]


def open_editor(
    model: str,
    label: list[str] | None,
    attribute: list[str] | None,
    seed: int,
    truncation: float | None,
    latent: str | None = None,
    *,
    given: bool = False,
    cutoff: int | None = None,
    text: list[str] | None = None,
    kinds: tuple[type[Field], ...] = (Image,),
) -> Editor:
    """Open the model with what the options ask of it; ``latent`` is the one that is edited.

    It draws one of the ``kinds`` of samples. With ``given`` classes or attributes are chosen for each latent; see
    :func:`find_latent`.
    """
    from ganzoo_plugins.latent.editing import Editor

    sampler = load(model)
    signature = Signature.from_json(sampler.metadata["signature"])
    asked = cli.conditions(signature, seed, truncation, label, attribute, cutoff, text)
    return Editor(sampler, asked, latent, given=given, kinds=kinds)


def starting_points(
    editor: Editor, keys: str | None, file: Path | None, n: int
) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """Return the latents that a command starts from, and the numbers of their samples."""
    import numpy as np

    if file is not None and keys is not None:
        raise UserError("--latent and --keys both say where to start; give one of them")
    if file is not None:
        latents = editor.read_latents(file)
        return latents, np.arange(len(latents))
    numbers = written.numbers(keys) if keys is not None else range(n)
    return editor.latents(numbers), np.array(numbers)


def only_png(out: Path) -> None:
    """Raise :class:`UserError` unless it is the name of a .png."""
    if out.is_dir() or out.suffix.lower() != ".png":
        raise UserError(f"--out is a .png, not {out}")


def save_rows(out: Path, pixels: NDArray[np.uint8], columns: int, editor: Editor, names: Sequence[object] = ()) -> None:
    """Write images, uint8 [N, H, W, C], that the editor drew to a .png, in so many columns, with ``names`` above."""
    from ganzoo import save_grid

    save_grid(out, pixels, _field(pixels), columns=columns, names=[*map(str, names)], claims=editor.claims)


def save_images(folder: Path, pixels: NDArray[np.uint8], editor: Editor) -> None:
    """Write what the editor drew, uint8 [N, H, W, C], to ``folder/000000.png`` and on, as ``ganzoo sample`` does."""
    from ganzoo_runtime.sinks import write_folder

    signature = {"inputs": [], "output": _field(pixels).to_json(), "provenance": editor.claims}
    try:
        with files.writing(folder):
            write_folder(folder, [(pixels, {})], len(pixels), signature)
    except ValueError as error:
        raise UserError(str(error)) from None


def _field(pixels: NDArray[np.uint8]) -> Image:
    """Return what images, uint8 [N, H, W, C], are as a network's output."""
    _, height, width, channels = pixels.shape
    return Image(channels, height, width, range=(0.0, 255.0), layout="NHWC")


def done(what: str, out: Path) -> None:
    """Tell what was done, and on standard output where it is."""
    cli.print(what, file=sys.stderr)
    cli.print(out)
