"""``ganzoo directions``: samples to label, fitting, finding, and grids of strengths."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ganzoo import UserError, cli
from ganzoo_plugins.latent import written
from ganzoo_plugins.latent.common import Layers, On, done, only_png, open_editor, save_images, save_rows
from ganzoo_runtime.text import counted

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ganzoo import Latent, Network, Signature, Styles
    from ganzoo_plugins.latent.directions import Directions
    from ganzoo_plugins.latent.editing import Editor

__all__ = ["directions"]

Keep = Annotated[Path, typer.Option(help="The file of directions; those of other names in it are kept.")]

directions = typer.Typer(help="Fit directions of latents to labels, or find them.", rich_markup_mode=None)


@directions.command()
def samples(
    model: cli.Model,
    out: Annotated[Path, typer.Option(help="The folder for the images and labels.csv.")],
    n: Annotated[int, typer.Option("-n", min=1, max=written.MOST, help="How many.")] = 200,
    name: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A column to fill in: what is labeled (repeatable).")
    ] = None,
    label: cli.Classes = None,
    attribute: cli.Attribute = None,
    seed: cli.Seed = 0,
) -> None:
    """Write numbered samples and a CSV to label them in.

    'ganzoo directions fit' takes the CSV.
    """
    from ganzoo_plugins.latent.labeling import check_table, write_table

    table, names = out / "labels.csv", name or ["value"]
    check_table(table, names)  # before images change that it is about
    editor = open_editor(model, label, attribute, seed, 1.0)
    save_images(out, editor.draw(editor.latents(range(n)), range(n)), editor)
    write_table(table, names, n, seed)
    done(f"{counted(n, 'sample')}; write a number, or yes and no, behind those that you can label", table)


@directions.command()
def fit(
    model: cli.Model,
    labels: Annotated[
        Path | None,
        typer.Option(help="A CSV: sample, seed, and for each direction a column of numbers, or of yes and no."),
    ] = None,
    attribute_of: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:FUNCTION",
            help="A Python function that labels the samples: given uint8 images [N, H, W, C] it returns a dict from "
            "names to N numbers; not-a-number where it cannot tell.",
        ),
    ] = None,
    n: Annotated[int, typer.Option("-n", min=1, max=written.MOST, help="How many samples the function labels.")] = 2000,
    method: Annotated[
        Literal["difference", "svm"],
        typer.Option(help="The difference of means, or the normal of a linear support vector machine."),
    ] = "difference",
    conditional: Annotated[
        bool, typer.Option("--conditional", help="Take out of each direction its share in the others.")
    ] = False,
    label: cli.Classes = None,
    attribute: cli.Attribute = None,
    seed: cli.Seed = 0,
    on: On = None,
    layers: Layers = None,
    out: Keep = Path("directions.json"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the directions as JSON.")] = False,
) -> None:
    """Fit a direction to each column of labels.

    Printed is the correlation of each with labels that it was not fitted to: how much of them a straight line explains.
    """
    from ganzoo_plugins.latent import labeling
    from ganzoo_plugins.latent.directions import describe, held_out, kept_entries, project_out
    from ganzoo_plugins.latent.directions import fit as fit_direction

    if (labels is None) == (attribute_of is None):
        raise UserError("give the labels: either --labels FILE.csv or --attribute-of MODULE:FUNCTION")
    editor = open_editor(model, label, attribute, seed, 1.0, on)
    kept_entries(out, editor.signature)  # refuses what cannot be written before samples are drawn
    if attribute_of is not None:
        columns = labeling.evaluate_samples(editor, labeling.import_evaluator(attribute_of), n)
    else:
        assert labels is not None
        columns = labeling.read_table(editor, labels)
    fits: dict[str, NDArray[np.float64]] = {}
    metadata: dict[str, dict[str, Any]] = {}
    spread: dict[str, NDArray[np.float32]] = {}
    for name, (drawn, values) in columns.items():
        latents = spread[name] = editor.vectors(drawn)
        try:
            fits[name] = fit_direction(latents, values, method)
            correlation = held_out(latents, values, method)
        except UserError as error:
            raise UserError(f"{name}: {error}") from None
        metadata[name] = {"samples": len(values), "correlation": round(correlation, 4)}
    if conditional:
        plain = dict(fits)
        for name, vector in plain.items():
            others = {other: theirs for other, theirs in plain.items() if other != name}
            try:
                fits[name] = project_out(vector, list(others.values()))
            except UserError as error:
                raise UserError(f"{name}: {error}") from None
            metadata[name]["without"] = list(others)
    if layers is not None:
        for known in metadata.values():
            known["layers"] = written.layers(layers, editor.field)
    found = {
        name: describe(editor.field, vector, method, spread[name], **metadata[name]) for name, vector in fits.items()
    }
    for name, known in metadata.items():
        cli.print(
            f"{name}: correlation {known['correlation']:.2f} with {counted(known['samples'], 'label')}", file=sys.stderr
        )
    _keep(out, found, editor.signature, as_json)


@directions.command()
def find(
    model: cli.Model,
    k: Annotated[int, typer.Option("-k", min=1, help="How many.")] = 8,
    method: Annotated[
        Literal["pca", "sefa"],
        typer.Option(
            help="By the principal components of samples, of a style-based model those of w itself; or of a run folder "
            "by the weights of the first layer, or of the layers that styles go into."
        ),
    ] = "pca",
    n: Annotated[int, typer.Option("-n", min=2, max=written.MOST, help="How many samples pca looks at.")] = 4000,
    label: cli.Classes = None,
    attribute: cli.Attribute = None,
    seed: cli.Seed = 0,
    on: On = None,
    layers: Layers = None,
    out: Keep = Path("directions.json"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the directions as JSON.")] = False,
) -> None:
    """Find directions that change samples most.

    They take no labels, and are called pca1, pca2 ... or sefa1 ...
    """
    from ganzoo import Run, load_registry
    from ganzoo_plugins.latent.directions import describe, kept_entries

    if method == "sefa":
        if not Path(model).is_dir():
            raise UserError("--method sefa reads weights, so it takes a run folder; --method pca takes any model")
        network, _ = Run.open(model).load(load_registry())
        signature = network.signature
        kept_entries(out, signature)  # refuses what cannot be written before samples are drawn
        field, vectors, latents = _by_weights(model, network, k, on, layers)
    else:
        editor = open_editor(model, label, attribute, seed, 1.0, on)
        signature = editor.signature
        kept_entries(out, signature)
        field, (vectors, latents) = editor.field, _components(editor, n, k)
    known = {} if layers is None else {"layers": written.layers(layers, field)}
    found = {
        f"{method}{number}": describe(field, vector, method, latents, **known)
        for number, vector in enumerate(vectors, 1)
    }
    _keep(out, found, signature, as_json)


@directions.command()
def grid(
    model: cli.Model,
    name: Annotated[str | None, typer.Argument(help="One direction; all of them if left out.")] = None,
    directions_file: Annotated[
        Path | None, typer.Option("--directions", help="The file of directions; those in the model file if left out.")
    ] = None,
    n: Annotated[
        int, typer.Option("-n", min=1, max=written.MOST, help="How many samples: of one direction, the rows.")
    ] = 6,
    columns: Annotated[int, typer.Option(min=2, max=1000, help="How many strengths, over the direction's range.")] = 7,
    label: cli.Classes = None,
    attribute: cli.Attribute = None,
    seed: cli.Seed = 0,
    truncation: cli.Truncation = None,
    on: On = None,
    out: Annotated[Path, typer.Option(help="The .png file.")] = Path("directions.png"),
) -> None:
    """Draw what directions do.

    They are weaker to the left and stronger to the right. Of one direction, a row is one sample; of all of them, a row
    is one direction, all of the first sample.
    """
    import numpy as np

    from ganzoo_runtime.latent_arithmetic import edit as move

    only_png(out)
    editor = open_editor(model, label, attribute, seed, truncation, on)
    known = editor.directions(directions_file)
    if not known:
        raise UserError(
            f"there are no directions of the latent {editor.field.name!r} (see --on): give a file of them with "
            "--directions"
        )
    if name is not None and name not in known:
        raise UserError(written.unknown(name, known, editor, directions_file))
    starts = editor.latents(range(n if name is not None else 1))
    moved, names = [], list[str]()
    for each in [name] if name is not None else known:
        low, high = known[each]["range"]
        strengths = np.linspace(low, high, columns).tolist()
        names = [f"{strength:.3g}" for strength in strengths]
        moved += [move(latent, known, {each: strength}) for latent in starts for strength in strengths]
    numbers = np.repeat(np.arange(len(moved) // columns), columns) if name is not None else np.zeros(len(moved), int)
    save_rows(out, editor.draw(np.stack(moved), numbers), columns, editor, names if name is not None else ())
    done(f"rows: {name or ', '.join(known)}", out)


def _components(editor: Editor, n: int, k: int) -> tuple[list[NDArray[np.float64]], NDArray[np.float32]]:
    """Return the directions, and the latents that they were found with, [N, d]."""
    import numpy as np

    from ganzoo_plugins.latent.directions import find_components
    from ganzoo_plugins.latent.labeling import CHUNK

    latents, images = editor.latents(range(n)), []
    vectors, groups = editor.vectors(latents), np.arange(n) % editor.groups
    if editor.styled:  # W is not normal, and its own components say what the generator makes of it
        return find_components(vectors, vectors, groups, k), vectors
    for start in range(0, n, CHUNK):
        chunk = latents[start : start + CHUNK]
        images.append(_small(editor.draw(chunk, np.arange(start, start + len(chunk)))))
    return find_components(vectors, np.concatenate(images), groups, k), vectors


def _small(images: NDArray[np.uint8], side: int = 32) -> NDArray[np.float32]:
    """Reduce images, [N, H, W, C], to about 32 pixels a side: what moves does not need more."""
    import numpy as np

    n, height, width, channels = images.shape
    rows, columns = max(1, height // side), max(1, width // side)
    cut = images[:, : height // rows * rows, : width // columns * columns].astype(np.float32)
    blocks = cut.reshape(n, height // rows, rows, width // columns, columns, channels)
    return np.asarray(blocks.mean(axis=(2, 4)))


def _by_weights(
    model: str, network: Network, k: int, on: str | None, layers: str | None
) -> tuple[Latent | Styles, list[NDArray[np.float64]], NDArray[np.float32] | None]:
    """Return what the directions are of, these, and of styles some, [N, D]."""
    from ganzoo import Latent, draw_inputs
    from ganzoo_plugins.latent.directions import find_in_first_layer, find_in_style_layers
    from ganzoo_plugins.latent.editing import find_latent

    field = find_latent(network.signature, on)
    index, inputs = network.signature.inputs.index(field), draw_inputs(network.signature, 1, 0)
    if isinstance(field, Latent):
        return field, find_in_first_layer(network, inputs, index, k), None
    first, last = written.layers(f"0-{field.layers - 1}" if layers is None else layers, field)
    editor = open_editor(model, None, None, 0, 1.0, on)
    found = find_in_style_layers(network, inputs, index, (first, last), k)
    return field, found, editor.vectors(editor.latents(range(256)))


def _keep(out: Path, found: Directions, signature: Signature, as_json: bool) -> None:
    from ganzoo_plugins.latent.directions import write_directions

    write_directions(out, found, signature)
    if as_json:
        cli.print(json.dumps(found, indent=2))
    else:
        done(f"{counted(len(found), 'direction')}: {', '.join(found)}", out)
