"""The errors of the runtime."""

__all__ = ["ModelError", "Refused"]


class ModelError(ValueError):
    """The file is not a generator exported by ganzoo, or it is damaged, or it cannot be run."""


class Refused(Exception):
    """The file is not to be opened; says why, its name left out."""
