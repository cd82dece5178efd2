"""Checks and times what runs on a GPU, in few minutes on a machine without network, and writes one JSON file.

    python benchmarks/gpu.py [--part runtime] [--out gpu.json]
    python benchmarks/gpu.py --device cpu --quick      # a rehearsal: every path is tried, the figures mean little

A part is a file beside this one, ``gpu_NAME.py``, whose ``run(device, quick, out)`` calls ``out`` with its section of
the JSON so far each time that there is more in it: a run that is cut short leaves what it has found. Sections of other
parts that are in the file already stay. What cannot be used says why. The tests of the same paths: pytest -m gpu.
"""

import argparse
import importlib
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PARTS = {path.stem.removeprefix("gpu_") for path in Path(__file__).parent.glob("gpu_*.py")}

Out = Callable[[Any], None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=sorted(PARTS), action="append", help="repeatable; all if left out")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--quick", action="store_true", help="one model, small batches, short turns")
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    options = parser.parse_args()
    document = json.loads(options.out.read_text()) if options.out.exists() else {}
    for part in options.part or sorted(PARTS):
        print(f"== {part}", flush=True)
        start, about = time.perf_counter(), {"machine": machine(options.device), "quick": options.quick}

        def out(section: Any, part: str = part, about: dict[str, Any] = about, start: float = start) -> None:
            document[part] = about | {"seconds": round(time.perf_counter() - start, 1)} | section
            options.out.write_text(json.dumps(document, indent=1) + "\n")

        importlib.import_module(f"gpu_{part}").run(options.device, options.quick, out)
    print(options.out)


def machine(device: str) -> dict[str, Any]:
    import torch

    name = torch.cuda.get_device_name() if device == "cuda" and torch.cuda.is_available() else platform.processor()
    return {"device": name, "cores": os.cpu_count(), "python": platform.python_version(), "torch": torch.__version__}


if __name__ == "__main__":
    main()
