"""ganzoo: a plugin-based zoo of generative adversarial networks.

Everything public is here; names are imported on first use, so that ``import ganzoo`` costs nothing and a command
that only lists plugins never imports torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ganzoo.hooks import HOOK_API, Spec, hookimpl

if TYPE_CHECKING:
    from ganzoo.adversarial import AdversarialConfig, AdversarialTrainer, draw_latent
    from ganzoo.augment import Augment, AugmentConfig
    from ganzoo.config import Config, load_config
    from ganzoo.data import Batch, Dataset, DatasetConfig, DataSpec, Stream, TensorDataset
    from ganzoo.errors import GanzooError, Interrupted, TrainingError, UserError
    from ganzoo.formats import Format, Sampler, Sink
    from ganzoo.game import Game
    from ganzoo.images import ImageReader
    from ganzoo.loop import Loop
    from ganzoo.losses import (
        Generate,
        GeneratorRegularizer,
        Loss,
        LossConfig,
        Regularizer,
        RegularizerConfig,
        Score,
    )
    from ganzoo.metrics import Metric, MetricConfig
    from ganzoo.networks import Discriminator, Generator, Network
    from ganzoo.opening import open_model
    from ganzoo.precision import full_precision, widened
    from ganzoo.registry import Registry, load_registry
    from ganzoo.runs import Run
    from ganzoo.signature import Attributes, Image, Label, Latent, Mask, Points, Scores, Signature
    from ganzoo.trainer import OptimizerConfig, Phase, Trainer, TrainerConfig
    from ganzoo.training import fit

__version__ = "0.1.0"

_HOME = {
    "adversarial": ("AdversarialConfig", "AdversarialTrainer", "draw_latent"),
    "augment": ("Augment", "AugmentConfig"),
    "config": ("Config", "load_config"),
    "data": ("Batch", "DataSpec", "Dataset", "DatasetConfig", "Stream", "TensorDataset"),
    "errors": ("GanzooError", "Interrupted", "TrainingError", "UserError"),
    "formats": ("Format", "Sampler", "Sink"),
    "game": ("Game",),
    "images": ("ImageReader",),
    "loop": ("Loop",),
    "losses": ("Generate", "GeneratorRegularizer", "Loss", "LossConfig", "Regularizer", "RegularizerConfig", "Score"),
    "metrics": ("Metric", "MetricConfig"),
    "networks": ("Discriminator", "Generator", "Network"),
    "opening": ("open_model",),
    "precision": ("full_precision", "widened"),
    "registry": ("Registry", "load_registry"),
    "runs": ("Run",),
    "signature": ("Attributes", "Image", "Label", "Latent", "Mask", "Points", "Scores", "Signature"),
    "trainer": ("OptimizerConfig", "Phase", "Trainer", "TrainerConfig"),
    "training": ("fit",),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [  # noqa: RUF022 - by room, as above
    "HOOK_API", "Spec", "hookimpl", "__version__",
    "AdversarialConfig", "AdversarialTrainer", "draw_latent",
    "Augment", "AugmentConfig",
    "Config", "load_config",
    "Batch", "DataSpec", "Dataset", "DatasetConfig", "Stream", "TensorDataset",
    "GanzooError", "Interrupted", "TrainingError", "UserError",
    "fit",
    "Format", "Sampler", "Sink",
    "Game",
    "ImageReader",
    "Loop",
    "Generate", "GeneratorRegularizer", "Loss", "LossConfig", "Regularizer", "RegularizerConfig", "Score",
    "Metric", "MetricConfig",
    "Discriminator", "Generator", "Network",
    "open_model",
    "full_precision", "widened",
    "Registry", "load_registry",
    "Run",
    "Attributes", "Image", "Label", "Latent", "Mask", "Points", "Scores", "Signature",
    "OptimizerConfig", "Phase", "Trainer", "TrainerConfig",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'ganzoo' has no attribute {name!r}")
    value = getattr(import_module(f"ganzoo.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
