"""Model files that somebody made to do harm, and a process of its own that opens them: ``python hostile.py FOLDER``."""

from __future__ import annotations

import json
import random
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ganzoo_runtime import file_checks as trust

SIGNATURE = {
    "inputs": [{"kind": "latent", "name": "z", "dtype": "float32", "shape": [4], "distribution": "normal"}],
    "output": {"kind": "points", "name": "x", "dtype": "float32", "shape": [4]},
}


def model(nodes: list[Any], **weights: Any) -> onnx.ModelProto:
    """A model with our metadata from ``z`` to ``y``; if the nodes end in ``e``, its maximum is added to ``z``."""
    if nodes[-1].output[0] == "e":
        nodes = [*nodes, node("ReduceMax", "e", "most", keepdims=0), node("Add", "z most")]
    z = helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", None])
    values = [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "g", [z], [y], values)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    helper.set_model_props(made, {"ganzoo": json.dumps({"schema": 1, "signature": SIGNATURE})})
    return made


def node(kind: str, inputs: str, outputs: str = "y", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), outputs.split(), **attributes)


def shape(*sizes: int) -> np.ndarray:
    return np.array(sizes, np.int64)


def floats(*sizes: int) -> np.ndarray:
    return np.ones(sizes, np.float32)


def hostile() -> Iterator[tuple[str, onnx.ModelProto, str]]:
    """Yield a name, a model, and words of the sentence that refuses it."""
    large, grown = "MiB for one sample, more than the limit", "grow faster than the number of samples"
    yield "constant", model([node("ConstantOfShape", "s", "e")], s=shape(2**29)), large
    constant = node("Constant", "", "s", value=numpy_helper.from_array(shape(2**30)))
    yield "constant in a node", model([constant, node("ConstantOfShape", "s", "e")]), large
    yield "expand", model([node("Expand", "z s", "e")], s=shape(2**28, 1, 4)), large
    yield "tile", model([node("Tile", "z s", "e")], s=shape(1, 2**28)), large
    yield "pad", model([node("Pad", "z p", "e")], p=shape(0, 0, 0, 2**29)), large
    thin = {"a": floats(30000, 1), "b": floats(1, 30000)}
    yield "outer product", model([node("MatMul", "a b", "e")], **thin), large
    yield "outer sum", model([node("Add", "a b", "e")], **thin), large
    numbers = {name: np.array(value, np.float32) for name, value in (("a", 0), ("b", 1e9), ("c", 1))}
    yield "range", model([node("Range", "a b c", "e")], **numbers), large
    doubling = [node("Concat", " ".join([f"c{i - 1}" if i else "z"] * 2), f"c{i}", axis=1) for i in range(27)]
    yield "doubling", model([*doubling, node("Identity", "c26")]), large
    many = [node("Expand", "z s", f"e{i}") for i in range(40)]
    yield (
        "many at once",
        model([*many, node("Sum", " ".join(f"e{i}" for i in range(40)))], s=shape(500_000, 1, 4)),
        large,
    )
    maps = [node("Unsqueeze", "z a", "u"), node("Unsqueeze", "u a", "v")]
    one: dict[str, Any] = {"a": shape(1), "r": floats(0), "w": floats(1, 1, 1, 1)}

    def resize(height: int, width: int) -> Any:
        return {**one, "scales": np.array([1, 1, height, width], np.float32)}

    yield "resize", model([*maps, node("Resize", "v r scales", "e")], **resize(20_000, 20_000)), large
    wide = node("ConvTranspose", "v w", "e", strides=[60_000, 60_000], output_padding=[59_999, 59_999])
    yield "transposed convolution", model([*maps, wide], **one), large
    wide = node("ConvTranspose", "v w", "e", output_shape=[2**30, 2**30])
    yield "transposed convolution to a size", model([*maps, wide], **one), "'output_shape' makes no sense"
    enlarged = [*maps, node("Resize", "v r scales", "m")]
    kernel = {"w": floats(1, 1, 500, 500)}
    yield "workspace", model([*enlarged, node("ConvTranspose", "m w", "e")], **resize(300, 75) | kernel), large
    pool = node("AveragePool", "m", "e", kernel_shape=[3000, 3000], pads=[2999] * 4)
    yield "pooling", model([*enlarged, pool], **resize(3000, 750)), "multiplications for one sample"
    rows = [node("Pad", "z p", "v"), node("Unsqueeze", "v a", "u"), node("Expand", "u s", "m0")]
    rows += [node("MatMul", f"m{i} w", f"m{i + 1}") for i in range(8)]
    square = {"p": shape(0, 0, 0, 1496), "a": shape(1), "w": floats(1500, 1500), "s": shape(1, 8000, 1500)}
    yield "work", model([*rows, node("Identity", "m8", "e")], **square), "multiplications for one sample"
    yield "batch squared", model([node("Transpose", "z", "t"), node("MatMul", "z t")]), grown
    for power in ("NonZero", "Unique", "Compress"):
        yield power, model([node(power, "z")]), f"has the operator {power!r}"
    branch = helper.make_graph([node("Identity", "z", "o")], "b", [], [helper.make_tensor_value_info("o", 1, None)])
    yield "if", model([node("If", "c", "y", then_branch=branch, else_branch=branch)], c=np.array(True)), ""
    yield "graph in an operator", model([node("Add", "z z", "y", body=branch)]), "graphs inside of operators"
    yield "random", model([node("RandomNormalLike", "z")]), "'RandomNormalLike'"
    yield "string", model([node("StringNormalizer", "z")]), "'StringNormalizer'"
    yield "unknown", model([node("Add", "z z", "y", domain="evil.corp")]), "'evil.corp.Add'"
    yield "no group", model([*maps, node("Conv", "v w", "y", group=0)], **one), "no sense"
    yield "no stride", model([*maps, node("Conv", "v w", "y", strides=[0, 0])], **one), "'strides' makes no sense"
    yield "no block", model([*maps, node("DepthToSpace", "v", "y", blocksize=0)], a=shape(1)), "no sense"
    yield "same name", model([node("Identity", "z", "z")]), ""
    yield "circle", model([node("Add", "z b", "a"), node("Add", "z a", "b"), node("Identity", "b")]), ""
    yield "no such value", model([node("Add", "z nobody")]), ""
    chain = [node("Neg", f"c{i}" if i else "z", f"c{i + 1}") for i in range(20_000)]
    yield "long chain", model([*chain, node("Identity", "c20000")]), "more than 10000 operators"
    yield "integer inputs", model([node("Gather", "t i", "e")], t=floats(4, 4), i=shape(10**9)), "out of data bounds"
    functions = model([node("F", "z", "y", domain="here")])
    functions.functions.append(
        helper.make_function("here", "F", ["a"], ["b"], [node("Neg", "a", "b")], [helper.make_opsetid("", 20)])
    )
    yield "function", functions, "functions"
    foreign = model([node("Neg", "z")])
    foreign.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    yield "domain", foreign, "operators of 'com.microsoft'"
    empty = model([node("Add", "z w")])
    empty.graph.initializer.add(name="w", dims=[2**30], data_type=1)
    yield "weights without data", empty, "cut short"
    empty = model([node("Add", "z w")])
    empty.graph.initializer.add(name="w", dims=[2**30], data_type=1).raw_data = b"1234"
    yield "weights with little data", empty, "cut short"
    negative = model([node("Add", "z w")])
    negative.graph.initializer.add(name="w", dims=[-1], data_type=1)
    yield "negative size", negative, "type or shape"
    text = model([node("Identity", "z")])
    text.graph.initializer.append(helper.make_tensor("s", TensorProto.STRING, [1], [b"x"]))
    yield "text", text, "weights of a kind"
    sparse = model([node("Identity", "z")])
    sparse.graph.sparse_initializer.add().dims.append(2**40)
    yield "sparse", sparse, "sparse weights"


