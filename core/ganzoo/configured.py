"""Classes that have settings: models, losses, regularizers, data sets, metrics."""

from typing import Any, ClassVar, Generic, TypeVar, get_args

from pydantic import BaseModel

__all__ = ["Configured", "type_arguments"]

Settings = TypeVar("Settings", bound=BaseModel, covariant=True)


class Configured(Generic[Settings]):
    """Base of classes with settings, whose class is in brackets: ``class DCGAN(AdversarialTrainer[DCGANConfig])``.

    That class becomes ``Config``, and its values are in ``self.config``, with the right type for a type checker. Left
    out, they are the defaults: ``Hinge()``.
    """

    Config: ClassVar[type[Any]]
    config: Settings

    def __init__(self, config: Settings | None = None) -> None:
        self.config = self.Config() if config is None else config

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for settings in type_arguments(cls, BaseModel):
            cls.Config = settings


def type_arguments(cls: type, base: type) -> list[type[Any]]:
    """Return the subclasses of ``base`` among what ``cls`` gives its own bases in brackets.

    A union is taken apart, and a type variable stands for its bound: ``class A(B[C, D | E])`` has C, D and E.
    """
    arguments = [argument for generic in vars(cls).get("__orig_bases__", ()) for argument in get_args(generic)]
    parts = [getattr(part, "__bound__", part) for argument in arguments for part in get_args(argument) or (argument,)]
    return [part for part in parts if isinstance(part, type) and issubclass(part, base)]
