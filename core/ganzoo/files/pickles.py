"""Reading pickles and torch files that may come from anyone: tensors, plain containers and inert records, no code.

Python's own unpickler calls what a file names, so that a file can run any code; ``torch.load(weights_only=True)`` takes
no file with objects in it, as most published generators have. Here a small interpreter of its own goes through the
opcodes (which :mod:`pickletools` parses): it builds containers and tensors itself, keeps any other object as a
:class:`Record` of its class's name and its state, and calls nothing. Source that a file embeds, as those of NVIDIA's
``torch_utils.persistence`` do, stays a text.
"""

from __future__ import annotations

import io
import os
import pickletools
import sys
import zipfile
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from os import PathLike
from typing import IO, TYPE_CHECKING, Any, NoReturn, cast

from ganzoo.errors import UserError
from ganzoo.files.reading import open_regular, reason

if TYPE_CHECKING:
    import torch

__all__ = ["Record", "entries", "module_tensors", "read_pickle"]

LIMIT = 2**32
"""Bytes of a file: the largest of published generators have 3 GB."""

_OPCODES = 2**21  # those of the largest published pickles are some 2**17

_DEPTH = 64  # how deep modules are nested in modules

_MODULES = 2**14  # of a network

_MAGIC = 0x1950A86A20F9469CFC6C  # what torch files begin with that are no archives

_DTYPES = {
    "Double": "float64",
    "Float": "float32",
    "Half": "float16",
    "BFloat16": "bfloat16",
    "Bool": "bool",
    "Long": "int64",
    "Int": "int32",
    "Short": "int16",
    "Char": "int8",
    "Byte": "uint8",
}
"""Types of torch's storages."""

_HARMLESS = {"argparse.Namespace", "types.SimpleNamespace"}
"""Classes of Python's own that files of settings hold; the rest of its library is refused."""


@dataclass(eq=False)
class Record:
    """An object of a class that is not known here: the class's name, what it was made with, and its state."""

    name: str
    """Module and name of the class, or, of NVIDIA's persistent classes, the name alone."""
    args: tuple[Any, ...] = ()
    state: Any = None
    items: dict[Any, Any] = field(default_factory=dict)
    """What it holds as a dict, if its class is one."""

    def __repr__(self) -> str:
        return f"<Record {self.name}>"


def entries(value: Any) -> Mapping[Any, Any]:
    """Return what a dict, or a record in the place of one, holds by name: items and attributes; else nothing."""
    if isinstance(value, Record):
        state = value.state if isinstance(value.state, Mapping) else {}
        return {**value.items, **state}
    return value if isinstance(value, Mapping) else {}


def module_tensors(module: Any) -> dict[str, torch.Tensor]:
    """Return the parameters and persistent buffers of a module that was pickled whole, as its ``state_dict()`` would.

    Raises :class:`UserError` for what is no module.
    """
    import torch

    found: dict[str, torch.Tensor] = {}
    waiting, seen = [("", module, 0)], 0
    while waiting:
        prefix, current, depth = waiting.pop()
        state, seen = entries(current), seen + 1
        # A record may hold another twice, so that a small file would be an endless network.
        if "_modules" not in state or depth > _DEPTH or seen > _MODULES:
            raise UserError(f"{prefix.rstrip('.') or 'what was read'} is no module of torch, or nested without end")
        left = {name for name in _set(state.get("_non_persistent_buffers_set")) if isinstance(name, str)}
        for part in ("_parameters", "_buffers"):
            for name, tensor in entries(state.get(part)).items():
                if tensor is not None and not (part == "_buffers" and name in left):
                    if not isinstance(tensor, torch.Tensor):
                        raise UserError(f"{prefix}{name} is no tensor but {tensor!r:.80}")
                    found[f"{prefix}{name}"] = tensor
        below = entries(state["_modules"]).items()
        waiting += [(f"{prefix}{name}.", each, depth + 1) for name, each in below if each is not None]
    return found