def documents() -> Iterator[tuple[str, str, str]]:
    """Yield a name, metadata, and words of the sentence that refuses them."""

    def changed(place: str, value: Any) -> str:
        document: Any = {"schema": 1, "signature": json.loads(json.dumps(SIGNATURE))}
        *path, last = place.split(".")
        inside = document
        for key in path:
            inside = inside[int(key)] if isinstance(inside, list) else inside[key]
        inside[int(last) if isinstance(inside, list) else last] = value
        return json.dumps(document)

    image = {"kind": "image", "name": "x", "dtype": "float32", "shape": [1, 2, 2], "range": [-1, 1]}
    label = {"kind": "label", "name": "y", "dtype": "int64", "shape": [], "classes": 2, "names": []}
    bold = {"latent": "z", "vector": [0.0] * 4, "range": [-1, 1]}
    yield "long", '{"schema": 1, "x": "' + "a" * 2**25 + '"}', "cannot be read"
    yield "deep", changed("extra", json.loads("[" * 40 + "]" * 40)), "too deep"
    yield "deeper", "[" * 10**6, "cannot be read"
    yield "escape", changed("license", "\x1b[2J"), "cannot be kept"
    yield "long text", changed("license", "a" * 10_001), "too long"
    yield "not a number", changed("extra", 1).replace('"extra": 1', '"extra": NaN'), "cannot be read"
    yield "digits", changed("extra", 1).replace('"extra": 1', f'"extra": {"9" * 10_000}'), "cannot be read"
    yield "huge latent", changed("signature.inputs.0.shape", [2**30, 2**30]), "'z' is too large"
    yield "huge rank", changed("signature.inputs.0.shape", [1] * 1000), "'z' is too large"
    yield "boolean size", changed("signature.inputs.0.shape", [True]), "not made of whole numbers"
    yield "huge output", changed("signature.output.shape", [2**40]), "too large"
    yield "many inputs", changed("signature.inputs", SIGNATURE["inputs"] * 1000), "too many"
    yield "two names", changed("signature.inputs", SIGNATURE["inputs"] * 2), "one name"
    yield "no output", changed("signature.output", None), "is no object"
    yield "classes", changed("signature.inputs.0", {**label, "classes": 2**50}), "has too many classes"
    yield "class names", changed("signature.inputs.0", {**label, "names": ["a"]}), "names, but not one for each of 2"
    yield "range", changed("signature.output", {**image, "range": [1, -1]}), "does not run"
    yield "endless range", changed("signature.output", {**image, "range": [0, 10**400]}), "what is no number"
    yield "layout", changed("signature.output", {**image, "dtype": "uint8", "layout": "CHWN"}), "layout"
    yield "multiple", changed("signature.output", {**image, "multiple": 3}), "no multiple"
    yield "directions", changed("directions", []), "directions"
    few = changed("directions", {"a": {**bold, "vector": [0.0]}})
    yield "vector", few, "has 1 number and is of another model: 'z' has 4"
    yield "endless vector", changed("directions", {"a": {**bold, "vector": [1e300] * 4}}), "what is no number"
    yield "latent", changed("directions", {"a": {**bold, "latent": "w"}}), "does not have; it has: z"
    yield "mean", changed("latent_mean", {"z": "0000"}), "the mean is no list of numbers"
    yield "precision", changed("precision", "fp4"), "precision"
    yield "schema", changed("schema", "1"), "cannot be read"
    yield "newer", changed("schema", 10**4000), "this runtime reads 1: update ganzoo"


