"""Registers the bundled trackers."""

from collections.abc import Iterable

from ganzoo import Spec, hookimpl


@hookimpl
def ganzoo_specs() -> Iterable[Spec]:
    """Return the specs of the trackers."""
    where = "ganzoo_plugins.trackers"
    return [
        Spec("tracker", "tensorboard", "TensorBoard events in a run's tb/", f"{where}.tensorboard:TensorBoard"),
        Spec("tracker", "wandb", "Weights & Biases; pip install 'torch-ganzoo[wandb]'", f"{where}.wandb:WandB"),
        Spec("tracker", "mlflow", "MLflow; pip install 'torch-ganzoo[mlflow]'", f"{where}.mlflow:MLflow"),
    ]
