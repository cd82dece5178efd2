"""Pickles of others: what honest files hold is read as it is, and hostile ones run nothing."""

import argparse
import io
import os
import pickle
import pickletools
import struct
import subprocess
import sys
import types
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ganzoo import UserError
from ganzoo.files import Record, entries, module_tensors, opcodes, read_pickle

TENSORS = {
    "a": torch.arange(6.0).reshape(2, 3).t(),
    "b": torch.arange(3),
    "half": torch.ones(2, dtype=torch.bfloat16),
    "none": torch.zeros(0, 3),
    "flag": torch.tensor(True),
    "parameter": nn.Parameter(torch.full((2,), 3.0)),
}


class Options:
    """A class that the reader has never heard of."""

    def __init__(self) -> None:
        self.depth = 4


class Small(nn.Module):
    """A network that is pickled whole."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 2)
        self.rest = nn.ModuleList([nn.BatchNorm1d(2)])
        self.register_buffer("left", torch.zeros(1), persistent=False)
        self.nothing = None
        self.register_parameter("absent", None)


def written(path: Path, value: Any, how: str) -> Path:
    """Write a value with torch, in either of its formats, or with pickle."""
    if how.startswith("pickle"):
        path.write_bytes(pickle.dumps(value, protocol=int(how[-1])))
    else:
        torch.save(value, path, _use_new_zipfile_serialization=how == "zip")
    return path


WAYS = ["zip", "legacy", "pickle2", "pickle3", "pickle4", "pickle5"]


@pytest.mark.parametrize("how", WAYS)
def test_tensors_containers_and_objects_are_read(tmp_path: Path, how: str) -> None:
    plain = {"n": [1, 2.5, None, True, "text", b"bytes", (1,), {2}, -(2**70)], 5: OrderedDict(x=1)}
    settings = argparse.Namespace(size=256, path="x")
    found = read_pickle(
        written(tmp_path / "f", {"t": TENSORS, "plain": plain, "args": settings, "own": Options()}, how)
    )
    assert found["plain"] == plain
    for name, tensor in TENSORS.items():
        assert torch.equal(found["t"][name], tensor)
        assert found["t"][name].dtype == tensor.dtype
    assert entries(found["args"]) == {"size": 256, "path": "x"}
    assert isinstance(found["own"], Record)
    assert found["own"].name == f"{__name__}.Options"
    assert entries(found["own"]) == {"depth": 4}


@pytest.mark.parametrize("how", WAYS)
def test_a_module_that_was_pickled_whole_gives_its_state(tmp_path: Path, how: str) -> None:
    network = Small()
    found = module_tensors(read_pickle(written(tmp_path / "f", network, how)))
    assert found.keys() == network.state_dict().keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in network.state_dict().items())


def test_tensors_that_share_memory_are_read(tmp_path: Path) -> None:
    base = torch.arange(10.0)
    for how in ("zip", "legacy"):
        first, second = read_pickle(written(tmp_path / "f", [base[2:5], base[::2]], how))
        assert (first.tolist(), second.tolist()) == ([2, 3, 4], [0, 2, 4, 6, 8])


class Calls:
    """Pickled as the call of a function."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.function, self.args = function, args

    def __reduce__(self) -> Any:
        return self.function, self.args


