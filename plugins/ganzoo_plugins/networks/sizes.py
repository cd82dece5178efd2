"""The number of downsampling steps that an image size allows."""

from ganzoo import Image, UserError

__all__ = ["num_downsamples"]

_SMALLEST, _LARGEST = 4, 16


def num_downsamples(sample: Image) -> tuple[int, tuple[int, int]]:
    """Return the number of downsampling steps, and height and width of the innermost map: 64x64 gives 4, (4, 4).

    Each step divides both sides by 2, for as long as both are even and neither falls below 4: 28x28 ends at 7x7, 48x48
    at 6x6. Raises :class:`~ganzoo.UserError` if that is less than twice, or if more than 16 pixels are left on a side.
    """
    count, height, width = 0, sample.height, sample.width
    while height % 2 == width % 2 == 0 and min(height, width) >= 2 * _SMALLEST:
        count, height, width = count + 1, height // 2, width // 2
    if count < 2 or max(height, width) > _LARGEST:
        raise UserError(
            "this model draws images whose sides can be divided by 2 at least twice, down to 4 to 16 pixels, such as "
            f"16x16, 28x28, 48x48 or 64x64, not {sample.height}x{sample.width}; resize them, as with --data folder "
            "--set data.size=64"
        )
    return count, (height, width)
