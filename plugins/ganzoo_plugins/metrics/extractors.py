"""Feature extractors for comparing images: InceptionV3, or the data set's own classifier."""

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal, Protocol

import torch
from pydantic import Field
from torch import Tensor

from ganzoo import Dataset, Image, Label, MetricConfig, UserError
from ganzoo.files import open_regular
from ganzoo_plugins.metrics.evaluator import Evaluator, EvaluatorConfig, Extracted, gather, remembered

__all__ = ["Extractor", "ExtractorConfig", "InceptionV3", "choose", "halves", "require_images"]

_CHUNK = 50
_NETS: dict[Path | None, torch.nn.Module] = {}
_HINT = "give the file of its weights with --set metric.NAME.weights=FILE"


class ExtractorConfig(MetricConfig):
    """The settings of metrics that compare images in features."""

    extractor: Literal["auto", "inception", "classifier"] = Field(
        "auto",
        description="what makes the features; auto: InceptionV3 if its weights are here, else the data's classifier",
    )
    weights: Path | None = Field(
        None, description="InceptionV3's weights as torch-fidelity has them; torch hub's cache is looked in otherwise"
    )
    classifier: EvaluatorConfig = Field(EvaluatorConfig(), description="the classifier's training")


class Extractor(Protocol):
    """Computes features and logits of images; its ``name`` is part of the figures' names."""

    name: str

    def prepare(self, *, quiet: bool = False) -> None:
        """Load or train it."""
        ...

    def extract(self, images: Tensor) -> Extracted:
        """Return features and logits of uint8 images [N, C, H, W]."""
        ...

    def features(self, images: Tensor) -> Tensor:
        """Return features, float64 [N, D], of images that are not rounded to levels: float32 [N, C, H, W] in 0..255.

        They are computed in float64, so that small differences of images show.
        """
        ...

    def metadata(self) -> dict[str, Any]:
        """Return what identifies it."""
        ...

    def warnings(self) -> Sequence[str]:
        """Return sentences that say why its features are unreliable for the data set's images."""
        ...


class InceptionV3:
    """The InceptionV3 of the Fréchet and Kernel Inception Distance, by torch-fidelity, with TensorFlow's weights.

    Features are its 2,048 pooled ones, logits the 1,008 without bias. Grayscale images are repeated to RGB; images of
    any size are resized to 299 x 299 as TensorFlow does. It takes about a tenth of a second an image on a CPU.
    """

    name = "inception_v3"

    def __init__(self, image: Image, weights: Path | None) -> None:
        if image.channels not in (1, 3):
            raise UserError(f"InceptionV3 takes grayscale or RGB images, not {image.channels} channels")
        if weights is not None and not weights.expanduser().is_file():
            raise UserError(f"there is no file {weights} with InceptionV3's weights")
        self.weights = weights.expanduser() if weights is not None else None

    @staticmethod
    def cached() -> Path | None:
        """Return the file of the weights in torch hub's cache, if it is there."""
        from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

        path = Path(torch.hub.get_dir(), "checkpoints", URL_INCEPTION_V3.rpartition("/")[2])
        return path if path.is_file() else None

    def prepare(self, *, quiet: bool = False) -> None:
        """Load the weights; without a file, torch-fidelity downloads them into torch hub's cache (91 MB)."""
        path = self.weights or self.cached()
        if path is None or path not in _NETS:
            net = _load(path, quiet)
            path = path or self.cached()
            _NETS[path] = net
        self._used = path

    def extract(self, images: Tensor) -> Extracted:
        """Return features [N, 2048] and logits [N, 1008] of uint8 images [N, 1 or 3, H, W]."""
        if not hasattr(self, "_used"):
            self.prepare(quiet=True)
        net = _NETS[self._used]

        def work() -> Extracted:
            with torch.no_grad():
                rows = [net(part.expand(-1, 3, -1, -1)) for part in images.split(_CHUNK)]
            return Extracted(*(torch.cat(parts) for parts in zip(*rows, strict=True)))

        return remembered(f"inception_v3 {self._used}", images, work)

    def features(self, images: Tensor) -> Tensor:
        """Return features, float64 [N, 2048], of float images [N, 1 or 3, H, W] in 0..255."""
        from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

        if not hasattr(self, "_used"):
            self.prepare(quiet=True)
        # torch-fidelity's own call takes whole levels alone; its layers stand in the order in which it applies them.
        net = deepcopy(_NETS[self._used]).double()
        body = torch.nn.Sequential(*(layer for name, layer in net.named_children() if name not in ("AvgPool", "fc")))
        rows = []
        with torch.no_grad():
            for part in images.double().split(_CHUNK):
                x = part.expand(-1, 3, -1, -1)
                x = interpolate_bilinear_2d_like_tensorflow1x(x, size=(299, 299), align_corners=False)
                rows.append(body((x - 128) / 128).mean((2, 3)))
        return torch.cat(rows)

    def metadata(self) -> dict[str, Any]:
        """Return its name and where the weights come from."""
        return {"evaluator": self.name, "weights": str(self.weights or self.cached())}

    def warnings(self) -> Sequence[str]:
        """Return nothing: it is the extractor of the papers."""
        return []


