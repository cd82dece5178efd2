"""Names in any script: what people call their folders is kept and shown, and nothing of it acts on a terminal."""

from __future__ import annotations

import ast
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import unicodedata
import warnings
from pathlib import Path

import numpy as np
import pytest
from conftest import Command
from PIL import Image

from ganzoo import Attributes, Label, Signature, UserError
from ganzoo.cli.options import conditions
from ganzoo.images.plots import caption, save_curves
from ganzoo_runtime import Generator, ModelError
from ganzoo_runtime.metadata import check_document
from ganzoo_runtime.text import fits, same, shown

NAMES = [
    "cafe\u0301 noir",  # the accent a character of its own, as some systems store it
    "a\u00a0b",
    "全角\u3000空白",
    "می\u200cخواهم",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467",
    "\u200eleft to right",
    "Œuvre $x^$ {y}",
    "future \U0001fbff\U000323b0",  # no character in the Unicode of today
]
"""In other scripts, with spaces, joiners and marks of their own."""

UNFIT = ["esc\x1b[31mape", "bell\a", "two\nlines", "tab\tbed", "c1\x9b31m", "del\x7f", "surrogate\udce9"]
"""What files cannot keep as a name."""

ACTING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def images(folder: Path, names: list[str]) -> None:
    rng = np.random.default_rng(0)
    for name in names:
        (folder / name).mkdir(parents=True)
        for number in range(2):
            Image.fromarray(rng.integers(0, 256, (16, 16), np.uint8)).save(folder / name / f"{number}.png")


def train(path: str, *more: object) -> tuple[object, ...]:
    data = ("--data", "folder", "--set", f"data.path={path}", "--set", "data.mode=grey")
    tiny = ("--set", "model.width=2", "--set", "model.latent_dim=4", "--steps", "1", "-q")
    return ("train", "-p", "cgan", *data, *tiny, *more)


def test_classes_in_any_script_from_training_to_export(cli: Command) -> None:
    images(Path("images"), NAMES)
    assert cli(*train("images")).code == 0
    (run,) = Path("runs").iterdir()
    known = json.loads(cli("export", run, "--onnx", "--json").out)["signature"]["inputs"][1]["names"]
    assert sorted(known) == sorted(NAMES)
    generator = Generator(run / "generator.onnx", providers=["CPUExecutionProvider"])
    assert generator.signature["inputs"][1]["names"] == known
    for name in NAMES:
        for typed in (name, unicodedata.normalize("NFC", name)):
            asked = conditions(Signature.from_json(generator.signature), 0, 1.0, [typed], None)
            assert asked["label"] == {"y": known.index(name)}
    for model, name in ((run, NAMES[3]), (run / "generator.onnx", NAMES[4])):
        assert cli("sample", model, "--label", name, "-n", "2", "--out", "a.npz").code == 0
        with np.load("a.npz") as file:
            assert [known[number] for number in file["y"]] == [name] * 2
        sentence = cli("sample", model, "--label", "nothing").refused("unknown --label 'nothing'")
        assert not ACTING.search(sentence)
        for name in NAMES:
            assert shown(name) in sentence
    assert cli("grid", run / "generator.onnx", "-n", "1").code == 0
    assert cli("compare", run, "--json").code == 0


@pytest.mark.parametrize("name", UNFIT)
def test_classes_that_cannot_be_kept_are_refused_before_training(cli: Command, name: str) -> None:
    images(Path("images"), ["a", name])
    sentence = cli(*train("images")).refused("cannot be the name of a class", "rename it")
    assert repr(name) in sentence
    assert not ACTING.search(sentence)
    assert not Path("runs").exists()


def test_attributes_and_directions_that_cannot_be_kept(cli: Command, trained: dict[str, Path]) -> None:
    images(Path("images"), ["a"])
    lines = ["file,age,\x1b[2J", "a/0.png,1,2", "a/1.png,3,4"]
    Path("images/t.csv").write_text("\n".join(lines) + "\n")
    cli(*train("images", "--set", "data.attributes=t.csv")).refused("cannot be the name of an attribute", "rename it")
    rows = [f"{number},0,{number}" for number in range(12)]
    Path("labels.csv").write_text("\n".join(["sample,seed,a\x1bb", *rows]) + "\n")
    model = trained["digits"] / "generator.onnx"
    cli("directions", "fit", model, "--labels", "labels.csv").refused(r"the column 'a\x1bb'", "cannot give")
    for name in UNFIT:
        with pytest.raises(UserError, match=r"cannot be (kept|the name of a class)"):
            Label(2, ("a", name))
        with pytest.raises(UserError, match="cannot be the name of an attribute"):
            Attributes(1, (name,))


def test_folders_whose_names_are_no_text(cli: Command, trained: dict[str, Path]) -> None:
    undecodable = os.fsdecode(b"caf\xe9")
    images(Path("images"), NAMES[:2])
    shutil.copytree("images", undecodable)
    cli(*train(undecodable)).refused(r"setting 'data.path'", "no text", r"not 'caf\udce9'")
    cli(*train("a\x1bb")).refused(r"setting 'data.path'", "control characters", r"not 'a\x1bb'")
    cli(*train("images", "--out", undecodable)).refused(r"cannot write to 'caf\udce9'", "choose another --out")
    shutil.copy(trained["digits"] / "generator.onnx", Path(undecodable, "\x1b.onnx"))
    outcome = cli("sample", Path(undecodable, "\x1b.onnx"), "-n", "2", "--out", Path(undecodable, "a.npz"))
    assert (outcome.code, outcome.out) == (0, r"caf\udce9/a.npz" + "\n")
    model = Path(shutil.copytree(trained["digits"], "\x1b[31m\u202eevil"))
    outcome = cli("sample", model, "-n", "2", "--out", model / "a.npz")
    assert (outcome.code, outcome.out) == (0, r"\u001b[31m\u202eevil/a.npz" + "\n")
    (model / "eval.json").write_text('{"figures": {"a\\u001b/b": 1}}')
    outcome = cli("compare", model, "--out", "a.png")
    assert outcome.code == 0
    assert not ACTING.search(outcome.out + outcome.err)
    assert r"\u001b[31m\u202eevil" in outcome.out
    cli("sample", model / "\x1bno.onnx").refused(r"\u001b[31m\u202eevil/\u001bno.onnx")


