"""What several processes send in a training step, and how long the exchange of gradients takes between CPUs.

    torchrun --standalone --nproc-per-node 2 benchmarks/exchange.py [--rounds 20]; writes results/exchange.json

The models take turns, so that whatever else the machine does is in all figures. ``bytes`` are the gradients of a step,
of all phases, lazy ones by their share; one process alone sends none. ``ms`` is how long the engine takes for those of
all networks once, from the gradients of each weight to their means: the median over the rounds, and the least;
``flag_ms`` is the exchange of the one number that each step has beside it.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from ganzoo import Image, load_config, load_registry
from ganzoo.testing.samples import random_data
from ganzoo.training.engine import connected

MODELS = {
    "dcgan": ("dcgan", None, 28),
    "stylegan2": ("stylegan2", None, 64),
    "stylegan2, paper256": ("stylegan2", "paper256", 256),
}


def gradients(model: str, preset: str | None, side: int) -> tuple[list[list[torch.Tensor]], float]:
    """Return gradients for each network, and how many bytes of them a step sends."""
    data = random_data(Image(3, side, side, range=(0, 255)), size=32)
    config = load_config(load_registry(), model, preset=preset, sets=["device=cpu"])
    trainer = config.build_trainer(data.spec)
    found = {
        name: [torch.ones_like(each) for each in network.parameters()] for name, network in trainer.networks.items()
    }
    sizes = {name: sum(each.numel() * each.element_size() for each in parts) for name, parts in found.items()}
    sent = sum(sizes[name] * phase.repeat / phase.every for phase in trainer.phases() for name in phase.updates)
    return list(found.values()), sent


def milliseconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    asked = parser.parse_args()
    with connected() as (engine, _):
        made = {model: gradients(*choice) for model, choice in MODELS.items()}
        times: dict[str, list[float]] = {model: [] for model in made}
        flags: list[float] = []
        for _ in range(asked.rounds + 1):  # the first is thrown away
            for model, (networks, _) in made.items():
                engine.largest(0)  # both begin together
                times[model].append(sum(milliseconds(lambda: engine.reduce(parts)) for parts in networks))  # noqa: B023
                flags.append(milliseconds(lambda: engine.largest(0)))
        rows = []
        for model, (networks, sent) in made.items():
            size = sum(each.numel() * each.element_size() for parts in networks for each in parts)
            median, least = statistics.median(times[model][1:]), min(times[model][1:])
            rows.append(
                {
                    "model": model,
                    "bytes": round(sent),
                    "megabytes_exchanged": round(size / 1e6, 1),
                    "ms": round(median, 1),
                    "least": round(least, 1),
                    "ms_per_megabyte": round(median / (size / 1e6), 2),
                    "least_per_megabyte": round(least / (size / 1e6), 2),
                }
            )
        document = {
            "device": "CPU, one thread a process, gloo over the loopback interface",
            "processes": engine.world,
            "cores": os.cpu_count(),
            "load_before": round(os.getloadavg()[0], 1),
            "torch": torch.__version__,
            "flag_ms": round(statistics.median(flags[1:]), 2),
            "rows": rows,
        }
        if engine.writes:
            print(json.dumps(document, indent=1))
            (Path(__file__).parent / "results" / "exchange.json").write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