def choose(dataset: Dataset, config: ExtractorConfig) -> Extractor:
    """Return the extractor that the settings ask for; raises :class:`~ganzoo.UserError` where there is none."""
    image = require_images(dataset)
    found = config.weights is not None or InceptionV3.cached() is not None
    if config.extractor == "inception" or (config.extractor == "auto" and found and image.channels in (1, 3)):
        return InceptionV3(image, config.weights)
    if config.extractor == "auto" and not any(isinstance(field, Label) for field in dataset.spec.fields):
        raise UserError(
            f"{dataset.spec.name} has no labels to train a classifier with, and InceptionV3 is not here; {_HINT}, or "
            "let them be downloaded with --set metric.NAME.extractor=inception"
        )
    return Evaluator(dataset, config.classifier)


def require_images(dataset: Dataset) -> Image:
    """Return the field of the images; raises :class:`~ganzoo.UserError` for other data."""
    field = dataset.spec.sample
    if not isinstance(field, Image):
        raise UserError(f"this metric evaluates images, and {dataset.spec.name} has {field.kind}; take another")
    return field


def halves(dataset: Dataset, n: int) -> tuple[Tensor, Tensor]:
    """Return min(n, size // 2) images of each half of the data set, uint8: the reference, and what is held out.

    The halves are the same for every metric, seed and run.
    """
    half = len(dataset) // 2
    order = dataset.order(torch.Generator().manual_seed(0))
    n, name = min(n, half), dataset.spec.sample.name
    (reference,), (held_out,) = gather(dataset, order[:n], name), gather(dataset, order[half : half + n], name)
    return reference, held_out


def _load(weights: Path | None, quiet: bool) -> torch.nn.Module:
    from torch_fidelity import FeatureExtractorInceptionV3

    try:
        if weights is not None:
            with open_regular(weights) as file:  # torch-fidelity would run whatever the file tells it to
                torch.load(file, weights_only=True)
        with torch.random.fork_rng(devices=[]):  # it draws weights before it loads them
            return FeatureExtractorInceptionV3(
                "inception-v3-compat",
                ["2048", "logits_unbiased"],
                feature_extractor_weights_path=None if weights is None else str(weights),
                verbose=not quiet,
            )
    except Exception as error:
        what = "downloaded" if weights is None else f"read from {weights}"
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        if isinstance(error, UnpicklingError):  # torch's own text advises to load the file unchecked
            reason = "the file is damaged, or holds something else than tensors"
        raise UserError(f"InceptionV3's weights cannot be {what}: {reason}; {_HINT}") from None