def _set(value: Any) -> set[Any]:
    """Return a set, or nothing for what is none."""
    return set(value) if isinstance(value, set | frozenset) else set()


def read_pickle(path: str | PathLike[str], most: int = LIMIT) -> Any:
    """Return what a pickle or a file of ``torch.save`` holds, of any of torch's formats, and run nothing that is in it.

    Numbers, texts, bytes, lists, tuples, dicts (as :class:`dict`), sets and tensors on the CPU are what they were; any
    other object is a :class:`Record`. Raises :class:`UserError`, in one sentence, if the file is damaged, cut short,
    larger than ``most`` bytes, or names a function or a class of Python's library that is not data.
    """
    with open_regular(path, most) as file, _reported(path):
        size = os.fstat(file.fileno()).st_size
        if file.peek(4)[:4] == b"PK\x03\x04":
            return _read_archive(file, size)
        return _read_stream(_Bounded(file, size), size)


class _Bounded(io.RawIOBase):
    """A file that refuses to read more than it has, since buffered readers allocate what they are asked for first."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self.file, self.size = file, size

    def tell(self) -> int:
        return self.file.tell()

    def read(self, count: int = -1) -> bytes:
        if count > self.size - self.tell():
            _refuse("it is cut short")
        return self.file.read(count)

    def readline(self, most: int | None = -1) -> bytes:
        return self.file.readline()

    def readinto(self, buffer: Any) -> int:
        return self.file.readinto(buffer)  # type: ignore[attr-defined,no-any-return]


@contextmanager
def _reported(path: str | PathLike[str]) -> Iterator[None]:
    try:
        yield
    except UserError as error:
        raise UserError(f"cannot read {path}: {error}") from None
    except Exception as error:  # whatever pickletools, zipfile and torch stumble over
        said = reason(error) if str(error) else "it is cut short or damaged"
        raise UserError(f"cannot read {path}: it is no pickle and no file of torch, or damaged: {said}") from None


def _read_archive(file: IO[bytes], size: int) -> Any:
    """Read the zip archive that torch writes: a pickle, and a member for each storage."""
    left = size  # members may lie over each other: all that is read of them is not more than the file

    with zipfile.ZipFile(file) as archive:
        pickles = [name for name in archive.namelist() if name.count("/") <= 1 and name.endswith("data.pkl")]
        if len(pickles) != 1:
            _refuse("it is an archive, and not one that torch writes")
        folder = pickles[0].removesuffix("data.pkl")

        def member(name: str) -> bytes:
            nonlocal left
            info = archive.getinfo(name)
            left -= info.file_size
            # torch compresses nothing, and what is compressed can be of any size.
            if info.compress_type != zipfile.ZIP_STORED or left < 0:
                _refuse(f"its member {name!r} is compressed, or larger than the file")
            return archive.read(info)

        storages: dict[str, _Storage] = {}

        def storage(dtype: torch.dtype, key: str, count: int) -> _Storage:
            if key not in storages:
                storages[key] = _Storage(dtype, member(f"{folder}data/{key}"))
            return storages[key]

        order = f"{folder}byteorder"
        if order in archive.namelist() and member(order) != b"little":
            _refuse("it was written on a machine of the other byte order")
        return _Machine(io.BytesIO(member(pickles[0])), storage).run()


def _read_stream(file: io.RawIOBase | io.BytesIO, size: int) -> Any:
    """Read a pickle, or the pickles and storages that torch wrote in a row before it wrote archives."""
    import torch

    first = _Machine(file, _no_storage).run()
    if first != _MAGIC or not isinstance(first, int):
        return first
    for _ in range(2):  # version of the format, and what the machine was
        _Machine(file, _no_storage).run()
    storages: dict[str, _Storage] = {}
    left = size  # of the memory that is set aside for storages, which come after the objects

    def storage(dtype: torch.dtype, key: str, count: int) -> _Storage:
        nonlocal left
        if key not in storages:
            left -= count * dtype.itemsize
            if left < 0:
                _refuse("it is cut short")
            storages[key] = _Storage(dtype, bytearray(count * dtype.itemsize))
        return storages[key]

    result = _Machine(file, storage).run()
    keys = _Machine(file, _no_storage).run()
    if not isinstance(keys, list) or {*map(str, keys)} != storages.keys():
        _refuse("its storages are not those that its tensors name")
    for key in keys:
        into = storages[key].flat
        count = int.from_bytes(file.read(8) or b"", "little")
        if count != into.numel():
            _refuse("its storages are not of the size that its tensors name")
        if file.readinto(memoryview(into.view(torch.uint8).numpy().data)) != into.nbytes:
            _refuse("it is cut short")
    return result


class _Storage:
    """The memory of tensors: a flat tensor of its own."""

    def __init__(self, dtype: torch.dtype, content: bytes | bytearray) -> None:
        import torch

        if len(content) % dtype.itemsize:
            _refuse("a storage is cut short")
        buffer = content if isinstance(content, bytearray) else bytearray(content)
        self.flat = torch.frombuffer(buffer, dtype=dtype) if buffer else torch.empty(0, dtype=dtype)

    def tensor(self, offset: Any, size: Any, stride: Any) -> torch.Tensor:
        """Return a tensor on it; raises :class:`UserError` for one that reaches beyond it, or has more elements."""
        shape, steps = tuple(size), tuple(stride)
        if not all(type(each) is int and each >= 0 for each in (offset, *shape, *steps)) or len(shape) != len(steps):
            _refuse("a tensor has a shape that is none")
        count, last = 1, offset
        for side, step in zip(shape, steps, strict=True):
            count, last = count * side, last + max(side - 1, 0) * step
        # With strides of 0 a few bytes would be a tensor of any size.
        if count and (count > self.flat.numel() or last >= self.flat.numel()):
            _refuse("a tensor is larger than its memory")
        return self.flat.as_strided(shape, steps, offset) if count else self.flat.new_empty(shape)


StorageOf = Callable[["torch.dtype", str, int], _Storage]


def _no_storage(dtype: torch.dtype, key: str, count: int) -> NoReturn:
    _refuse("it names memory that is not in it")


@dataclass(frozen=True)
class _Name:
    """A class or a function, by its name alone."""

    name: str


class _Mark:
    """Where the arguments of an opcode begin on the stack."""


class _Machine:
    """Interprets one pickle from a file; the position is behind it afterwards."""

    def __init__(self, file: io.RawIOBase | io.BytesIO, storage: StorageOf) -> None:
        self.file, self.storage = file, storage
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        """Return the object that the pickle describes; raises :class:`UserError`, and whatever pickletools raises."""
        for count, (opcode, arg, _) in enumerate(pickletools.genops(cast(IO[bytes], self.file))):
            if count > _OPCODES:
                _refuse("it has too many parts")
            if opcode.name == "STOP":
                return self.stack.pop()
            self.step(opcode.name, arg)
        return _refuse("it is cut short")

    def step(self, name: str, arg: Any) -> None:
        """Do what one opcode says."""
        stack, pop = self.stack, self.stack.pop
        match name:
            case "PROTO" | "FRAME":
                pass
            case "NONE":
                stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                stack.append(name == "NEWTRUE")
            case "EMPTY_DICT" | "EMPTY_LIST" | "EMPTY_TUPLE" | "EMPTY_SET":
                stack.append({"D": dict, "L": list, "T": tuple, "S": set}[name[6]]())
            case "MARK":
                stack.append(_Mark)
            case "POP":
                pop()
            case "POP_MARK":
                self.marked()
            case "DUP":
                stack.append(stack[-1])
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(name[-1])
                stack[-count:] = [tuple(stack[-count:])]
            case "TUPLE":
                stack.append(tuple(self.marked()))
            case "LIST":
                stack.append(self.marked())
            case "FROZENSET":
                stack.append(frozenset(map(_key, self.marked())))
            case "DICT":
                made: dict[Any, Any] = {}
                _put(made, self.marked())
                stack.append(made)
            case "APPEND" | "APPENDS":
                values = [pop()] if name == "APPEND" else self.marked()
                target = stack[-1]
                if not isinstance(target, list):
                    _refuse(f"it appends to {target!r:.80}")
                target.extend(values)
            case "ADDITEMS":
                values = self.marked()
                if not isinstance(stack[-1], set):
                    _refuse("it adds to what is no set")
                stack[-1].update(map(_key, values))
            case "SETITEM" | "SETITEMS":
                values = [pop(), pop()][::-1] if name == "SETITEM" else self.marked()
                target = stack[-1].items if isinstance(stack[-1], Record) else stack[-1]
                if not isinstance(target, dict):
                    _refuse(f"it sets items of {target!r:.80}")
                _put(target, values)
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self.memo[arg] = stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(self.memo[arg])
            case "GLOBAL":
                stack.append(_named(*arg.split(" ", 1)))
            case "STACK_GLOBAL":
                attribute, module = pop(), pop()
                stack.append(_named(module, attribute))
            case "BINPERSID":
                stack.append(self.persistent(pop()))
            case "REDUCE":
                args, function = pop(), pop()
                stack.append(_called(function, args))
            case "NEWOBJ":
                args, made_of = pop(), pop()
                stack.append(_made(made_of, args))
            case "NEWOBJ_EX":
                options, args, made_of = pop(), pop(), pop()
                stack.append(_made(made_of, (*args, options)))
            case "BUILD":
                state = pop()
                if isinstance(stack[-1], Record):  # an OrderedDict may have attributes too, and they say nothing
                    stack[-1].state = state
            case _ if name in _VALUES:
                stack.append(arg)
            case _:
                _refuse(f"it has the opcode {name}, which no file of weights needs")

    def marked(self) -> list[Any]:
        """Take what stands on the stack above the last mark."""
        place = len(self.stack) - 1
        while self.stack[place] is not _Mark:
            place -= 1
            if place < 0:
                _refuse("it is damaged")
        values = self.stack[place + 1 :]
        del self.stack[place:]
        return values

    def persistent(self, what: Any) -> Any:
        """Return what torch keeps beside a pickle: a storage, or a class whose source comes along, unread."""
        import torch

        if isinstance(what, tuple) and len(what) == 4 and what[0] == "module":
            return what[1]
        if not (isinstance(what, tuple) and len(what) in (5, 6) and what[0] == "storage"):
            _refuse("it names memory that is not torch's")
        kind = what[1].name.rpartition(".")[2].removesuffix("Storage") if isinstance(what[1], _Name) else ""
        key, count, view = what[2], what[4], what[5] if len(what) == 6 else None
        if kind not in _DTYPES or not isinstance(key, str) or type(count) is not int or count < 0 or view is not None:
            _refuse(f"it has memory of a kind that is not read: {kind or what[1]!r:.80}")
        return self.storage(getattr(torch, _DTYPES[kind]), key, count)


_VALUES = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
"""Opcodes whose argument is the object."""


def _named(module: Any, name: Any) -> _Name:
    """Return a name; raises :class:`UserError` for what is of Python's library and no data."""
    if not isinstance(module, str) or not isinstance(name, str):
        _refuse("it names a class by what is no text")
    full = f"{module}.{name}".replace("__builtin__.", "builtins.").replace("copy_reg.", "copyreg.")
    full = full.replace("UserDict.", "collections.")
    root = full.partition(".")[0]
    # Dots in the name lead from an object to its attributes, from any class to any module that it has imported.
    if "." in name or (root in sys.stdlib_module_names and full not in _CALLS and full not in _HARMLESS):
        _refuse(f"it names {full[:120]}, which is code and no data; nothing of it was run")
    return _Name(full)


