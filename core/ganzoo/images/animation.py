"""Animations of arrays: animated GIFs, and MP4 where PyAV is installed."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from ganzoo.errors import UserError
from ganzoo.files import atomic_path
from ganzoo.images.marking import read_claims, with_gif_claims
from ganzoo.images.reading import ImageReader, on_background
from ganzoo.images.titles import above

__all__ = ["ANIMATIONS", "save_progress", "write_animation"]

ANIMATIONS = (".gif", ".mp4")
"""The suffixes of animations."""

FPS = 25
"""Frames a second; GIFs count in hundredths of a second."""


def write_animation(
    path: str | PathLike[str], frames: Sequence[NDArray[np.uint8]], *, claims: Mapping[str, str] | None = None
) -> None:
    """Write frames, uint8 [H, W, 1, 3 or 4] of one size, as what the suffix says; a GIF repeats forever.

    ``claims`` are what a GIF says of where it comes from (:func:`ganzoo_runtime.provenance`); an MP4 says nothing.

    Transparent images are put on white: MP4 has no transparency, and GIF only full transparency. Raises
    :class:`UserError` for another suffix, for no frames, and for .mp4 without PyAV.
    """
    if Path(path).suffix.lower() not in ANIMATIONS:
        raise UserError(f"an animation is a {' or '.join(ANIMATIONS)}, not {path}")
    if not len(frames):
        raise UserError(f"there are no frames to write into {path}")
    if frames[0].shape[-1] == 4:
        frames = [np.asarray(on_background(Pillow.fromarray(frame))) for frame in frames]
    with atomic_path(path) as temporary:
        if temporary.suffix.lower() == ".gif":
            _write_gif(temporary, frames, claims)
        else:
            _write_mp4(temporary, frames)


def _write_gif(path: Path, frames: Sequence[NDArray[np.uint8]], claims: Mapping[str, str] | None) -> None:
    images = [Pillow.fromarray(frame[..., 0] if frame.shape[-1] == 1 else frame) for frame in frames]
    if images[0].mode == "RGB":
        images = [image.quantize(256, dither=Pillow.Dither.NONE) for image in images]
    first, *others = images
    first.save(path, format="GIF", save_all=True, append_images=others, duration=1000 // FPS, loop=0)
    _mark(path, claims)


def _mark(path: Path, claims: Mapping[str, str] | None) -> None:
    if claims:
        path.write_bytes(with_gif_claims(path.read_bytes(), claims))


def _write_mp4(path: Path, frames: Sequence[NDArray[np.uint8]]) -> None:
    try:
        av = import_module("av")
    except ImportError:
        raise UserError("MP4 animations need PyAV: pip install av; or write a .gif") from None
    height, width = (size + size % 2 for size in frames[0].shape[:2])  # H.264 takes even sizes only
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": "16"}
        for frame in frames:
            even = np.pad(frame, ((0, height - frame.shape[0]), (0, width - frame.shape[1]), (0, 0)), "edge")
            colored = np.ascontiguousarray(np.broadcast_to(even, (height, width, 3)))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(colored, format="rgb24")))
        container.mux(stream.encode())


def save_progress(path: Path, grids: Sequence[Path], seconds: float = 8.0) -> None:
    """Join sample grids into an animated GIF, at most 120 frames, the last one shown longest, the step above each.

    Grids that cannot be read are left out. It says of where it comes from what they say.
    """
    if not grids:
        return
    stride = -(-len(grids) // 120)
    chosen = [*grids[:-1][::stride], grids[-1]]
    frames, reader, claims = list[Pillow.Image](), ImageReader(), dict[str, str]()
    for grid in chosen:
        with suppress(UserError):
            titled = above(reader.read(grid), f"step {int(grid.stem):,}" if grid.stem.isdecimal() else grid.stem)
            frames.append(titled.convert("P", palette=Pillow.Palette.ADAPTIVE))
            claims = read_claims(grid)
    if not frames:
        return
    each = int(min(500, max(50, 1000 * seconds / len(frames))))
    with atomic_path(path) as temporary:
        frames[0].save(
            temporary,
            format="GIF",
            save_all=True,
            append_images=frames[1:],
            duration=[each] * (len(frames) - 1) + [2000],
            loop=0,
        )
        _mark(temporary, claims)
