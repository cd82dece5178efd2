"""The evaluator of a labeled data set: a small classifier that is trained on it once and cached."""

import hashlib
import json
import logging
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ganzoo import Dataset, Image, Label, UserError
from ganzoo.files import write_atomic
from ganzoo.terminal import Progress, print
from ganzoo_runtime.cache import cache_folder

__all__ = [
    "Classifier",
    "Evaluator",
    "EvaluatorConfig",
    "Extracted",
    "accuracy_warnings",
    "gather",
    "remembered",
    "to_uint8",
]

_RECIPE = 1
"""Part of the name of the kept weights; a change to the network or its training raises it."""

_STEPS, _BATCH, _RATE = 600, 100, 0.005
_SHOWN = 256  # samples whose hash distinguishes data sets of the same name
_CHUNK = 500
_LEAST_KAPPA, _LEAST_IMAGES = 0.75, 20
_MEMORY: OrderedDict[tuple[str, str], "Extracted"] = OrderedDict()
_EVALUATORS: dict[Path, "_Trained"] = {}
log = logging.getLogger("ganzoo")


class EvaluatorConfig(BaseModel):
    """The settings of the classifier that is trained on the data set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(_STEPS, ge=1, description="training steps of the classifier, batches of 100")


class Extracted(NamedTuple):
    """What an evaluator computes from N images: features, float32 [N, D], and logits, float32 [N, classes]."""

    features: Tensor
    logits: Tensor


class Classifier(nn.Module):
    """A small convolutional net: images [N, C, H, W] in 0..255, at least 8 x 8, to logits [N, classes].

    ``features`` are the 64 numbers before the last layer, at least 0.
    """

    def __init__(self, image: Image, classes: int) -> None:
        super().__init__()

        def block(inputs: int, outputs: int, stride: int = 1) -> list[nn.Module]:
            conv = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
            return [conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]

        layers, channels, size = block(image.channels, 16), 16, min(image.height, image.width)
        while size > 8 or channels < 64:
            wider = min(2 * channels, 64)
            layers += [*block(channels, wider, stride=2), *block(wider, wider)]
            channels, size = wider, -(-size // 2)
        side = min(size, 3)
        self.body = nn.Sequential(
            *layers,
            nn.AdaptiveAvgPool2d(side),
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(channels * side**2, 64, bias=False),
            nn.BatchNorm1d(64),
            nn.ReLU(inplace=True),
        )
        self.head = nn.Sequential(nn.Dropout(0.3), nn.Linear(64, classes))

    def features(self, images: Tensor) -> Tensor:
        """Return the features, float32 [N, 64]."""
        return self.body(images.float() / 127.5 - 1)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits."""
        return self.head(self.features(images))

    def probabilities(self, images: Tensor) -> Tensor:
        """Return the probability of each class, [N, classes]."""
        return self(images).softmax(dim=1)


class _Trained(NamedTuple):
    """A classifier, its accuracy on held-out images, and the accuracy of always guessing the most frequent class."""

    net: Classifier
    accuracy: float
    chance: float


