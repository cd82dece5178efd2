"""An interpreter of pickles that builds numbers, texts, plain containers, tensors and records, and calls nothing.

:mod:`pickletools` parses the opcodes; what they mean is here. Functions of a file are names, and what a few of them
would have made is made here (:data:`_CALLS`); any other name is the class of a record, or refused.
"""

from __future__ import annotations

import io
import pickletools
import sys
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, NoReturn, cast

from ganzoo.files.records import Record, Storage, entries, refuse

if TYPE_CHECKING:
    import torch

__all__ = ["Machine", "read_stream"]

_OPCODES = 2**21  # those of the largest published pickles are some 2**17

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


def read_stream(file: io.RawIOBase | io.BytesIO, size: int) -> Any:
    """Read a pickle, or the pickles and storages that torch wrote in a row before it wrote archives."""
    import torch

    first = Machine(file, _no_storage).run()
    if first != _MAGIC or not isinstance(first, int):
        return first
    for _ in range(2):  # version of the format, and what the machine was
        Machine(file, _no_storage).run()
    storages: dict[str, Storage] = {}
    left = size  # of the memory that is set aside for storages, which come after the objects

    def storage(dtype: torch.dtype, key: str, count: int) -> Storage:
        nonlocal left
        if key not in storages:
            left -= count * dtype.itemsize
            if left < 0:
                refuse("it is cut short")
            storages[key] = Storage(dtype, bytearray(count * dtype.itemsize))
        return storages[key]

    result = Machine(file, storage).run()
    keys = Machine(file, _no_storage).run()
    if not isinstance(keys, list) or {*map(str, keys)} != storages.keys():
        refuse("its storages are not those that its tensors name")
    for key in keys:
        into = storages[key].flat
        count = int.from_bytes(file.read(8) or b"", "little")
        if count != into.numel():
            refuse("its storages are not of the size that its tensors name")
        if file.readinto(memoryview(into.view(torch.uint8).numpy().data)) != into.nbytes:
            refuse("it is cut short")
    return result


StorageOf = Callable[["torch.dtype", str, int], Storage]


def _no_storage(dtype: torch.dtype, key: str, count: int) -> NoReturn:
    refuse("it names memory that is not in it")


@dataclass(frozen=True)
class _Name:
    """A class or a function, by its name alone."""

    name: str


class _Mark:
    """Where the arguments of an opcode begin on the stack."""


class Machine:
    """Interprets one pickle from a file; the position is behind it afterwards."""

    def __init__(self, file: io.RawIOBase | io.BytesIO, storage: StorageOf) -> None:
        self.file, self.storage = file, storage
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        """Return the object that the pickle describes; raises :class:`UserError`, and whatever pickletools raises."""
        for count, (opcode, arg, _) in enumerate(pickletools.genops(cast(IO[bytes], self.file))):
            if count > _OPCODES:
                refuse("it has too many parts")
            if opcode.name == "STOP":
                return self.stack.pop()
            self.step(opcode.name, arg)
        return refuse("it is cut short")

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
                    refuse(f"it appends to {target!r:.80}")
                target.extend(values)
            case "ADDITEMS":
                values = self.marked()
                if not isinstance(stack[-1], set):
                    refuse("it adds to what is no set")
                stack[-1].update(map(_key, values))
            case "SETITEM" | "SETITEMS":
                values = [pop(), pop()][::-1] if name == "SETITEM" else self.marked()
                target = stack[-1].items if isinstance(stack[-1], Record) else stack[-1]
                if not isinstance(target, dict):
                    refuse(f"it sets items of {target!r:.80}")
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
                refuse(f"it has the opcode {name}, which no file of weights needs")

    def marked(self) -> list[Any]:
        """Take what stands on the stack above the last mark."""
        place = len(self.stack) - 1
        while self.stack[place] is not _Mark:
            place -= 1
            if place < 0:
                refuse("it is damaged")
        values = self.stack[place + 1 :]
        del self.stack[place:]
        return values

    def persistent(self, what: Any) -> Any:
        """Return what torch keeps beside a pickle: a storage, or a class whose source comes along, unread."""
        import torch

        if isinstance(what, tuple) and len(what) == 4 and what[0] == "module":
            return what[1]
        if not (isinstance(what, tuple) and len(what) in (5, 6) and what[0] == "storage"):
            refuse("it names memory that is not torch's")
        kind = what[1].name.rpartition(".")[2].removesuffix("Storage") if isinstance(what[1], _Name) else ""
        key, count, view = what[2], what[4], what[5] if len(what) == 6 else None
        if kind not in _DTYPES or not isinstance(key, str) or type(count) is not int or count < 0 or view is not None:
            refuse(f"it has memory of a kind that is not read: {kind or what[1]!r:.80}")
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
        refuse("it names a class by what is no text")
    full = f"{module}.{name}".replace("__builtin__.", "builtins.").replace("copy_reg.", "copyreg.")
    full = full.replace("UserDict.", "collections.")
    root = full.partition(".")[0]
    # Dots in the name lead from an object to its attributes, from any class to any module that it has imported.
    if "." in name or (root in sys.stdlib_module_names and full not in _CALLS and full not in _HARMLESS):
        refuse(f"it names {full[:120]}, which is code and no data; nothing of it was run")
    return _Name(full)


def _called(function: Any, args: Any) -> Any:
    """Return the data that a function of a file would have made; raises :class:`UserError` for one not known."""
    if not isinstance(function, _Name) or not isinstance(args, tuple):
        refuse("it calls what is no function")
    full = function.name
    known = _CALLS.get(full) or _CALLS.get("*." + full.rpartition("persistence.")[2])
    if known is not None:
        return known(*args)
    # A class that is made with arguments. Of a function nothing is known, and what it would have made is missing.
    if not full.rpartition(".")[2].lstrip("_")[:1].isupper() and not full.startswith("numpy."):
        refuse(f"it calls {full[:120]}, which is code and no data; nothing of it was run")
    return Record(full, args)


def _made(made_of: Any, args: Any) -> Any:
    if not isinstance(made_of, _Name):
        refuse("it makes an object of what is no class")
    if made_of.name in _CALLS:
        return _CALLS[made_of.name](*args)
    return Record(made_of.name, tuple(args))


def _persistent(meta: Any) -> Record:
    """Return an object of a class whose source lies in the file, which is not looked at."""
    found = entries(meta)
    return Record(str(found.get("class_name"))[:120], (), found.get("state"))


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> torch.Tensor:
    if not isinstance(storage, Storage):
        refuse("a tensor has no memory")
    return storage.tensor(offset, size, stride)


def _of_bytes(content: Any) -> Any:
    if not isinstance(content, bytes):
        refuse("a storage is no bytes")
    return read_stream(io.BytesIO(content), len(content))


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
        refuse("a key of it has no value")
    target.update((_key(key), value) for key, value in zip(values[::2], values[1::2], strict=True))


def _key(value: Any, depth: int = 0) -> Hashable:
    """Return a key; raises :class:`UserError` for one that would be costly to hash, or nested until Python crashes."""
    if isinstance(value, tuple) and depth < 4:
        for each in value:
            _key(each, depth + 1)
    elif not isinstance(value, str | bytes | int | float | None | _Name | Record):
        refuse(f"it has a key of the type {type(value).__name__}")
    keys: Hashable = value
    return keys