def _called(function: Any, args: Any) -> Any:
    """Return the data that a function of a file would have made; raises :class:`UserError` for one not known."""
    if not isinstance(function, _Name) or not isinstance(args, tuple):
        _refuse("it calls what is no function")
    full = function.name
    known = _CALLS.get(full) or _CALLS.get("*." + full.rpartition("persistence.")[2])
    if known is not None:
        return known(*args)
    # A class that is made with arguments. Of a function nothing is known, and what it would have made is missing.
    if not full.rpartition(".")[2].lstrip("_")[:1].isupper() and not full.startswith("numpy."):
        _refuse(f"it calls {full[:120]}, which is code and no data; nothing of it was run")
    return Record(full, args)


def _made(made_of: Any, args: Any) -> Any:
    if not isinstance(made_of, _Name):
        _refuse("it makes an object of what is no class")
    if made_of.name in _CALLS:
        return _CALLS[made_of.name](*args)
    return Record(made_of.name, tuple(args))


def _persistent(meta: Any) -> Record:
    """Return an object of a class whose source lies in the file, which is not looked at."""
    found = entries(meta)
    return Record(str(found.get("class_name"))[:120], (), found.get("state"))


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> torch.Tensor:
    if not isinstance(storage, _Storage):
        _refuse("a tensor has no memory")
    return storage.tensor(offset, size, stride)