class Evaluator:
    """The classifier of one label of a data set: the first one, unless ``field`` names another.

    It is trained on nine tenths of the samples; the rest measures its ``accuracy`` (0..1), and :meth:`warnings` says
    whether that is enough to evaluate with. It is trained when it is first needed (:meth:`prepare`) and cached in
    the cache folder, keyed by the data set's metadata, a few hundred of its samples and the settings. Its ``name``
    is part of the figures' names, so that figures of two evaluators are not compared.

    Raises :class:`~ganzoo.UserError` for data without labels, or with images that are too few or below 8 x 8.
    """

    def __init__(self, dataset: Dataset, config: EvaluatorConfig, field: str | None = None) -> None:
        spec = dataset.spec
        labels = [each for each in spec.fields if isinstance(each, Label) and field in (None, each.name)]
        if not isinstance(spec.sample, Image) or not labels:
            raise UserError(
                f"a classifier can only evaluate images with labels, which {spec.name} does not have; take another "
                "metric"
            )
        if min(spec.sample.height, spec.sample.width) < 8 or len(dataset) < 20:
            have = f"{spec.name} has {len(dataset):,} of {spec.sample.height} x {spec.sample.width}"
            raise UserError(f"the classifier needs 20 images of at least 8 x 8; {have}")
        self.dataset, self.config, self.image, self.label = dataset, config, spec.sample, labels[0]
        first = next(each for each in spec.fields if isinstance(each, Label))
        self.name = f"classifier_{spec.name}"
        self.name += f"_{self.label.name}" if self.label != first else ""
        self.name += f"_{config.steps}_steps" if config.steps != _STEPS else ""
        # A fixed split, so that a cached classifier is always evaluated on images that it was not trained on.
        order = dataset.order(torch.Generator().manual_seed(0))
        self.held_out, self.training_rows = order.tensor_split([len(dataset) // 10])

    @property
    def accuracy(self) -> float:
        """The share of the held-out tenth that it classifies correctly."""
        return self._ready().accuracy

    def warnings(self) -> list[str]:
        """Return a sentence that says why its figures are unreliable and what to do; nothing if it is good enough."""
        remedy = (
            f"train it longer (--set metric.NAME.classifier.steps={5 * self.config.steps}), give it more data, or let "
            "the metrics that compare features take others (--set metric.NAME.extractor=inception)"
        )
        return accuracy_warnings(self.name, self.accuracy, self._ready().chance, len(self.held_out), remedy)

    def prepare(self, *, quiet: bool = False) -> None:
        """Load the classifier, or train and keep it, with progress on stderr unless ``quiet``."""
        path = cache_folder() / "classifiers" / f"{self.dataset.spec.name}-{self._key()}.safetensors"
        if path not in _EVALUATORS:
            # Initial weights and dropout use the global random state; a GAN training that is running must find it as
            # it was, or evaluating would change what it trains.
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                _EVALUATORS[path] = self._load(path) or self._train(path, quiet)
        self._used = path

    def extract(self, images: Tensor, *, once: bool = False) -> Extracted:
        """Return features [N, 64] and logits [N, classes] of uint8 images [N, C, H, W].

        They are remembered for the next metric that asks, unless they are needed ``once``.
        """
        net = self._ready().net

        def work() -> Extracted:
            with torch.no_grad():
                features = torch.cat([net.features(part) for part in images.split(_CHUNK)])
                return Extracted(features, net.head(features))

        return work() if once else remembered(str(self._used), images, work)

    def features(self, images: Tensor) -> Tensor:
        """Return features, float64 [N, 64], of float images [N, C, H, W] in 0..255."""
        body = deepcopy(self._ready().net.body).double()
        with torch.no_grad():
            return torch.cat([body(part / 127.5 - 1) for part in images.double().split(_CHUNK)])

    def metadata(self) -> dict[str, object]:
        """Return its name, its held-out accuracy, that of a constant guess, and a hash of its weights."""
        net, accuracy, chance = self._ready()
        shares = {"accuracy_real": accuracy, "accuracy_chance": chance}
        return {"evaluator": self.name, **shares, "held_out": len(self.held_out), "weights": _hash(net)}

    def _ready(self) -> _Trained:
        if not hasattr(self, "_used"):
            self.prepare(quiet=True)
        return _EVALUATORS[self._used]

    def _key(self) -> str:
        # The samples are part of the key, as a folder can change while its name and size stay the same.
        rows = self.dataset.spread(_SHOWN)
        images, labels = gather(self.dataset, rows, self.image.name, self.label.name)
        about = json.dumps([_RECIPE, self.config.steps, self.label.name, self.dataset.spec.to_json()])
        return hashlib.sha256(about.encode() + images.numpy().tobytes() + labels.numpy().tobytes()).hexdigest()[:16]

    def _load(self, path: Path) -> _Trained | None:
        if not path.is_file():
            return None
        net = Classifier(self.image, self.label.classes)
        try:
            with safe_open(path, "pt") as file:
                net.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
                accuracy, chance = map(float, file.metadata()["accuracy"].split())
        except (OSError, SafetensorError, RuntimeError, KeyError, TypeError, ValueError):
            return None  # damaged, or of an older ganzoo: trained and written again
        if not 0 <= accuracy <= 1 or not all(bool(value.isfinite().all()) for value in net.state_dict().values()):
            return None
        return _Trained(net.eval().requires_grad_(False), accuracy, chance)

    def _train(self, path: Path, quiet: bool) -> _Trained:
        steps = self.config.steps
        if not quiet:
            print(f"training {self.name} to evaluate with, once; kept in {path.parent}", file=sys.stderr)
        rng, started = torch.Generator().manual_seed(1), time.perf_counter()
        with torch.enable_grad(), Progress(steps, 0, quiet=quiet) as progress:
            torch.manual_seed(2)
            net = Classifier(self.image, self.label.classes).to(memory_format=torch.channels_last)
            optimizer = torch.optim.AdamW(net.parameters(), weight_decay=0.01)
            order = self.training_rows[:0]
            for step in range(steps):
                if len(order) < min(_BATCH, len(self.training_rows)):
                    order = self.dataset.order(rng, self.training_rows)
                rows, order = order[:_BATCH], order[_BATCH:]
                images, labels = gather(self.dataset, rows, self.image.name, self.label.name)
                done = (step + 0.5) / steps  # the rate rises for three tenths of the steps and falls to 0
                for group in optimizer.param_groups:
                    group["lr"] = _RATE * min(done / 0.3, (1 - done) / 0.7)
                loss = F.cross_entropy(net(_shifted(images, rng)), labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                figures = {}
                if step % 50 == 49 or step == steps - 1:
                    pace = (step + 1) * _BATCH / (time.perf_counter() - started)
                    figures = {"samples_per_second": pace, "classifier/loss": loss.item()}
                progress.advance(step + 1, figures)
        # Channels last trained faster; the usual layout gives the same sums whether trained now or loaded from the
        # cache.
        net = net.to(memory_format=torch.contiguous_format).eval().requires_grad_(False)
        right, seen = 0, torch.zeros(self.label.classes, dtype=torch.int64)
        for rows in self.held_out.split(_CHUNK):
            images, labels = gather(self.dataset, rows, self.image.name, self.label.name)
            right += int((net(images).argmax(dim=1) == labels).sum())
            seen += torch.bincount(labels, minlength=len(seen))
        accuracy, chance = right / len(self.held_out), int(seen.max()) / len(self.held_out)
        if not quiet:
            print(f"{self.name}: {accuracy:.2%} of {len(self.held_out):,} held-out images right", file=sys.stderr)
        try:
            weights = {name: value.contiguous() for name, value in net.state_dict().items()}
            write_atomic(path, save(weights, {"accuracy": f"{accuracy!r} {chance!r}"}))
        except UserError as error:  # a home that cannot be written to is no reason to evaluate nothing
            log.warning("the classifier is not kept: %s", error)
        return _Trained(net, accuracy, chance)


def accuracy_warnings(name: str, accuracy: float, chance: float, images: int, remedy: str) -> list[str]:
    """Return a sentence if an evaluator that is right about this share of so many real images is too poor.

    The measure is kappa, (accuracy - chance) / (1 - chance), where ``chance`` is the share of the most frequent class:
    with balanced classes and errors spread evenly, a measured label accuracy moves by kappa times what the true one
    moves. Below three quarters, more than a quarter of what a model gets right or wrong stays unseen, and features
    tell the classes apart no better. An accuracy of fewer than 20 images is hardly known (0.75 of 20: 0.53 to 0.89 at
    95%). ``remedy`` says what to do.
    """
    if accuracy - chance < _LEAST_KAPPA * (1 - chance) or chance == 1:
        return [
            f"{name} is too poor an evaluator: it is right about {accuracy:.1%} of {images:,} real images, and naming "
            f"always the most frequent class about {chance:.1%}, so its figures say little about a model; {remedy}"
        ]
    if images < _LEAST_IMAGES:
        return [
            f"{name} may be a poor evaluator: how often it is right is known from {images:,} real images alone, so its "
            f"figures may say little about a model; {remedy}"
        ]
    return []


def gather(dataset: Dataset, rows: Tensor, *names: str) -> Sequence[Tensor]:
    """Return fields of the samples of these indices; what the data set draws at random is the same every time."""
    batch = dataset.batch(rows, torch.Generator().manual_seed(0))
    return [batch[name] for name in names]


def to_uint8(samples: Tensor) -> Tensor:
    """Round samples in 0..255 to whole levels like the data's, so that no evaluator can distinguish them by that."""
    return (samples + 0.5).floor().clamp(0, 255).to(torch.uint8)


def remembered(evaluator: str, images: Tensor, work: Callable[[], Extracted]) -> Extracted:
    """Return what ``work`` computes from the images, cached, so that metrics share it."""
    # Keyed by content: each metric gets its own tensor of the same samples.
    key = (
        evaluator,
        hashlib.sha256(repr(tuple(images.shape)).encode() + images.contiguous().numpy().tobytes()).hexdigest(),
    )
    if key not in _MEMORY:
        _MEMORY[key] = work()
    _MEMORY.move_to_end(key)
    # Bounded, least recently used first: a training evaluates new samples again and again.
    while len(_MEMORY) > 8:
        _MEMORY.popitem(last=False)
    return _MEMORY[key]


def _hash(net: nn.Module) -> str:
    digest = hashlib.sha256()
    for value in net.state_dict().values():
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()[:16]


def _shifted(images: Tensor, rng: torch.Generator) -> Tensor:
    """Move each image by up to a fourteenth of its side in both directions, repeating the pixels of the edge."""
    count, channels, height, width = images.shape
    reach = max(1, min(height, width) // 14)
    padded = F.pad(images.float(), [reach] * 4, mode="replicate")
    each, channel = torch.arange(count)[:, None, None, None], torch.arange(channels)[:, None, None]
    top = torch.randint(2 * reach + 1, (count, 1, 1, 1), generator=rng) + torch.arange(height)[:, None]
    left = torch.randint(2 * reach + 1, (count, 1, 1, 1), generator=rng) + torch.arange(width)
    return padded[each, channel, top, left]
