"""Images a second of a training by how OpenMP's threads wait, on a quiet machine and beside two busy processes.

Usage: python benchmarks/waiting.py [--rounds 2] [--seconds 4]; writes results/waiting.json
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

WAYS = {
    "unset": {},
    "OMP_WAIT_POLICY=passive": {"OMP_WAIT_POLICY": "passive"},
    **{f"GOMP_SPINCOUNT={count}": {"GOMP_SPINCOUNT": str(count)} for count in (2_000, 10_000, 20_000)},
    "OMP_NUM_THREADS=1": {"OMP_NUM_THREADS": "1"},
}
TRAIN = """
import sys, time, torch
from ganzoo import Loop, load_config, load_registry
config = load_config(load_registry(), "wgan_gp_conv", sets=["device=cpu"])
data = config.build_dataset()
torch.manual_seed(0)
trainer = config.build_trainer(data.spec)
trainer.to(torch.device("cpu"))
loop = Loop(trainer, data, config.train)
for _ in range(3):
    loop.advance()
steps, began = 0, time.perf_counter()
while time.perf_counter() - began < float(sys.argv[1]):
    loop.advance()
    steps += 1
print(steps * config.train.batch_size / (time.perf_counter() - began))
"""


def rate(way: str, seconds: float) -> float:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    command = [sys.executable, "-c", TRAIN, str(seconds)]
    done = subprocess.run(command, env=environment | WAYS[way], capture_output=True, text=True, check=True)
    return float(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=4)
    asked = parser.parse_args()
    found: dict[str, dict[str, list[float]]] = {kind: {way: [] for way in WAYS} for kind in ("quiet", "busy")}
    for _ in range(asked.rounds):  # interleaved: a machine is never the same for long
        for kind, rates in found.items():
            busy = [sys.executable, "-c", "while True: sum(range(1000))"]
            others = [subprocess.Popen(busy) for _ in range(2 if kind == "busy" else 0)]
            try:
                for way in WAYS:
                    rates[way].append(round(rate(way, asked.seconds)))
            finally:
                for other in others:
                    other.kill()
        print(json.dumps(found), flush=True)
    result = {"cores": os.cpu_count(), "images_per_second": found}
    (Path(__file__).parent / "results" / "waiting.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