def bombs(side: Path) -> dict[str, bytes]:
    """Return hostile pickles by what they try; those that run code would make the file ``side``."""
    touch = f"touch {side}"
    source = f"open({str(side)!r}, 'w').close()"
    nested = b"\x80\x04" + b")" + b"\x85" * 100_000 + b"}" + b"\x8c\x01x" + b"s."
    laughs = b"\x80\x04]" + b"\x94" + b"".join(b"](h" + bytes([i]) + b"h" + bytes([i]) + b"e\x94" for i in range(200))
    return {
        "system": pickle.dumps(Calls(os.system, touch)),
        "popen": pickle.dumps(Calls(subprocess.Popen, ["touch", str(side)])),
        "eval": pickle.dumps(Calls(eval, f"__import__('os').system({touch!r})")),
        "exec": pickle.dumps([1, Calls(exec, source)]),
        "getattr": pickle.dumps(Calls(getattr, [], "append")),
        "attribute": b"\x80\x04\x8c\x05torch\x8c\x09os.system\x93.",
        "python 2": b"c__builtin__\neval\n(S'1'\ntR.",
        "instance": f"(S'{touch}'\nios\nsystem\n.".encode(),
        "object": b"(cos\nsystem\nS'" + touch.encode() + b"'\no.",
        "new": b"\x80\x04\x8c\x05posix\x8c\x06system\x93" + pickle.dumps((touch,))[2:-1] + b"\x81.",
        "unknown function": b"\x80\x04\x8c\x05thing\x8c\x03run\x93)R.",
        "extension": b"\x80\x02\x82\x01.",
        "persistent": b"Pos.system\n.",
        "large bytes": b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"x.",
        "large array": b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"x.",
        "large number": b"\x80\x02\x8b" + struct.pack("<i", 2**30) + b"x.",
        "many digits": b"I" + b"9" * 100_000 + b"\n.",
        "nested key": b"\x80\x04})" + b"\x85" * 100_000 + b"Ns.",
        "no key": b"\x80\x04}(Nu.",
        "empty stack": b"\x80\x04R.",
        "no mark": b"\x80\x04Nt.",
        "no end": b"\x80\x04N",
        "nothing": b"",
        "text": b"not a pickle",
        "unequal": nested,
        "laughs": laughs,
        "missing memo": b"\x80\x04h\x07.",
    }


@pytest.mark.parametrize("name", bombs(Path("x")))
def test_hostile_pickles_do_nothing(tmp_path: Path, name: str) -> None:
    side, file = tmp_path / "side", tmp_path / "file.pkl"
    file.write_bytes(bombs(side)[name])
    with pytest.raises(UserError) as caught:
        read_pickle(file)
    assert str(caught.value).startswith(f"cannot read {file}: ")
    assert "\n" not in str(caught.value)
    assert not side.exists()
    for named in ("os.system", "posix.system", "builtins.eval", "subprocess.Popen", "builtins.exec", "thing.run"):
        function = {"posix.system": "system", "builtins.eval": "eval", "subprocess.Popen": "popen"}.get(named)
        if name == function or (name, named) in {("exec", "builtins.exec"), ("unknown function", "thing.run")}:
            assert f"{named}, which is code and no data; nothing of it was run" in str(caught.value)


def test_hostile_files_of_torch_do_nothing(tmp_path: Path) -> None:
    side = tmp_path / "side"
    for how in ("zip", "legacy"):
        with pytest.raises(UserError, match="system, which is code and no data"):
            read_pickle(written(tmp_path / "f", {"a": torch.ones(3), "b": Calls(os.system, f"touch {side}")}, how))
    storage = io.BytesIO()
    torch.save(Calls(os.system, f"touch {side}"), storage, _use_new_zipfile_serialization=False)
    (tmp_path / "f").write_bytes(pickle.dumps(Calls(torch.storage._load_from_bytes, storage.getvalue())))
    with pytest.raises(UserError, match="system, which is code"):
        read_pickle(tmp_path / "f")
    assert not side.exists()


