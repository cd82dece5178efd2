"""ONNX files made by hand in no time: as an export writes them, but for what the network computes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ganzoo import Signature

TYPES = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64, "uint8": TensorProto.UINT8}


def write_model(path: Path, signature: Signature, *, weights_in: str = "", **metadata: Any) -> Path:
    """Write a network that multiplies its flattened inputs by fixed matrices, adds them up and squashes the sum.

    With ``weights_in`` they are in a file of that name beside it.
    """
    rng, nodes, weights, terms = np.random.default_rng(0), [], [], []
    size = int(np.prod(signature.output.shape))

    def constant(name: str, values: np.ndarray) -> str:
        weights.append(numpy_helper.from_array(values, f"{name}::weight"))
        return f"{name}::weight"

    for field in signature.inputs:
        width = getattr(field, "classes", 0) or int(np.prod(field.shape))
        table = constant(field.name, rng.standard_normal((width, size), dtype=np.float32) / np.float32(width**0.5))
        if field.dtype == "int64":
            nodes.append(helper.make_node("Gather", [table, field.name], [f"{field.name}::term"]))
        else:
            nodes.append(helper.make_node("Flatten", [field.name], [f"{field.name}::flat"]))
            nodes.append(helper.make_node("MatMul", [f"{field.name}::flat", table], [f"{field.name}::term"]))
        terms.append(f"{field.name}::term")
    shape = constant("::shape", np.array([-1, *signature.output.shape]))
    nodes += [
        helper.make_node("Sum", terms, ["::sum"]),
        helper.make_node("Tanh", ["::sum"], ["::tanh"]),
        helper.make_node("Reshape", ["::tanh", shape], ["::shaped" if signature.output.dtype == "uint8" else "sample"]),
    ]
    if signature.output.dtype == "uint8":
        scale, middle = (constant(f"::{value}", np.float32(value)) for value in (127.5, 128))
        nodes += [
            helper.make_node("Mul", ["::shaped", scale], ["::scaled"]),
            helper.make_node("Add", ["::scaled", middle], ["::moved"]),
            helper.make_node("Cast", ["::moved"], ["sample"], to=TensorProto.UINT8),
        ]
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(f.name, TYPES[f.dtype], ["batch", *f.shape]) for f in signature.inputs],
        [helper.make_tensor_value_info("sample", TYPES[signature.output.dtype], ["batch", *signature.output.shape])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    document = {"schema": 1, "signature": signature.to_json(), "directions": {}, **metadata}
    helper.set_model_props(model, {"other": "1", "ganzoo": json.dumps(document)})
    onnx.checker.check_model(model)
    onnx.save(model, path, save_as_external_data=bool(weights_in), location=weights_in or None, size_threshold=256)
    return path