def _of_bytes(content: Any) -> Any:
    if not isinstance(content, bytes):
        _refuse("a storage is no bytes")
    return _read_stream(io.BytesIO(content), len(content))


def _dict(pairs: Any = ()) -> dict[Any, Any]:
    made: dict[Any, Any] = {}
    _put(made, [each for pair in (pairs.items() if isinstance(pairs, dict) else pairs) for each in pair])
    return made


def _instance(made_of: Any, base: Any = None, state: Any = None) -> Any:
    """Return what ``copyreg._reconstructor`` makes: an object that has its class's base as its content, if any."""
    made = _made(made_of, ())
    if isinstance(made, Record) and isinstance(state, dict):
        made.items = state
    return made


_CALLS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _dict,
    "collections.defaultdict": lambda *_: {},
    "builtins.dict": _dict,
    "builtins.list": lambda values=(): list(values),
    "builtins.tuple": lambda values=(): tuple(values),
    "builtins.set": lambda values=(): set(map(_key, values)),
    "builtins.frozenset": lambda values=(): frozenset(map(_key, values)),
    "builtins.object": lambda: Record("builtins.object"),
    "copyreg._reconstructor": _instance,
    "_codecs.encode": lambda text, code: str(text).encode("latin1" if code == "latin1" else "utf-8"),
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": lambda data, *_: data,
    "torch._utils._rebuild_parameter_with_state": lambda data, *_: data,
    "torch.storage._load_from_bytes": _of_bytes,
    "torch.Size": lambda values=(): tuple(values),
    "torch.device": lambda *_: "cpu",
    "*._reconstruct_persistent_obj": _persistent,
}
"""What functions of a file mean; ``*`` stands for the module, since copies of NVIDIA's lie in many repositories."""


def _put(target: dict[Any, Any], values: list[Any]) -> None:
    if len(values) % 2:
        _refuse("a key of it has no value")
    target.update((_key(key), value) for key, value in zip(values[::2], values[1::2], strict=True))


def _key(value: Any, depth: int = 0) -> Hashable:
    """Return a key; raises :class:`UserError` for one that would be costly to hash, or nested until Python crashes."""
    if isinstance(value, tuple) and depth < 4:
        for each in value:
            _key(each, depth + 1)
    elif not isinstance(value, str | bytes | int | float | None | _Name | Record):
        _refuse(f"it has a key of the type {type(value).__name__}")
    keys: Hashable = value
    return keys


def _refuse(problem: str) -> NoReturn:
    raise UserError(problem)