@pytest.mark.parametrize("how", ["zip", "legacy", "pickle4"])
def test_files_that_are_cut_short_are_refused(tmp_path: Path, how: str) -> None:
    content = written(tmp_path / "whole", TENSORS, how).read_bytes()
    for length in range(1, len(content), max(len(content) // 97, 1)):
        (tmp_path / "f").write_bytes(content[:length])
        with pytest.raises(UserError, match="cannot read"):
            read_pickle(tmp_path / "f")


def _archive(path: Path, members: dict[str, bytes], kind: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def _tensor(count: int, size: tuple[int, ...], stride: tuple[int, ...], offset: int = 0, key: str = "0") -> bytes:
    """Return the pickle of a tensor as torch writes it into an archive, its numbers as given."""

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj: Any) -> Any:
            return obj.what if isinstance(obj, Memory) else None

    class Memory:
        what = ("storage", torch.FloatStorage, key, "cpu", count)

    out = io.BytesIO()
    rebuild = Calls(torch._utils._rebuild_tensor_v2, Memory(), offset, size, stride, False, OrderedDict())
    Pickler(out, protocol=2).dump(rebuild)
    return out.getvalue()


def test_tensors_beyond_their_memory_are_refused(tmp_path: Path) -> None:
    good = {"x/data.pkl": _tensor(4, (2, 2), (2, 1)), "x/data/0": np.arange(4.0, dtype="f4").tobytes()}
    assert read_pickle(_archive(tmp_path / "f", good)).tolist() == [[0, 1], [2, 3]]
    for numbers in [
        (4, (5,), (1,)),
        (4, (2**40,), (0,)),
        (4, (2, 2), (2, 2)),
        (4, (1,), (1,), 4),
        (4, (2,), (-1,)),
        (4, (-2,), (1,)),
    ]:
        with pytest.raises(UserError, match="a tensor"):
            read_pickle(_archive(tmp_path / "f", good | {"x/data.pkl": _tensor(*numbers)}))
    for members in [
        good | {"x/data.pkl": _tensor(4, (2, 2), (2, 1), key="../../etc/passwd")},
        good | {"y/data.pkl": good["x/data.pkl"]},
        {"x/other": b""},
        good | {"x/byteorder": b"big"},
    ]:
        with pytest.raises(UserError, match="cannot read"):
            read_pickle(_archive(tmp_path / "f", members))
    with pytest.raises(UserError, match="compressed"):
        read_pickle(_archive(tmp_path / "f", good | {"x/data/0": bytes(2**20)}, zipfile.ZIP_DEFLATED))


def test_other_files_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "missing", tmp_path / "fifo"):
        with pytest.raises(UserError, match="cannot read"):
            read_pickle(path)
    (tmp_path / "large").write_bytes(pickle.dumps(bytes(100)))
    with pytest.raises(UserError, match="more than the limit of 50"):
        read_pickle(tmp_path / "large", 50)


def test_too_many_parts_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opcodes, "_OPCODES", 100)
    (tmp_path / "f").write_bytes(b"\x80\x04" + b"N0" * 50 + b"N.")
    with pytest.raises(UserError, match="too many parts"):
        read_pickle(tmp_path / "f")


def test_a_module_without_end_is_refused(tmp_path: Path) -> None:
    module: dict[str, Any] = {"_modules": {}}
    module["_modules"] = {"a": module, "b": module}
    (tmp_path / "f").write_bytes(pickle.dumps(module))
    with pytest.raises(UserError, match="nested without end"):
        module_tensors(read_pickle(tmp_path / "f"))
    with pytest.raises(UserError, match="is no module"):
        module_tensors({"a": 1})
    with pytest.raises(UserError, match="a is no tensor"):
        module_tensors({"_modules": {}, "_parameters": {"a": 1}})


def test_source_in_a_file_is_a_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    side = tmp_path / "side"
    persistence = types.ModuleType("torch_utils.persistence")
    monkeypatch.setitem(sys.modules, "torch_utils", types.ModuleType("torch_utils"))
    monkeypatch.setitem(sys.modules, "torch_utils.persistence", persistence)

    def _reconstruct_persistent_obj(meta: Any) -> None:
        exec(meta["module_src"])

    _reconstruct_persistent_obj.__module__ = "torch_utils.persistence"
    _reconstruct_persistent_obj.__qualname__ = "_reconstruct_persistent_obj"
    persistence._reconstruct_persistent_obj = _reconstruct_persistent_obj  # type: ignore[attr-defined]
    source = f"open({str(side)!r}, 'w').close()"
    state = vars(Small())
    meta = {"type": "class", "version": 6, "module_src": source, "class_name": "Generator", "state": state}
    content = pickle.dumps({"G": Calls(_reconstruct_persistent_obj, meta)})
    pickle.loads(content)  # as its authors would
    assert side.exists()
    side.unlink()
    (tmp_path / "f").write_bytes(content)
    found = read_pickle(tmp_path / "f")["G"]
    assert found.name == "Generator"
    assert "first.weight" in module_tensors(found)
    assert not side.exists()
    assert any(opcode.name == "REDUCE" for opcode, _, _ in pickletools.genops(content))
