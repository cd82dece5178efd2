"""Validation of settings, with errors of one sentence that says what to change."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from math import isfinite
from pathlib import Path, PurePath
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from ganzoo.config.merging import merge
from ganzoo.configured import Find, Named
from ganzoo.errors import UserError, plain
from ganzoo.plugin.registry import load_registry
from ganzoo_runtime.text import fits

__all__ = ["dotted", "paths", "validate"]

Model = TypeVar("Model", bound=BaseModel)


def validate(
    model: type[Model],
    section: str,
    values: Mapping[str, Any],
    known: Sequence[str] = (),
    find: Find | None = None,
) -> Model:
    """Validate one section; raises :class:`UserError` naming the setting in full, with the closest of the known.

    ``find`` looks up plugins that settings choose by name; left out: among those installed.

    A setting of the type :class:`~pathlib.Path` is made absolute here, from the current folder, since a run may be
    resumed from another folder. A :class:`~pathlib.PurePath` (a path inside of an archive, say) stays as it is.
    """
    _check_values(section, values)
    try:
        validated = model.model_validate(_completed(model, values), context=find or load_registry().get)
        _check_values(section, {name: getattr(validated, name) for name in values if name in model.model_fields})
        return _resolved(validated)
    except UserError:
        raise
    except ValidationError as error:
        errors = error.errors(include_url=False)
    except Exception as error:  # a validator of a plugin's, or pydantic where it converts numbers
        what = f"{type(error).__name__}: {error}"
        raise UserError(f"the settings of {section or 'the training'!r} cannot be checked: {what}") from error
    first = next((each for each in errors if each["type"] == "extra_forbidden"), errors[0])
    if isinstance(raised := first.get("ctx", {}).get("error"), UserError):  # a sentence already
        raise raised from None
    path, value = _place(model, first["loc"]), first["input"]
    where = ".".join(part for part in (section, *path) if part)
    if first["type"] == "extra_forbidden":
        if isinstance(value, Mapping) and value:
            where += f".{next(iter(value))}"
        raise UserError(f"unknown setting {where!r}{_closest(where, known or list(dotted(model, section)))}")
    if first["type"] == "missing" and len(path) == len(first["loc"]):
        raise UserError(f"the setting {where!r} is required; give it with --set {where}=...")
    # A setting that may be of several types has one complaint for each.
    about = [each for each in errors if _place(model, each["loc"]) == path and each["input"] == value]
    # That no table was given where it may be a number as well says less than what is wrong with the number.
    about = [each for each in about if each["type"] != "model_type"] or about
    messages = [each["msg"] if each["msg"] != "Field required" else "more values are required" for each in about]
    said = " or ".join(dict.fromkeys(map(plain, messages))).replace(" or it is ", " or ")
    if not path:
        raise UserError(f"the settings of {section!r} do not go together: {said}")
    raise UserError(f"setting {where!r}: {said}, not {_text(value)}")


def _check_values(where: str, value: Any) -> None:
    """Raise :class:`UserError` for values that no setting may have: nonfinite or huge numbers, invalid text.

    pydantic accepts them as integers, floats and paths, but torch, NumPy and TOML fail on them later.
    """
    problem = ""
    if isinstance(value, BaseModel):
        value = dict(value)
    if isinstance(value, Mapping):
        for name, each in value.items():
            _check_values(f"{where}.{name}".lstrip("."), each)
    elif isinstance(value, list | tuple):
        for each in value:
            _check_values(where, each)
    elif isinstance(value, float) and not isfinite(value):
        problem = "a number is finite"
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        problem = "a whole number has at most 64 bits"
    elif isinstance(value, str | PurePath) and not fits(str(value), lines=True):
        problem = "a text cannot have control characters, or bytes that are no text"
    if problem:
        raise UserError(f"setting {where!r}: {problem}, not {_text(value)}")


def _text(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _resolved(settings: Model) -> Model:
    """Return the settings with absolute paths."""
    changed: dict[str, Any] = {}
    for name, value in settings:
        if isinstance(value, Path):
            with suppress(RuntimeError):  # "~" of somebody who has no home
                value = value.expanduser()
            changed[name] = Path(os.path.abspath(value))
        elif isinstance(value, BaseModel):
            changed[name] = _resolved(value)
    return settings.model_copy(update=changed)


def paths(settings: BaseModel, section: str) -> Iterator[str]:
    """Yield the full names of the settings below a section that say where files are: they change when these are moved.

    A ``path`` that is a text may be a URL.
    """
    for name, value in settings:
        if isinstance(value, Path) or name == "path":
            yield f"{section}.{name}"
        elif isinstance(value, BaseModel):
            yield from paths(value, f"{section}.{name}")


def _completed(model: type[BaseModel], values: Mapping[str, Any]) -> dict[str, Any]:
    """Merge nested settings over the defaults that this model gives them: pydantic would use those of their class.

    Otherwise ``--set model.optimizer.name=adamw`` would also set the learning rate, to that of all optimizers.
    """
    completed = dict(values)
    for name, field in model.model_fields.items():
        default, given = field.get_default(call_default_factory=True), completed.get(name)
        if isinstance(default, Named) and isinstance(given, Mapping | str | None):
            completed[name] = default.under({"name": given} if isinstance(given, str) else given or {})
        elif isinstance(default, BaseModel) and isinstance(given, Mapping):
            completed[name] = merge(default.model_dump(serialize_as_any=True), _completed(type(default), given))
    return completed


def _place(model: type[BaseModel], location: Sequence[Any]) -> tuple[str, ...]:
    """Return the part of an error's location that consists of settings, without places in lists and names of types."""
    path: list[str] = []
    at: type[BaseModel] | None = model
    for part in location:
        if at is None or not isinstance(part, str):
            break
        path.append(part)
        at = _nested(at, part)
    return tuple(path)


def _nested(model: type[BaseModel], name: str) -> type[BaseModel] | None:
    annotation = model.model_fields[name].annotation if name in model.model_fields else None
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def dotted(model: type[BaseModel], section: str) -> Iterator[str]:
    """Yield the names of all settings below a section, in full."""
    for name in model.model_fields:
        full = f"{section}.{name}" if section else name
        inner = _nested(model, name)
        if inner is None:
            yield full
        else:
            yield from dotted(inner, full)


def _closest(name: str, known: Sequence[str]) -> str:
    """Say which known setting is meant: one of the same table, the same name elsewhere, or what looks alike."""
    table, _, leaf = name.rpartition(".")
    beside = {each.rpartition(".")[2]: each for each in known if each.rpartition(".")[0] == table}
    same = [each for each in known if each.rpartition(".")[2] == leaf]
    close = [beside[each] for each in get_close_matches(leaf, beside, n=1)]
    close += get_close_matches(name, same, n=1, cutoff=0)
    close += get_close_matches(name, known, n=1, cutoff=0.7)
    leaves = {each.rpartition(".")[2]: each for each in reversed(known)}
    close += [leaves[each] for each in get_close_matches(leaf, leaves, n=1, cutoff=0.7)]
    return f"; did you mean {close[0]!r}?" if close else f"; there is: {', '.join(beside.values() or known)}"