def mutated(content: bytes, seed: int) -> bytes:
    """The bytes with some of them changed, cut out, doubled or exchanged."""
    rng, data = random.Random(seed), bytearray(content)
    header = min(len(data), 4000)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        # The graph is where most of a file is weights: aim at both ends, where operators and metadata are.
        place = rng.choice((rng.randrange(header), len(data) - 1 - rng.randrange(header), rng.randrange(len(data))))
        place %= len(data)
        match rng.randrange(5):
            case 0:
                data[place] = rng.randrange(256)
            case 1:
                data[place] ^= 1 << rng.randrange(8)
            case 2:
                del data[place : place + rng.randrange(1, 9)]
            case 3:
                data[place:place] = data[place : place + rng.randrange(1, 65)]
            case 4:
                data[place : place + 4] = rng.choice((b"\xff\xff\xff\x7f", b"\0\0\0\0", b"\x80\x80\x80\x80"))
        if not data:
            return b""
    return bytes(data)


def twisted(content: bytes, seed: int) -> bytes:
    """The model, still whole as a file, with some of its operators, sizes, indices and names exchanged."""
    rng, made = random.Random(seed), onnx.load_from_string(content)
    nodes, weights = made.graph.node, made.graph.initializer
    numbers = (0, 1, -1, 2, 3, 7, 64, 4096, 2**16, 2**20, 2**31 - 1, 2**31, 2**40, -(2**31), 2**63 - 1, -(2**63))
    kinds = sorted(trust._OPERATORS)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        node, weight = rng.choice(nodes), rng.choice(weights)
        match rng.randrange(9):
            case 0:
                node.op_type = rng.choice(kinds)
            case 1 if node.input:
                other = rng.choice(nodes)
                node.input[rng.randrange(len(node.input))] = rng.choice([*other.input, *other.output])
            case 2 if node.attribute:
                attribute = rng.choice(node.attribute)
                attribute.i = rng.choice(numbers)
                attribute.ints[:] = [rng.choice(numbers) for _ in range(rng.randrange(6))]
            case 3 | 4:
                whole = [
                    each for each in weights if each.data_type == TensorProto.INT64 and len(each.raw_data) % 8 == 0
                ]
                if whole:
                    weight = rng.choice(whole)
                    values = np.frombuffer(weight.raw_data, np.int64).copy()
                    values[rng.randrange(max(1, values.size)) :] = rng.choice(numbers)
                    weight.raw_data = values.tobytes()
            case 5:
                weight.dims[:] = rng.sample([*weight.dims, 1, rng.choice(numbers[:6])], rng.randrange(4) % 3)
            case 6:
                weight.data_type = rng.randrange(24)
            case 7 if len(node.attribute) < 9:
                name = rng.choice(
                    ("axis", "group", "strides", "pads", "dilations", "to", "perm", "blocksize", "epsilon")
                )
                node.attribute.append(helper.make_attribute(name, rng.choice(([rng.choice(numbers[:9])] * 2, 0.0, 2))))
            case 8:
                made.opset_import[0].version = rng.randrange(1, 30)
    return made.SerializeToString()


def main(folder: Path) -> None:
    """Open every file of the folder and draw from it; print what came of it, and how long and how much it took."""
    from ganzoo_runtime import Generator, ModelError

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for path in sorted(folder.iterdir()):
        print(path.name, end="\t", flush=True)
        start = time.perf_counter()
        try:
            generator = Generator(path, providers=["CPUExecutionProvider"], threads=1)
            generator.sample(2, batch=2)
            said = "drawn"
        except (ModelError, ValueError) as error:
            said = str(error)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        print(json.dumps([said, round(time.perf_counter() - start, 2), round(grown)]), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
