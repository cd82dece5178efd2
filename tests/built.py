"""Small networks in ONNX, built with onnx alone, for tests of the runtime and of what uses it."""

import json

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from ganzoo import Image, Label, Latent, Points, Signature

CPU = ["CPUExecutionProvider"]
IMAGE = Signature((Latent((3, 2)), Label(5)), Image(1, 4, 4))
POINTS = Signature((Latent((4,), "uniform"),), Points(2))


def build(signature: Signature, document: object = None, *, key: str = "ganzoo", batch: object = "batch") -> bytes:
    """A network in ONNX: the inputs flattened, multiplied by fixed matrices, added up and squashed."""
    rng, nodes, weights, terms = np.random.default_rng(0), [], [], []
    size = int(np.prod(signature.output.shape))

    def constant(name: str, values: np.ndarray) -> str:
        weights.append(numpy_helper.from_array(values, f"{name}::weight"))
        return f"{name}::weight"

    for field in signature.inputs:
        width = getattr(field, "classes", 0) or int(np.prod(field.shape))
        table = constant(field.name, rng.standard_normal((width, size), dtype=np.float32))
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
        helper.make_node("Reshape", ["::tanh", shape], ["::sample"]),
    ]
    types = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64}
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(f.name, types[f.dtype], [batch, *f.shape]) for f in signature.inputs],
        [helper.make_tensor_value_info("::sample", TensorProto.FLOAT, [batch, *signature.output.shape])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    if document is None:
        document = {"schema": 1, "signature": signature.to_json()}
    helper.set_model_props(model, {"other": "1", key: document if isinstance(document, str) else json.dumps(document)})
    return model.SerializeToString()
