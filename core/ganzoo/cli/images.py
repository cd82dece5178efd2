"""The options that commands on images share."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["Background", "MaxPixels", "Source"]

Source = Annotated[Path, typer.Argument(metavar="IN", help="An image, or a folder of images.")]
Background = Annotated[
    str,
    typer.Option(help="The color that transparent pixels are laid on, as a name or #RRGGBB; not with RGBA models."),
]
MaxPixels = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Images of up to so many pixels are taken; by default 134 million, or 17 million if the network needs all "
        "of a large image at once.",
    ),
]