def test_a_terminal_of_another_encoding(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ganzoo", "sample", "模\u3000型\x1b.onnx"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii:strict", "PYTHONUTF8": "1"}
    done = subprocess.run(command, capture_output=True, cwd=tmp_path, env=environment, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(rb"ganzoo: there is no run folder or file \u6a21\u3000\u578b\u001b.onnx")
    assert done.stderr.count(b"\n") == 1


def test_names_in_the_log_are_escaped(cli: Command, caplog: pytest.LogCaptureFixture) -> None:
    images(Path("images"), ["a"])
    Path("images/a/\x1b[2J.png").write_text("no image")
    assert cli(*train("images")[:-1], "--dry-run").code in (0, 2)
    told = [record.getMessage() for record in caplog.records if "[2J" in record.getMessage()]
    assert told
    assert all(r"\u001b[2J.png" in message and "\x1b" not in message for message in told)


def test_names_in_pictures(tmp_path: Path) -> None:
    rows = [{"step": step, f"{name}/loss": 1.0} for step in (1, 2) for name in (*NAMES, "a\x1b", "$", "$x^$")]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save_curves(tmp_path / "a.png", rows)
    with Image.open(tmp_path / "a.png") as image:
        assert image.size[0] > 100
    assert caption("$x^$\x1b") == r"\$x^\$\u001b"


# --- The one rule


def test_what_is_a_name() -> None:
    for name in NAMES:
        assert fits(name)
        assert fits(name, lines=True)
    for name in UNFIT:
        assert not fits(name)
    assert fits("two\nlines and a\ttab", lines=True)
    assert not fits("carriage\rreturn", lines=True)


def test_what_is_shown_neither_acts_nor_changes_a_document() -> None:
    everything = "".join(map(chr, range(0x3000))) + "\U0001f469\u200d\U000e0067" + "\udce9"
    assert not ACTING.search(shown(everything))
    visible = "".join(char for char in everything if not ACTING.match(char))
    assert re.sub(r"\\u[0-9a-f]{4}", "", shown(everything)) == visible.replace(r"\\u[0-9a-f]{4}", "")
    text = json.dumps({"a\u202e": "b\x9b\u2028"}, ensure_ascii=False)
    assert json.loads(shown(text)) == json.loads(text)
    assert shown("as it is\n\tand \u3000") == "as it is\n\tand \u3000"


def test_the_same_name_in_other_code_points() -> None:
    names = ["cafe\u0301", "caf", "\uac00"]
    assert same("caf\u00e9", names) == names[0]
    assert same("\u1100\u1161", names) == names[2]
    assert same("cafe", names) == "cafe"
    assert same("caf\u00e9", [*names, "caf\u00e9"]) == "caf\u00e9"


def test_the_runtime_has_the_same_rule() -> None:
    latent = {"kind": "latent", "name": "z", "dtype": "float32", "shape": [1], "distribution": "normal"}
    output = {"kind": "points", "name": "x", "dtype": "float32", "shape": [1]}

    def document(name: str) -> dict[str, object]:
        label = {"kind": "label", "name": "y", "dtype": "int64", "shape": [], "classes": 1, "names": [name]}
        return {"schema": 1, "signature": {"inputs": [latent, label], "output": output}}

    for name in NAMES:
        check_document(document(name))
    for name in UNFIT:
        with pytest.raises(ModelError, match=r"cannot be (kept|the name of a class)"):
            check_document(document(name))


def test_everything_that_prints_goes_through_the_terminal() -> None:
    import ganzoo
    import ganzoo_plugins

    found = 0
    for package in (ganzoo, ganzoo_plugins):
        for path in Path(package.__path__[0]).rglob("*.py"):
            nodes = list(ast.walk(ast.parse(path.read_text())))
            calls = [node.func for node in nodes if isinstance(node, ast.Call)]
            prints = any(isinstance(call, ast.Name) and call.id == "print" for call in calls)
            imported = any(
                isinstance(node, ast.ImportFrom)
                and node.module == "ganzoo.terminal"
                and any(name.name == "print" for name in node.names)
                for node in nodes
            )
            assert imported or not prints or path.name == "terminal.py", f"{path} prints without ganzoo.terminal"
            found += prints
            writes = [call for call in calls if isinstance(call, ast.Attribute) and call.attr == "write"]
            assert not [call for call in writes if ast.unparse(call.value).startswith("sys.std")], path
    assert found > 5
    assert logging.getLogger("ganzoo").filters


def test_a_run_in_a_folder_that_is_no_text(cli: Command, trained: dict[str, Path], tmp_path: Path) -> None:
    odd = os.fsencode(tmp_path) + b"/x\xff"
    shutil.copytree(trained["digits"], os.fsdecode(odd))
    cli("sample", os.fsdecode(odd)).refused("cannot read", "rename it")
