"""What is done to the content of files: bytes by chance, and documents by design."""

from __future__ import annotations

import io
import json
import random
import re
import struct
import tomllib
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import hostile
import tomli_w

Bytes = Callable[[bytes, random.Random], bytes]


def damaged(content: bytes, rng: random.Random) -> bytes:
    """Bits flipped, bytes cut off, put in, copied, numbers made huge: once or several times."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 5, 20))):
        if not data:
            break
        at, other = rng.randrange(len(data)), rng.randrange(len(data))
        match rng.randrange(9):
            case 0:
                data[at] ^= 1 << rng.randrange(8)
            case 1:
                data[at] = rng.choice((0, 255, 127, 128, 10, 34, 91, 123, rng.randrange(256)))
            case 2:
                del data[at:]
            case 3:
                del data[at : at + rng.randrange(1, 17)]
            case 4:
                data[at:at] = rng.randbytes(rng.randrange(1, 33))
            case 5:
                data[at:at] = data[other : other + rng.randrange(1, 257)]
            case 6:
                size = rng.choice((2, 4, 8))
                number = rng.choice((0, 2 ** (8 * size) - 1, 2 ** (8 * size - 1) - 1, 2 ** (8 * size - 1), 2**15))
                data[at : at + size] = number.to_bytes(size, rng.choice(("little", "big")))
            case 7:
                data[at : at + rng.randrange(1, 65)] = bytes(rng.randrange(1, 65))
            case 8:
                data[at : at + 1] = data[at : at + 1] * rng.choice((2, 100, 10_000))
    return bytes(data)


def _odd(rng: random.Random) -> Any:
    """A value that nobody expects; a string in angle brackets stands for a text that Python would not write."""
    numbers = (0, 1, -1, 2**31, 2**53, 2**62, 2**63, 2**64, -(2**63), 0.5, -1e308, 1e308)
    special = ("<digits>", "<inf>", "<nan>", "<minus>", "<deep 33>", "<deep 500>", "<deep 100000>")
    texts = ("", "x", "a" * 100_000, "\x1b[2J", "\u202e", "../../x", "/dev/zero", "$x^$", "None", "1", "é\u3000")
    tables = ([], {}, [[]], [0] * 1000, [None], ["x"], {"": 0}, {"a": {"b": [1]}}, True, False)
    return rng.choice(rng.choice((numbers, special, texts, tables)))


def _changed(document: Any, rng: random.Random) -> Any:
    """Replace, add, drop or double something in a document, at any depth."""
    if not isinstance(document, dict | list) or not document or rng.random() < 0.1:
        return _odd(rng)
    keys: list[Any] = list(document) if isinstance(document, dict) else list(range(len(document)))
    key = rng.choice(keys)
    match rng.randrange(8):
        case 0:
            del document[key]
        case 1:
            document[key] = _odd(rng)
        case 2 if isinstance(document, list):
            document.insert(key, _odd(rng))
        case 2 | 3 if isinstance(document, dict):
            document[rng.choice(("", "x", "name", "\x1b[2J", "a.b", "é", str(key) * 2))] = _odd(rng)
        case 3:
            document *= rng.choice((2, 50))
        case _:
            document[key] = _changed(document[key], rng)
    return document


def _written(text: str, rng: random.Random) -> bytes:
    """Put the texts that Python would not write in their places."""
    plain = {"digits": "9" * rng.choice((20, 400, 10_000)), "inf": "Infinity", "nan": "NaN", "minus": "-0"}

    def put(found: re.Match[str]) -> str:
        word, _, depth = found[1].partition(" ")
        return "[" * int(depth) + "]" * int(depth) if depth else plain[word]

    return re.sub(r'"<([a-z]+(?: \d+)?)>"', put, text).encode()


def json_changed(content: bytes, rng: random.Random) -> bytes:
    return _written(json.dumps(_changed(json.loads(content), rng)), rng)


def lines_changed(content: bytes, rng: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    at = rng.randrange(len(lines))
    lines[at] = json_changed(lines[at], rng) + rng.choice((b"\n", b"", b"\r\n", b"\n\n", b"\0\n"))
    return b"".join(lines) * rng.choice((1, 1, 3))


def toml_changed(content: bytes, rng: random.Random) -> bytes:
    document = tomllib.loads(content.decode())
    for _ in range(rng.choice((1, 1, 3))):
        changed = _changed(document, rng)
        document = changed if isinstance(changed, dict) else {"x": changed}
    text = tomli_w.dumps(_for_toml(document))
    text += rng.choice(("", "", "", f"[{'a.' * 40}a]\n", f"{'a.' * 50_000}a = 1\n", "[[data]]\n", "day = 2020-02-30\n"))
    return _written(text, rng).replace(b"Infinity", b"inf").replace(b"NaN", b"nan")


def _for_toml(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _for_toml(each) for key, each in value.items()}
    return [_for_toml(each) for each in value] if isinstance(value, list) else "" if value is None else value


def csv_changed(content: bytes, rng: random.Random) -> bytes:
    rows = [line.split(",") for line in content.decode().splitlines()]
    for _ in range(rng.choice((1, 1, 4))):
        row = rng.choice(rows)
        odd = ["9999999", "9" * 5000, "-1", "nan", "1e999", '"', '""', '"\n"', "\0", "x" * 200_000, "", "a,b", "\u2028"]
        row[rng.randrange(len(row))] = rng.choice([*odd, "\x1b[2J", "0x10", "1_0", "٣", "yes", "../a.png", "=1"])
        if rng.random() < 0.2:
            rows.insert(rng.randrange(len(rows)), rng.choice(rows) * rng.randrange(1, 3))
    return rng.choice(("\n", "\r\n", "\n\n")).join(",".join(row) for row in rows).encode()


def zip_changed(content: bytes, rng: random.Random) -> bytes:
    """Change a member of an archive, and write the archive anew so that its checksums are right."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as archive, zipfile.ZipFile(target, "w") as copy:
        names = archive.namelist()
        wanted = rng.choice([name for name in names if name.endswith("data.pkl")] * 3 + names)
        for name in names:
            part = archive.read(name)
            if name == wanted:
                part = header_changed(part, rng) if part[:6] == b"\x93NUMPY" else damaged(part, rng)
            copy.writestr(name, part, rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))
    return target.getvalue()


