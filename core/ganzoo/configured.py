"""Classes that have settings, such as models, losses and optimizers, and settings that choose a class by its name."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any, ClassVar, Generic, Self, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ModelWrapValidatorHandler, PrivateAttr, ValidationInfo
from pydantic import model_validator as validator

from ganzoo.errors import GanzooError, UserError, is_out_of_memory

__all__ = ["Configured", "Find", "Named", "entries_of", "making", "type_arguments"]

Settings = TypeVar("Settings", bound=BaseModel, covariant=True)

Find = Callable[[Any, str], Any]
"""Returns the entry of the registry that is of a kind and goes by a name, as the registry's ``get`` does."""


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


class Named(BaseModel):
    """Base of the settings of a plugin that other settings choose by its name, such as an optimizer.

    A field of other settings has the base class of the kind for a type. In a config there is a table with the name, or
    the name alone; validation makes of it the ``Config`` of the plugin that has the name. ``kind`` is that of the
    plugins.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: ClassVar[Any]
    name: str = Field(description="which one")
    _entry: Any = PrivateAttr(None)  # of the registry; None: not looked up yet

    @validator(mode="wrap")
    @classmethod
    def _chosen(cls, value: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        table = {"name": value} if isinstance(value, str) else value
        if info.context is None or not isinstance(table, Mapping):
            return handler(table)  # made in Python, where the class is looked up when it is needed
        name = table.get("name", cls.model_fields["name"].default)
        if not isinstance(name, str):
            return handler(table)
        entry = info.context(cls.kind, name)
        config, table = entry.spec.load().Config, {**entry.spec.defaults, **table, "name": entry.recorded}
        chosen = handler(table) if config is cls else config.model_validate(table)
        chosen._entry = entry
        return chosen

    def under(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the given settings laid over these; those that another plugin may not have do not stay."""
        own = self.model_dump(serialize_as_any=True)
        if given.get("name", self.name) != self.name:
            common = next(cls for cls in type(self).mro() if issubclass(cls, Named) and Named in cls.__bases__)
            own = {name: value for name, value in own.items() if name in common.model_fields}
        return {**own, **given}

    def make(self, *arguments: Any, **update: Any) -> Any:
        """Make the object that is named: its class is given these settings, with ``update`` over them, and arguments.

        Raises :class:`~ganzoo.UserError`, naming the plugin, if there is none or it fails.
        """
        # A room below the registry, which asks the public door as anyone would. Validated settings know their class.
        settings = self
        if self._entry is None:
            find: Find = import_module("ganzoo").load_registry().get
            settings = type(self).model_validate(self.model_dump(), context=find)
        with making(f"the {self.kind} {self.name!r}"):
            return settings._entry.spec.load()(settings.model_copy(update=update), *arguments)


def entries_of(settings: BaseModel) -> Iterator[Any]:
    """Yield the entries of the plugins that are chosen by name anywhere among validated settings."""
    if isinstance(settings, Named) and settings._entry is not None:
        yield settings._entry
    for _, value in settings:
        for each in value if isinstance(value, tuple) else (value,):
            if isinstance(each, BaseModel):
                yield from entries_of(each)


@contextmanager
def making(what: str) -> Iterator[None]:
    """Turn what a plugin raises while it makes something into a :class:`UserError` that names it.

    Errors of the system (files, memory) are raised as they are.
    """
    try:
        yield
    except (GanzooError, OSError, MemoryError):
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        lines = str(error).strip().splitlines() or [""]
        raise UserError(f"{what} cannot be made with its settings: {type(error).__name__}: {lines[0][:300]}") from error


def type_arguments(cls: type, base: type) -> list[type[Any]]:
    """Return the subclasses of ``base`` among what ``cls`` gives its own bases in brackets.

    A union is taken apart, and a type variable stands for its bound: ``class A(B[C, D | E])`` has C, D and E.
    """
    arguments = [argument for generic in vars(cls).get("__orig_bases__", ()) for argument in get_args(generic)]
    parts = [getattr(part, "__bound__", part) for argument in arguments for part in get_args(argument) or (argument,)]
    return [part for part in parts if isinstance(part, type) and issubclass(part, base)]
