"""What every kind of field checks of itself."""

from ganzoo.errors import UserError
from ganzoo_runtime.text import NAME, fits

__all__ = ["check_multiple", "check_names", "check_shape"]


def check_names(names: tuple[str, ...], what: str) -> None:
    """Raise :class:`~ganzoo.UserError` for a name that files cannot keep; ``what`` is what is called so."""
    for name in names:
        if not isinstance(name, str) or not fits(name):
            raise UserError(f"{name!r} cannot be the name of {what}: {NAME}; rename it")


def check_shape(shape: tuple[int, ...]) -> None:
    """Raise :class:`~ganzoo.UserError` for an empty shape, and for sizes below 1."""
    if not shape or any(size < 1 for size in shape):
        raise UserError(f"every size of a shape is at least 1, not {shape}")


def check_multiple(height: int, width: int, multiple: int | None) -> None:
    """Raise :class:`~ganzoo.UserError` unless height and width are multiples of ``multiple``, if there is one."""
    if multiple is not None and (multiple < 1 or height % multiple or width % multiple):
        raise UserError(f"{height}x{width} is no multiple of {multiple}")