def header_changed(content: bytes, rng: random.Random) -> bytes:
    """Exchange the shape or type that an .npy says that it has."""
    if rng.random() < 0.3:
        return damaged(content, rng)
    shapes = ["(0,)", "()", "(-1,)", "(1,2,3)", f"({2**40},)", f"({2**62}, 4)", f"({2**70},)", "(True,)", "(1," * 20]
    kinds = ["|O", "<f2", "<f16", "<c8", "|V8", "<U9", "<M8[s]", ">f4", "|b1", "<f9", "", "<i8", "<f4,<f4", "('<f4',9)"]
    header = (
        f"{{'descr': '{rng.choice(['<f4', *kinds])}', 'fortran_order': {rng.choice(['False', 'True', '1', '()'])}, "
    )
    header += f"'shape': {rng.choice(['(4,)', '(20, 4)', *shapes])}, }}"
    header += rng.choice(("", " " * 20_000, "#", "L" * 9))
    body = content[content.index(b"\n") + 1 :]
    return (
        b"\x93NUMPY"
        + rng.choice((b"\1\0", b"\1\0", b"\2\0"))
        + struct.pack("<H", len(header) % 2**16)
        + header.encode()
        + b"\n"
        + body
    )


def tensors_changed(content: bytes, rng: random.Random) -> bytes:
    """Change the JSON in front of a file of safetensors, its length included."""
    (size,) = struct.unpack("<Q", content[:8])
    header = json_changed(content[8 : 8 + size], rng)
    return struct.pack("<Q", len(header)) + header + content[8 + size :]


def png_changed(content: bytes, rng: random.Random) -> bytes:
    """Change one chunk of a PNG, its checksum included."""
    parts, at = [content[:8]], 8
    while at < len(content):
        (size,) = struct.unpack(">I", content[at : at + 4])
        parts.append(content[at + 4 : at + 8 + size])
        at += size + 12
    wanted = rng.randrange(1, len(parts))
    parts[wanted] = parts[wanted][:4] + damaged(parts[wanted][4:], rng)
    chunks = [struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in parts[1:]]
    return parts[0] + b"".join(chunks)


def onnx_changed(content: bytes, rng: random.Random) -> bytes:
    return rng.choice((hostile.mutated, hostile.twisted))(content, rng.randrange(2**31))
