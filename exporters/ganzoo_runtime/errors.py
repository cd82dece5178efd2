"""The errors of the runtime."""

__all__ = ["ModelError", "OutOfMemory", "Refused"]


class ModelError(ValueError):
    """The file is not a generator exported by ganzoo, or it is damaged, or it cannot be run."""


class OutOfMemory(ModelError):
    """A batch takes more memory than there is."""


class Refused(Exception):
    """The file is not to be opened; says why, its name left out."""
