"""Messages of protobuf's, read and written field by field."""

from __future__ import annotations

from collections.abc import Iterator

from .errors import Refused

__all__ = ["Field", "as_message", "as_text", "fields_of", "integers", "malformed", "part", "varint"]

Field = tuple[int, memoryview | int]
"""Number and content of a field: an integer, or bytes."""


def fields_of(message: memoryview) -> Iterator[Field]:
    """Yield the fields of a message; raises :class:`Refused` for what is none."""
    position, end = 0, len(message)
    while position < end:
        key, position = _read(message, position)
        number, wire = divmod(key, 8)
        if wire == 0:
            value, position = _read(message, position)
            yield number, value
            continue
        if wire == 2:
            size, position = _read(message, position)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise malformed()
        if number == 0 or position + size > end:
            raise malformed()
        yield number, message[position : position + size]
        position += size


def _read(message: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    for index in range(position, min(position + 10, len(message))):
        byte = message[index]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, index + 1
        shift += 7
    raise malformed()


def integers(part: memoryview | int) -> list[int]:
    """Return one integer of 64 bits with a sign, or those that are packed."""
    values, position = [], 0
    if isinstance(part, int):
        values.append(part)
    else:
        if len(part) > 2**20:
            raise malformed()
        while position < len(part):
            value, position = _read(part, position)
            values.append(value)
    return [value - 2**64 if value >= 2**63 else value for value in values]


def malformed() -> Refused:
    """Return what to raise for bytes that are no model."""
    return Refused("is not an ONNX file, or it is cut short")


def as_message(part: memoryview | bytes | int) -> memoryview:
    """Return the content of a field that is bytes or a message; raises :class:`Refused` for an integer."""
    if isinstance(part, int):
        raise malformed()
    return memoryview(part)


def as_text(part: memoryview | bytes | int) -> str:
    """Return the content of a field that is a text; raises :class:`Refused` for what is none."""
    try:
        return str(as_message(part), "utf-8")
    except UnicodeDecodeError:
        raise malformed() from None


def part(number: int, content: bytes | memoryview) -> bytes:
    """Return a field of a message of protobuf's that is bytes, a text or a message itself."""
    return b"".join((varint(8 * number + 2), varint(len(content)), content))


def varint(value: int) -> bytes:
    """Return an integer that is not negative as protobuf writes it."""
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])
