"""Adds a trained run to the zoo: a folder with config, model card, metrics, sample grid and .onnx files.

    python zoo/add.py RUN KEY --figures benchmarks/results/FIGURES.json [--license Apache-2.0]

Where the weights of the networks have less than 3 MB together, they lie beside in weights.safetensors, in float32, for
trainings to start from: ``ganzoo train --from zoo:KEY``. The figures, any JSON object, become metrics.json and go into
the card and the file's metadata. Register the key in zoo/ganzoo_zoo/plugin.py afterwards.
"""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import ganzoo
from ganzoo import Run, Tokens, load_registry
from ganzoo.inference.saving import save_samples
from ganzoo.inference.zoo import WEIGHTS
from ganzoo.sharing.package import write_model
from ganzoo_runtime.captions import caption_text

ZOO = Path(__file__).parent / "ganzoo_zoo"

MOST = 3_000_000
"""Bytes of the weights that lie beside an entry."""


def main() -> None:
    """Make the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("key")
    parser.add_argument("--figures", type=Path, required=True)
    parser.add_argument("--license", default="Apache-2.0")
    options = parser.parse_args()

    registry, run, home = load_registry(), Run.open(options.run), ZOO / options.key
    figures: dict[str, Any] = json.loads(options.figures.read_text())
    home.mkdir(parents=True, exist_ok=True)
    written = write_model(run, home, options.license, registry, metrics=figures.get("drawn", figures))
    if (home / WEIGHTS).stat().st_size > MOST:
        (home / WEIGHTS).unlink()
    main, (network, metadata) = next(iter(written.items()))
    for file in [name for name, (part, _) in written.items() if part is not network and part in set(network.modules())]:
        (home / file).unlink()  # of the file of all, twice the bytes
        del written[file]
    names, signature = [Path(file).stem for file in written], network.signature
    if not signature.drawn:  # as they were drawn in training, from the data's examples
        shutil.copy(run.grids()[-1], home / "samples.png")
        use = [f"    ganzoo translate zoo:{options.key} IN OUT --network {name}" for name in names]
    else:
        use = [f"    ganzoo sample zoo:{options.key} -n {signature.output.shown} --out samples.png"]
        for field in signature.inputs:
            if isinstance(field, Tokens):
                use[0] += f" --text '{caption_text(field.examples[0], field.to_json())}'"
        if isinstance(signature.output, Tokens):
            save_samples(ganzoo.load(home / main, registry=registry), home / "samples.txt", 16)
            use.append(f"    ganzoo interpolate zoo:{options.key} --keys 0,1")
        if "encoder" in names:
            use.append(f"    ganzoo encode zoo:{options.key} IN --grid round-trip.png")
    (home / "metrics.json").write_text(json.dumps(figures, indent=2) + "\n")
    (home / "README.md").write_text(_card(options.key, metadata, figures, options.license, use))


def _card(key: str, metadata: dict[str, Any], figures: dict[str, Any], license_: str, use: list[str]) -> str:
    training, data = metadata["training"], metadata["data"]
    with_loss = f"with the loss `{training['loss']}`, " if training["loss"] else "with "
    return "\n".join(
        [
            f"# zoo:{key}",
            "",
            f"`{metadata['model']['key']}`" + (f" ({metadata['paper']})" if metadata["paper"] else ""),
            f"trained on {data['name']} ({data['size']:,} samples) for {training['step']:,} steps",
            f"{with_loss}seed {training['seed']}. The recipe is",
            "config.toml; the weights are the averaged ones.",
            "",
            "![samples](samples.png)",
            "",
            *use,
            "    ganzoo train --config config.toml",
            "",
            "## Figures",
            "",
            "```json",
            json.dumps(figures, indent=2),
            "```",
            "",
            "## License",
            "",
            f"The weights: {license_}. They were learnt from {data['name']}, and a generator can come close to single",
            "training samples.",
            "",
        ]
    )


if __name__ == "__main__":
    main()
