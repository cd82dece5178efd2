"""``ganzoo interpolate``, ``ganzoo grid`` and ``ganzoo edit``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ganzoo import Field, Image, Signature, Tokens, UserError, cli, files, load
from ganzoo_plugins.latent import written

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ganzoo_plugins.latent.editing import Editor

__all__ = ["Layers", "On", "done", "edit", "grid", "interpolate", "only_png", "open_editor", "save_images", "save_rows"]

ANIMATIONS = (".gif", ".mp4")
"""The suffixes of animations."""

TILES = 16
"""Classes that an interpolation shows side by side."""

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


def interpolate(
    model: cli.Model,
    keys: Annotated[
        str | None,
        typer.Option(metavar="0,7,3", help="The numbers of the samples to go through; the first five if left out."),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(min=1, help="Frames from one to the next; 30 in an animation, 8 elsewhere, if left out."),
    ] = None,
    linear: Annotated[
        bool, typer.Option("--linear", help="Along straight lines; along great circles where latents are normal.")
    ] = False,
    label: cli.Classes = None,
    attribute: cli.Attribute = None,
    text: cli.Text = None,
    seed: cli.Seed = 0,
    truncation: cli.Truncation = None,
    truncation_cutoff: cli.Cutoff = None,
    latent: Start = None,
    on: On = None,
    to: To = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="FILE.gif or FILE.mp4 for an animation, FILE.png for a grid, or a folder for the frames; "
            "interpolation.gif if left out. Sentences are printed.",
        ),
    ] = None,
    tf32: cli.TF32 = False,
) -> None:
    """Go from sample to sample through the space of latents.

    Several captions (--text) are gone through in their order, with the latent of one sample, or of one each by --keys.
    Classes that are not chosen by --label are shown side by side. Attributes go from those of the first sample to what
    --to says, of one sample alone if no others are named. Animations return to where they started. Of a model of text
    the sentences on the way are printed, a line each.
    """
    import numpy as np

    from ganzoo import grid as lay_out
    from ganzoo import write_animation
    from ganzoo_runtime.latent_arithmetic import interpolate as way

    wanted, out = out, out or Path("interpolation.gif")
    suffix = "" if out.is_dir() else out.suffix.lower()
    if suffix not in ("", ".png", *ANIMATIONS):
        raise UserError(f"--out is a .gif, an .mp4, a .png or a folder, not {out}")
    kinds, given = (Image, Tokens), to is not None
    editor = open_editor(
        model, label, attribute, seed, truncation, on, given=given, cutoff=truncation_cutoff, text=text, kinds=kinds
    )
    spoken = isinstance(editor.output, Tokens)
    if spoken and wanted is not None:
        raise UserError("the sentences of this model are printed; leave --out out")
    animated = suffix in ANIMATIONS and not spoken
    changed = written.changes(editor, to)
    if text and len(text) > 1:
        points, numbers = _captions(editor, keys, text)
    else:
        points, numbers = _start(editor, keys, latent, 1 if changed else 5)
    if changed and len(points) == 1:
        points = np.repeat(points, 2, axis=0)
    if len(points) < 2:
        raise UserError("an interpolation takes at least two samples")
    classes = editor.combinations()
    if classes > TILES:
        raise UserError(f"{classes} classes side by side are too many; choose with --label")
    spherical = editor.spherical and not linear
    steps = steps or (30 if animated else 8)
    path = way(points, steps, spherical=spherical, loop=animated)
    attributes = None
    if changed:
        start, end = (np.array(editor.attributes(numbers[:1], each)) for each in ({}, changed))
        attributes = way(np.linspace(start[0], end[0], len(points)), steps, spherical=False, loop=animated)
        attributes = np.repeat(attributes, classes, axis=0)
    # Whatever else a sample has is that of the first one, in all frames.
    rest = np.arange(len(path) * classes)
    asked = np.repeat(path, classes, axis=0), rest, numbers[:1]
    if spoken:
        for sentence in editor.sentences(*asked, attributes=attributes):
            cli.print(sentence)
        return
    pixels = editor.draw(*asked, attributes=attributes)
    tiles = pixels.reshape(len(path), classes, *pixels.shape[1:])
    if animated:
        write_animation(out, [lay_out(frame) for frame in tiles], claims=editor.claims)
    elif suffix:
        if classes > 1:  # a row for each class
            rows = list(tiles.swapaxes(0, 1))
        else:
            rows = [tiles[start * steps : (start + 1) * steps + 1, 0] for start in range(len(points) - 1)]
        save_rows(out, np.concatenate(rows), len(rows[0]), editor)
    else:
        save_images(out, np.stack([lay_out(frame) for frame in tiles]), editor)
    done(f"{len(path)} frames by {editor.sampler.device}", out)


def grid(
    model: cli.Model,
    rows: Annotated[int, typer.Option("-n", min=1, help="How many rows: latents.")] = 8,
    keys: Annotated[
        str | None, typer.Option(metavar="0,7,3", help="The numbers of the samples whose latents are the rows.")
    ] = None,
    label: cli.Classes = None,
    attribute: cli.Attribute = None,
    text: cli.Text = None,
    seed: cli.Seed = 0,
    truncation: cli.Truncation = None,
    latent: Start = None,
    on: On = None,
    out: Annotated[Path, typer.Option(help="The .png file.")] = Path("grid.png"),
    tf32: cli.TF32 = False,
) -> None:
    """Draw the same latents for every class.

    A row is one latent, so one style; a column is one class. Of several latents, those that --on does not choose are
    those of the first sample in all rows.
    """
    import numpy as np

    only_png(out)
    editor = open_editor(model, label, attribute, seed, truncation, on, given=True, text=text)
    classes = editor.combinations()
    if classes < 2:
        raise UserError("there are no classes to lay out here; 'ganzoo sample' draws a grid")
    points, _ = _start(editor, keys, latent, rows)
    pixels = editor.draw(np.repeat(points, classes, axis=0), np.arange(len(points) * classes), [0])
    save_rows(out, pixels, classes, editor)
    done(f"{len(points)} latents for {classes} classes by {editor.sampler.device}", out)


def edit(
    model: cli.Model,
    direction: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=STRENGTH", help="Move the latents so far along this direction (repeatable)."),
    ] = None,
    directions: Annotated[
        Path | None, typer.Option(help="The file of directions; those in the model file if left out.")
    ] = None,
    arithmetic: Annotated[
        str | None,
        typer.Option(
            metavar="'3,8 - 5 + 1'",
            help="Start from a sum of samples by their numbers; those with commas between them are averaged.",
        ),
    ] = None,
    n: Annotated[int, typer.Option("-n", min=1, help="How many samples to edit.")] = 8,
    keys: Annotated[str | None, typer.Option(metavar="0,7,3", help="The numbers of the samples to edit.")] = None,
    label: cli.Classes = None,
    attribute: cli.Attribute = None,
    text: cli.Text = None,
    seed: cli.Seed = 0,
    truncation: cli.Truncation = None,
    truncation_cutoff: cli.Cutoff = None,
    latent: Start = None,
    on: On = None,
    to: To = None,
    layers: Layers = None,
    out: Annotated[
        Path,
        typer.Option(
            help="FILE.png for a grid with the samples above and what became of them below, a folder for a .png "
            "of each edited one, or FILE.npz for their pixels and latents."
        ),
    ] = Path("edited.png"),
    tf32: cli.TF32 = False,
) -> None:
    """Change samples along directions, or in their attributes, or add them up.

    Without a file of directions there are those of single numbers: z.3 is the number 3, from 0, of the latent z.
    """
    import numpy as np

    from ganzoo_runtime.latent_arithmetic import edit as move

    suffix = "" if out.is_dir() else out.suffix.lower()
    if suffix not in ("", ".png", ".npz"):
        raise UserError(f"--out is a .png, an .npz or a folder, not {out}")
    editor = open_editor(
        model, label, attribute, seed, truncation, on, given=to is not None, cutoff=truncation_cutoff, text=text
    )
    known, changed = editor.directions(directions), written.changes(editor, to)
    strengths = written.strengths(direction or [], known, editor, directions)
    if layers is not None:
        known = {name: {**entry, "layers": written.layers(layers, editor.field)} for name, entry in known.items()}
    if not (strengths or changed) and arithmetic is None:
        raise UserError(
            f"say what to change: --direction NAME=STRENGTH, --to NAME=VALUE or --arithmetic; {written.have(known)}"
        )
    if arithmetic is not None:
        signs, groups = zip(*written.terms(arithmetic), strict=True)
        before = np.stack([editor.latents(group).mean(axis=0) for group in groups])
        start = np.tensordot(signs, before, axes=1)[None].astype(np.float32)
        numbers = np.full(len(before), groups[0][0])
    else:
        before, numbers = _start(editor, keys, latent, n)
        start = before
    after = move(start, known, strengths)
    own = numbers[: len(after)]
    edited = editor.draw(after, own, attributes=editor.attributes(own, changed))
    if suffix == ".npz":
        with files.atomic_path(out) as temporary, temporary.open("wb") as file:
            np.savez(file, pixels=edited, latents=after)
    elif suffix:
        drawn = editor.draw(before, numbers)
        columns = len(drawn) + (len(edited) if arithmetic else 0)
        save_rows(out, np.concatenate([drawn, edited]), columns, editor)
    else:
        save_images(out, edited, editor)
    done(f"{len(edited)} edited by {editor.sampler.device}", out)


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


def _start(editor: Editor, keys: str | None, file: Path | None, n: int) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """Return the latents that a command starts from, and the numbers of their samples."""
    import numpy as np

    if file is not None and keys is not None:
        raise UserError("--latent and --keys both say where to start; give one of them")
    if file is not None:
        latents = editor.read_latents(file)
        return latents, np.arange(len(latents))
    numbers = written.numbers(keys) if keys is not None else list(range(n))
    return editor.latents(numbers), np.array(numbers)


def _captions(editor: Editor, keys: str | None, texts: list[str]) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """Return the styles of captions that an interpolation goes through, and the numbers of their samples."""
    import numpy as np

    if not editor.styled:
        raise UserError(
            "captions are in the styles of a model, which several of them are interpolated in; leave --on out"
        )
    numbers = written.numbers(keys) if keys is not None else [0]
    numbers = numbers * len(texts) if len(numbers) == 1 else numbers
    if len(numbers) != len(texts):
        raise UserError(f"--keys names one sample, or one for each of the {len(texts)} captions")
    points = [editor.latents([number], texts=[text]) for number, text in zip(numbers, texts, strict=True)]
    return np.concatenate(points), np.array(numbers)


def only_png(out: Path) -> None:
    """Raise :class:`UserError` unless it is the name of a .png."""
    if out.is_dir() or out.suffix.lower() != ".png":
        raise UserError(f"--out is a .png, not {out}")


def save_rows(out: Path, pixels: NDArray[np.uint8], columns: int, editor: Editor) -> None:
    """Write images, uint8 [N, H, W, C], that the editor drew to a .png, in so many columns."""
    from ganzoo import save_grid

    save_grid(out, pixels, _field(pixels), columns=columns, claims=editor.claims)


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
