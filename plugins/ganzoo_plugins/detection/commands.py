"""``ganzoo detect`` and ``ganzoo detect train``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from ganzoo import UserError, cli, files

__all__ = ["detect"]


class _OrImages(TyperGroup):
    """A group whose command ``images`` is meant where none is named."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, *ctx.help_option_names):
            args = ["images", *args]
        return super().parse_args(ctx, args)


detect = typer.Typer(
    cls=_OrImages,
    help="Tell generated images from real ones, by a detector that is trained.\n\n"
    "'ganzoo detect FILE|FOLDER... --with DETECTOR' scores them.",
    rich_markup_mode=None,
)


@detect.command()
def images(
    sources: Annotated[list[Path], typer.Argument(metavar="FILE|FOLDER...", help="Images, or folders of images.")],
    detector: Annotated[
        Path, typer.Option("--with", help="The folder of 'ganzoo detect train', or its detector.onnx.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score images, and say which of them look generated; what follows 'ganzoo detect' if it is not 'train'.

    A score is a logit: the higher, the more it looks like what the detector was trained on. It is no proof, and worth
    little for generators that the detector has not seen.
    """
    from ganzoo_plugins.detection.detector import Detector, read_images

    opened = Detector(detector)
    found: list[dict[str, Any]] = []
    for source in sources:
        paths, pixels = zip(*read_images(source), strict=True)
        for path, score in zip(paths, opened.scores(pixels), strict=True):
            generated = bool(score > opened.threshold)
            found.append({"file": str(path), "score": float(score), "generated": generated})
            if not as_json:  # before another source is read, which may have no image
                cli.print(f"{'generated' if generated else 'real':9}  {score:8.3f}  {path}")
    if as_json:
        cli.print(json.dumps({"threshold": opened.threshold, "images": found}, indent=2))
        return
    rate = opened.about.get("false_positive_rate")
    of_real = f", which {rate:.0%} of real images like the training's are above" if isinstance(rate, float) else ""
    above = sum(record["generated"] for record in found)
    cli.print(f"{above} of {len(found)} above {opened.threshold:.3f}{of_real}", file=sys.stderr)


@detect.command()
def train(
    real: Annotated[Path, typer.Option(help="A folder of real images.")],
    fake: Annotated[
        list[str],
        typer.Option(
            metavar="MODEL|FOLDER", help="What draws generated images, as in 'ganzoo sample', or a folder; repeatable."
        ),
    ],
    out: Annotated[Path, typer.Option(help="The folder for detector.onnx, roc.png and report.json.")],
    method: Annotated[
        Literal["cnn", "spectrum"],
        typer.Option(help="A small residual network, or logistic regression on spectra and differences of neighbors."),
    ] = "cnn",
    n: Annotated[int, typer.Option("-n", min=20, max=100_000, help="Images of each source, at most.")] = 2000,
    steps: Annotated[int, typer.Option(min=1, help="Batches of 64 images that the network is trained on.")] = 600,
    false_positive_rate: Annotated[
        float, typer.Option("--false-positives", help="The share of real images that may be called generated.")
    ] = 0.05,
    seed: Annotated[int, typer.Option(min=0, help="The seed of the split, the weights and the samples.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print what report.json holds.")] = False,
) -> None:
    """Train a detector on real and generated images, blurred and compressed as images are on their way.

    60% of the images are trained on; on 20% the threshold is chosen, and the figures are those of the last 20%.
    """
    from ganzoo_plugins.detection.detector import FILE, drawn_images, read_images

    if not 0 < false_positive_rate < 1:
        raise UserError(f"--false-positives is a share between 0 and 1, not {false_positive_rate}")
    if out.exists() and not out.is_dir():
        raise UserError(f"--out is a folder, not the file {out}")
    if not real.is_dir():
        raise UserError(f"--real is a folder of images, and {real} is none")
    if len({*fake}) < len(fake):
        raise UserError("--fake names a source twice")
    if any(Path(name).resolve() == real.resolve() for name in fake):
        raise UserError(f"{real} is given as real and as generated")
    reals = [image for _, image in read_images(real, n)]
    fakes = {
        name: [image for _, image in read_images(Path(name), n)]
        if _has_images(Path(name))
        else drawn_images(name, min(n, max(len(reals), 20)), seed)
        for name in fake
    }
    # Only now: torch takes seconds, and mistakes are told before.
    from ganzoo_plugins.detection.training import Settings
    from ganzoo_plugins.detection.training import train as fit

    settings = Settings(method, steps, false_positive_rate, seed=seed)
    with files.temporary_path(out / FILE):  # before the training it is seen whether the folder can be written to
        trained = fit(reals, fakes, settings)
        report = {
            "real": str(real),
            "trained_on": {name: len(each) for name, each in fakes.items()},
            **trained.report(),
        }
        trained.export(out / FILE, report)
        trained.plot(out / "roc.png")
        files.write_atomic(out / "report.json", json.dumps(report, indent=2) + "\n")
    if as_json:
        cli.print(json.dumps(report, indent=2))
        return
    cli.print(f"{'':24}  average precision  accuracy   found")
    for name, figures in {**report["sources"], "all": report["all"]}.items():
        cli.print(
            f"{name:24}  {figures['average_precision']:17.3f}  {figures['accuracy']:8.3f}  {figures['found']:6.3f}"
        )
    measured = report["measured_false_positive_rate"]
    cli.print(f"threshold {trained.threshold:.3f}: {measured:.1%} of held-out real images are above", file=sys.stderr)
    cli.print(out)


def _has_images(path: Path) -> bool:
    """Return whether it is a folder of images; a run folder is a model, whose grids are no images of their own."""
    return path.is_dir() and not (path / "config.toml").is_file()
