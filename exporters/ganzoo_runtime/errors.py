"""The error of the runtime."""

__all__ = ["ModelError"]


class ModelError(ValueError):
    """The file is not a generator exported by ganzoo, or it is damaged, or it cannot be run."""
