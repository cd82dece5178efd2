"""ganzoo: a plugin-based zoo of generative adversarial networks.

Everything public is here; names are imported on first use, so that ``import ganzoo`` costs nothing and a command
that only lists plugins never imports torch. Public as modules are :mod:`ganzoo.files`, guarded reading and atomic
writing, :mod:`ganzoo.cli`, what commands share, and :mod:`ganzoo.testing`, the conformance kit.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ganzoo.plugin.hooks import HOOK_API, hookimpl
from ganzoo.plugin.spec import Spec

if TYPE_CHECKING:
    from ganzoo import cli, files, testing
    from ganzoo.config.config import Config
    from ganzoo.config.resolving import load_config
    from ganzoo.data.dataset import Batch, Dataset, DatasetConfig, DataSpec, TensorDataset
    from ganzoo.data.stream import Stream
    from ganzoo.errors import GanzooError, Interrupted, TrainingError, UserError, did_you_mean
    from ganzoo.fields import (
        Attributes,
        Column,
        Field,
        Image,
        Label,
        Latent,
        Mask,
        Points,
        Scores,
        Sequence,
        Signature,
        Styles,
        Table,
        Tokens,
        Truncation,
    )
    from ganzoo.fields.drawing import grid
    from ganzoo.gan.adversarial import AdversarialConfig, AdversarialTrainer, draw_latent
    from ganzoo.gan.augmentation import Augment, Augmentation, AugmentationConfig, AugmentConfig
    from ganzoo.gan.losses import (
        Bound,
        Generate,
        GeneratorRegularizer,
        Loss,
        LossConfig,
        Regularizer,
        RegularizerConfig,
        Score,
    )
    from ganzoo.gan.metrics import Metric, MetricConfig
    from ganzoo.gan.networks import Discriminator, Generator, Network, StyleGenerator
    from ganzoo.gan.objective import DiscriminatorObjective
    from ganzoo.gan.optimizers import Optimizer, OptimizerConfig
    from ganzoo.gan.precision import full_precision, widened
    from ganzoo.gan.sampler import Sampler
    from ganzoo.gan.schedules import Schedule, ScheduleConfig
    from ganzoo.gan.spectral import normalize_spectrum
    from ganzoo.gan.tracker import Tracker, TrackerConfig
    from ganzoo.gan.trainer import Phase, Trainer, TrainerConfig
    from ganzoo.gan.whole_batch import own_rows, whole_batch
    from ganzoo.images.animation import write_animation
    from ganzoo.images.grids import save_grid
    from ganzoo.images.reading import ImageReader
    from ganzoo.inference.comparison import Comparison, RunSummary, compare
    from ganzoo.inference.directions import read_directions
    from ganzoo.inference.encoding import Encoding, encode
    from ganzoo.inference.evaluation import Evaluation, evaluate
    from ganzoo.inference.exporting import export
    from ganzoo.inference.formats import Format, Sink
    from ganzoo.inference.importing import Imported, import_weights
    from ganzoo.inference.model import TrainedModel
    from ganzoo.inference.opening import load
    from ganzoo.inference.report import report
    from ganzoo.inference.sampling import draw_inputs
    from ganzoo.inference.tiling import Translator
    from ganzoo.inference.translation import translate
    from ganzoo.plugin.registry import Registry, load_registry
    from ganzoo.runs.run import Run
    from ganzoo.sharing.exchange import pull, push
    from ganzoo.training.fit import fit
    from ganzoo.training.loop import Loop
    from ganzoo.training.sweep import sweep
    from ganzoo.training.train import train
    from ganzoo.training.trials import Sweep, Trial

__version__ = "0.1.0"

_HOME = {
    "config.config": ("Config",),
    "config.resolving": ("load_config",),
    "data.dataset": ("Batch", "DataSpec", "Dataset", "DatasetConfig", "TensorDataset"),
    "data.stream": ("Stream",),
    "errors": ("GanzooError", "Interrupted", "TrainingError", "UserError", "did_you_mean"),
    "fields": (
        *("Attributes", "Column", "Field", "Image", "Label", "Latent", "Mask", "Points", "Scores", "Sequence"),
        *("Signature", "Styles", "Table", "Tokens", "Truncation"),
    ),
    "gan.adversarial": ("AdversarialConfig", "AdversarialTrainer", "draw_latent"),
    "gan.augmentation": ("Augment", "AugmentConfig", "Augmentation", "AugmentationConfig"),
    "gan.losses": (
        *(
            "Bound",
            "Generate",
            "GeneratorRegularizer",
            "Loss",
            "LossConfig",
            "Regularizer",
            "RegularizerConfig",
            "Score",
        ),
    ),
    "gan.metrics": ("Metric", "MetricConfig"),
    "gan.networks": ("Discriminator", "Generator", "Network", "StyleGenerator"),
    "gan.objective": ("DiscriminatorObjective",),
    "gan.optimizers": ("Optimizer", "OptimizerConfig"),
    "gan.precision": ("full_precision", "widened"),
    "gan.schedules": ("Schedule", "ScheduleConfig"),
    "gan.spectral": ("normalize_spectrum",),
    "gan.tracker": ("Tracker", "TrackerConfig"),
    "gan.trainer": ("Phase", "Trainer", "TrainerConfig"),
    "gan.whole_batch": ("own_rows", "whole_batch"),
    "images.animation": ("write_animation",),
    "fields.drawing": ("grid",),
    "images.grids": ("save_grid",),
    "images.reading": ("ImageReader",),
    "inference.exporting": ("export",),
    "gan.sampler": ("Sampler",),
    "inference.formats": ("Format", "Sink"),
    "inference.comparison": ("Comparison", "RunSummary", "compare"),
    "inference.directions": ("read_directions",),
    "inference.encoding": ("Encoding", "encode"),
    "inference.evaluation": ("Evaluation", "evaluate"),
    "inference.importing": ("Imported", "import_weights"),
    "inference.model": ("TrainedModel",),
    "inference.opening": ("load",),
    "inference.report": ("report",),
    "inference.sampling": ("draw_inputs",),
    "inference.tiling": ("Translator",),
    "inference.translation": ("translate",),
    "plugin.registry": ("Registry", "load_registry"),
    "runs.run": ("Run",),
    "sharing.exchange": ("pull", "push"),
    "training.fit": ("fit",),
    "training.loop": ("Loop",),
    "training.sweep": ("sweep",),
    "training.train": ("train",),
    "training.trials": ("Sweep", "Trial"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}
_ROOMS = ("cli", "files", "testing")

__all__ = [  # noqa: RUF022 - by room, as above
    "HOOK_API", "Spec", "hookimpl", "__version__",
    "cli", "files", "testing",
    "AdversarialConfig", "AdversarialTrainer", "draw_latent",
    "Augment", "AugmentConfig", "Augmentation", "AugmentationConfig",
    "Config", "load_config",
    "Batch", "DataSpec", "Dataset", "DatasetConfig", "Stream", "TensorDataset",
    "GanzooError", "Interrupted", "TrainingError", "UserError", "did_you_mean",
    "fit",
    "Format", "Imported", "Sampler", "Sink",
    "DiscriminatorObjective",
    "ImageReader", "grid", "save_grid", "write_animation",
    "Loop",
    "Bound", "Generate", "GeneratorRegularizer", "Loss", "LossConfig", "Regularizer", "RegularizerConfig", "Score",
    "Metric", "MetricConfig",
    "Discriminator", "Generator", "Network", "StyleGenerator",
    "Comparison", "Encoding", "Evaluation", "RunSummary", "TrainedModel", "Translator",
    "compare", "draw_inputs", "encode", "evaluate", "export", "import_weights", "load", "pull", "push",
    "read_directions", "report", "train", "translate",
    "Sweep", "Trial", "sweep",
    "full_precision", "normalize_spectrum", "own_rows", "whole_batch", "widened",
    "Registry", "load_registry",
    "Run",
    "Attributes", "Column", "Field", "Image", "Label", "Latent", "Mask", "Points", "Scores", "Sequence", "Signature",
    "Styles", "Table", "Tokens", "Truncation",
    "Optimizer", "OptimizerConfig", "Schedule", "ScheduleConfig",
    "Phase", "Tracker", "TrackerConfig", "Trainer", "TrainerConfig",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"ganzoo.{name}")
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'ganzoo' has no attribute {name!r}")
    value = getattr(import_module(f"ganzoo.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
