"""Sample from a model that a Triton Inference Server serves, through its HTTP API (the KServe protocol, version 2).

python client.py http://localhost:8000 cgan-mnist5k samples.npz --n 16 --seed 0 [--label 7]
"""

import argparse
import json
import urllib.request
from typing import Any

import numpy as np


def main() -> None:
    parser = argparse.ArgumentParser(description="Sample from a model that Triton serves.")
    parser.add_argument("server", help="such as http://localhost:8000")
    parser.add_argument("model", help="the model's name, which is its folder's")
    parser.add_argument("file", help="the .npz to write: samples, float32 [n, ...]")
    parser.add_argument("--n", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--label", type=int, help="a class; all in turn if left out")
    options = parser.parse_args()

    address = f"{options.server}/v2/models/{options.model}"
    config = ask(f"{address}/config")
    signature = json.loads(config["parameters"]["ganzoo"]["string_value"])["signature"]
    inputs = draw(signature["inputs"], options.n, options.seed, options.label)
    most = config["max_batch_size"]
    starts = range(0, options.n, most)
    parts = [infer(address, {name: values[i : i + most] for name, values in inputs.items()}) for i in starts]
    np.savez_compressed(options.file, samples=np.concatenate(parts))
    print(f"{options.file}: {options.n} samples")


def draw(fields: list[dict[str, Any]], n: int, seed: int, label: int | None) -> dict[str, np.ndarray]:
    """The latents that ganzoo's own runtime draws for this seed, and labels, each [n, ...], by the input's name."""
    inputs: dict[str, np.ndarray] = {}
    streams, rest = 0, np.arange(n)
    for field in fields:
        shape = (n, *field["shape"])
        if field["kind"] == "latent":
            stream = np.random.Philox(seed)
            random = np.random.Generator(stream.jumped(streams) if streams else stream)
            streams += 1
            if field["distribution"] == "normal":
                inputs[field["name"]] = random.standard_normal(shape, dtype=np.float32)
            else:
                inputs[field["name"]] = random.random(shape, dtype=np.float32) * np.float32(2) - np.float32(1)
        elif field["kind"] in ("truncation", "styles"):  # all of the styles that the model maps, none of others
            inputs[field["name"]] = np.full(shape, field["kind"] == "truncation", np.float32)
        elif field["kind"] == "label":
            inputs[field["name"]] = rest % field["classes"] if label is None else np.full(n, label)
            rest = rest // field["classes"]
        else:
            raise SystemExit(f"this example draws latents and labels; the model takes {field['kind']} too")
    return inputs


def infer(address: str, inputs: dict[str, np.ndarray]) -> np.ndarray:
    types = {"float32": "FP32", "int64": "INT64"}
    tensors = [
        {
            "name": name,
            "shape": list(values.shape) if values.ndim > 1 else [len(values), 1],  # as config.pbtxt has it
            "datatype": types[str(values.dtype)],
            "data": values.ravel().tolist(),
        }
        for name, values in inputs.items()
    ]
    output = ask(f"{address}/infer", {"inputs": tensors, "outputs": [{"name": "sample"}]})["outputs"][0]
    return np.asarray(output["data"], np.float32).reshape(output["shape"])


def ask(url: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)


if __name__ == "__main__":
    main()
