"""Config layers as plain dictionaries: parsing them from flags, and merging one over another."""

import tomllib
from collections.abc import Mapping
from datetime import date, time
from typing import Any

from ganzoo.errors import UserError

__all__ = ["flat", "merge", "parse_set"]


def merge(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``low`` with the values of ``high`` over it, table by table."""
    merged = dict(low)
    for key, value in high.items():
        below = merged.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            merged[key] = merge(below, value)
        else:
            merged[key] = dict(value) if isinstance(value, Mapping) else value
    return merged


def flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested tables as one, its keys dotted."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found


def parse_set(text: str) -> dict[str, Any]:
    """Turn ``"a.b=value"`` into ``{"a": {"b": value}}``; the value is TOML, or a string if it is not TOML."""
    path, equals, value = str(text).partition("=")
    keys = _keys(path)
    if not equals or not keys:
        raise UserError(f"--set takes section.setting=value, not {text!r}")
    parsed: Any = value.strip()
    try:
        document = tomllib.loads(f"value = {value}")
    except (ValueError, RecursionError):  # no TOML, or an endless integer
        document = {}
    # A line break in the value can give several keys: then it is no TOML value. A date is kept as text, since it is
    # more likely the name of a folder, and no setting is a date.
    if document.keys() == {"value"} and not isinstance(document["value"], date | time):
        parsed = document["value"]
    for key in reversed(keys):
        parsed = {key: parsed}
    assert isinstance(parsed, dict)
    return parsed


def _keys(path: str) -> list[str]:
    """Return the parts of a dotted path; one that contains dots itself stands in quotes, as in TOML."""
    try:
        table: Any = tomllib.loads(f"{path} = 0")
    except (ValueError, RecursionError):
        keys = [part.strip().strip("\"'") for part in path.split(".")]
        return keys if all(keys) else []
    keys = []
    while isinstance(table, dict):
        if len(table) != 1:
            return []
        key, table = next(iter(table.items()))
        keys.append(key)
    return keys if all(keys) else []
