"""Whether a change of the code has changed the mathematics: the losses of every bundled model, to the bit.

    python benchmarks/losses.py before.json               # in the old checkout
    python benchmarks/losses.py after.json                # in the new one
    python benchmarks/losses.py before.json after.json    # exit 1 and name what differs

Every bundled model is trained for 50 steps with small networks, and one of them with every loss and every regularizer.
A line of ``metrics.jsonl`` is compared for each step, and the hash of the weights after the last. Both checkouts are
used through the command line alone, so that names in the code may differ. One thread, one machine, one torch: sums in
another order have other roundings.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file

from ganzoo import load_registry

STEPS = 50
SMALL: dict[str, Any] = {
    "width": 4, "critic_width": 4, "discriminator_width": 4, "latent_dim": 4, "hidden": [8, 8], "widths": [4, 8],
    "group": 4, "embedding_dim": 3, "blocks": 1, "patch_layers": 2,
}  # fmt: skip
TRANSLATION = ("cyclegan", "discogan", "dualgan", "pix2pix")


def jobs() -> dict[str, list[str]]:
    """Return the arguments of each training by its name."""
    registry = load_registry()
    keys = {kind: [entry.spec.key for entry in registry.specs(kind)] for kind in ("model", "loss", "regularizer")}
    found = {}
    for model in keys["model"]:
        has = registry.get("model", model).spec.load().Config.model_fields
        sets = [f"model.{name}={value}" for name, value in SMALL.items() if name in has]
        if model in ("aae", "bigan"):  # of one hidden layer
            sets[sets.index("model.hidden=[8, 8]")] = "model.hidden=8"
        data = "shapes_styles" if model in TRANSLATION else "mnist5k"
        found[model] = ["--plugin", model, "--data", data, *(part for each in sets for part in ("--set", each))]
    for loss in keys["loss"]:
        if loss != "began":  # of a discriminator that is an autoencoder
            found[f"dcgan, {loss}"] = [*found["dcgan"], "--loss", loss]
    for regularizer in keys["regularizer"]:
        model = "gan_fc" if regularizer == "path_length" else "dcgan"  # whose generator has no batch norm
        found[f"{model}, {regularizer}"] = [*found[model], "--regularizer", regularizer]
    return found


def train(arguments: list[str], folder: Path) -> dict[str, Any]:
    """Train in a process of its own and return the logged losses of each step, and the hash of the weights."""
    short = ["batch_size=6", "log_every=1", f"sample_every={STEPS}", f"checkpoint_every={STEPS}", "device=cpu"]
    short.append("precision=fp32")  # the default depends on the processor
    command = [sys.executable, "-m", "ganzoo", "train", *arguments, "--steps", str(STEPS), "--seed", "0"]
    command += [part for each in short for part in ("--set", each)]
    done = subprocess.run(command, cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True)
    if done.returncode == 2:
        return {"refused": True}
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr.decode()}")
    (run,) = (folder / "runs").iterdir()
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    last = run / "checkpoints" / (run / "checkpoints" / "last").read_text().strip()
    # Sorted by themselves, since a layer may have another name.
    weights = [tensor.tobytes() for path in last.glob("*.safetensors") for tensor in load_file(path).values()]
    digest = hashlib.sha256(b"".join(sorted(weights))).hexdigest()
    steps = [{key: value for key, value in line.items() if not key.endswith("_per_second")} for line in lines]
    return {"steps": steps, "weights": digest}


def main() -> None:
    """Train all, or compare two files."""
    if len(sys.argv) == 3:
        before, after = (json.loads(Path(name).read_text()) for name in sys.argv[1:])
        differ = [name for name in {**before, **after} if before.get(name) != after.get(name)]
        raise SystemExit(f"differ: {', '.join(differ)}" if differ else f"all {len(before)} equal")
    found = {}
    for name, arguments in jobs().items():
        with tempfile.TemporaryDirectory() as folder:
            found[name] = train(arguments, Path(folder))
        print(name, found[name].get("weights", "refused")[:12], flush=True)
        Path(sys.argv[1]).write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
