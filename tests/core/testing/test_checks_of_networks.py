"""What is wrong with the networks of a model is caught by the right check."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toys import HonestModel, Judge, Painter, Toys, model_of

from ganzoo import Batch, Image, Network
from ganzoo.plugin.registry import Registry
from ganzoo.testing.pretended import DEVICE as PRETENDED
from ganzoo.testing.pretended import elsewhere
from ganzoo.testing.results import Fault, Skip

toy = Toys(__name__)


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with toy.registry(tmp_path_factory.mktemp("toys")) as registry:
        yield registry


@toy("model")
class Honest(HonestModel):
    """Everything as it should be."""


def with_networks(name: str, *caught: str, **networks: type[Network]) -> None:
    toy("model", *caught)(model_of(__name__, name, **networks))


# --- signature ------------------------------------------------------------------------------------------------------


class TooLoud(Painter):
    def forward(self, z: Tensor) -> Tensor:
        return 2 * self.body(z).unflatten(1, self.signature.output.shape)


class Flat(Painter):
    def forward(self, z: Tensor) -> Tensor:
        return self.body(z).tanh()


class Double(Painter):
    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z).double()


class Noisy(Painter):
    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z + 0.1 * torch.randn_like(z))


class Crowded(Painter):
    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z - z.mean(dim=0))


class Destructive(Painter):
    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z.mul_(0.5))


class Summed(Judge):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).sum()


with_networks("WrongRange", "signature", painter=TooLoud)
with_networks("WrongShape", "signature", "sizes", "training", painter=Flat)
with_networks("WrongType", "signature", "sizes", "training", painter=Double)
with_networks("DrawsInside", "signature", "run folder", painter=Noisy)
with_networks("MixesSamples", "signature", painter=Crowded)
with_networks("ChangesInput", "signature", painter=Destructive)
with_networks("OneScore", "signature", "sizes", "training", judge=Summed)


# --- logits ---------------------------------------------------------------------------------------------------------


class Sigmoid(Judge):
    def __init__(self, sample: Any) -> None:
        super().__init__(sample)
        self.body.append(nn.Sigmoid())


class SigmoidInside(Judge):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).sigmoid()


class Softmax(Judge):
    """The probability of the second of two classes."""

    def __init__(self, sample: Any) -> None:
        super().__init__(sample)
        self.body[-1] = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x).softmax(dim=1)[:, 1]


class LogSigmoid(Judge):
    def __init__(self, sample: Any) -> None:
        super().__init__(sample)
        self.body.append(nn.LogSigmoid())


class Distances(Judge):
    """Honest: scores are never above 0, as minus an error is, and have no bound below."""

    def forward(self, x: Tensor) -> Tensor:
        return -super().forward(x).square()


class Energies(Judge):
    """Honest: scores are never below 0."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).square()


with_networks("EndsInSigmoid", "logits", judge=Sigmoid)
with_networks("CallsSigmoid", "logits", judge=SigmoidInside)
with_networks("EndsInSoftmax", "logits", judge=Softmax)
with_networks("EndsInLogSigmoid", "logits", judge=LogSigmoid)
with_networks("NegativeScores", judge=Distances)
with_networks("PositiveScores", judge=Energies)


# --- sizes ----------------------------------------------------------------------------------------------------------


class SixtyFour(Judge):
    """Its first layer takes 64 numbers, whatever the images are."""

    def __init__(self, sample: Any) -> None:
        super().__init__(sample)
        self.body[1] = nn.Linear(64, 8)


class OneChannel(Judge):
    """It takes the images' size from the data, and expects one channel."""

    def __init__(self, sample: Any) -> None:
        super().__init__(sample)
        self.body = nn.Sequential(nn.Conv2d(1, 4, sample.shape[1:]), nn.Softplus(), nn.Flatten(), nn.Linear(4, 1))


class EightByEight(Painter):
    """Its signature says 8 x 8, whatever the data says."""

    def __init__(self, sample: Any) -> None:
        super().__init__(Image(sample.channels, 8, 8))

    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z)


class Square(Painter):
    """It draws squares of the images' height."""

    def __init__(self, sample: Any) -> None:
        super().__init__(sample)
        self.square = (sample.channels, sample.height, sample.height)
        self.body[-1] = nn.Linear(8, sample.channels * sample.height**2)

    def forward(self, z: Tensor) -> Tensor:
        return self.body(z).tanh().unflatten(1, self.square)


class Choosy(Judge):
    """Honest: it refuses what it cannot score, in a sentence."""

    def __init__(self, sample: Any) -> None:
        from ganzoo import UserError

        if sample.shape != (1, 8, 8):
            raise UserError("it scores grey images of 8 x 8")
        super().__init__(sample)


with_networks("OneSize", "sizes", judge=SixtyFour)
with_networks("GreyAlone", "sizes", judge=OneChannel)
with_networks("OneSizeDrawn", "sizes", painter=EightByEight)
with_networks("SquaresAlone", "sizes", painter=Square)
with_networks("RefusesOthers", judge=Choosy)


# --- buffers --------------------------------------------------------------------------------------------------------


class Left(Painter):
    """A tensor of its own, as ``kept`` makes it, that ``.to()`` does not know."""

    def __init__(self, sample: Any) -> None:
        super().__init__(sample)
        self.offset = torch.linspace(-1, 1, 4)

    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z + self.offset)


class LeftInList(Painter):
    def __init__(self, sample: Any) -> None:
        super().__init__(sample)
        self.offsets = [torch.zeros(4), torch.ones(4)]

    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z + self.offsets[0] * self.offsets[1])


class ModulesInDict(Painter):
    def __init__(self, sample: Any) -> None:
        super().__init__(sample)
        norm = nn.BatchNorm1d(4, affine=False).eval()
        self.norms = {"before": norm}

    def forward(self, z: Tensor) -> Tensor:
        return super().forward(self.norms["before"](z))


class Unused(Judge):
    """Nothing uses it yet."""

    def __init__(self, sample: Any) -> None:
        super().__init__(sample)
        self.scale = torch.ones(())


class Moves(Left):
    """Honest: what torch does not move, it moves itself."""

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        self.offset = fn(self.offset)
        return super()._apply(fn, recurse)


class Recomputed(Painter):
    """Honest: torch's older weight norm keeps the weight as an attribute, and computes it anew in each pass."""

    def __init__(self, sample: Any) -> None:
        super().__init__(sample)
        self.steps = torch.zeros(1)

    def forward(self, z: Tensor) -> Tensor:
        self.steps = z.mean(dim=1)
        return super().forward(z)


with_networks("LeavesATensor", "buffers", painter=Left)
with_networks("LeavesAList", "buffers", painter=LeftInList)
with_networks("LeavesModules", "buffers", painter=ModulesInDict)
with_networks("LeavesANumber", "buffers", judge=Unused)
with_networks("MovesItself", painter=Moves)
with_networks("ComputesAnew", painter=Recomputed)


# --- devices --------------------------------------------------------------------------------------------------------

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class MadeOnCPU(Painter):
    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z + torch.zeros(4))


class MadeOnOne(Painter):
    def forward(self, z: Tensor) -> Tensor:
        return super().forward(torch.cat([z[:, :2], torch.zeros(len(z), 2, device=DEVICE)], dim=1) + z)


class EvaluatesOnCPU(Painter):
    """Not in training, where it goes unseen."""

    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z if self.training else z + torch.tensor([0.0]))


class AnyDevice(Painter):
    """Honest: whatever works on a GPU, slow or not: values read, masks, numbers and indices from the host."""

    def forward(self, z: Tensor) -> Tensor:
        noise = torch.zeros(len(z), 4, device=z.device) + z.new_tensor([0.0]) + torch.tensor(0.0)
        noise[z > 100] = 1.0
        if noise.sum().item() > 1e9 or z[[0]].cpu().numpy().size == 0:
            noise = torch.as_tensor(noise.tolist(), device=z.device)
        order = torch.arange(4)
        return super().forward((z + noise.type_as(z))[:, order])


with_networks("MakesOnCPU", "devices", painter=MadeOnCPU)
with_networks("MakesOnADevice", "devices", painter=MadeOnOne)
with_networks("MakesWhenSampling", "devices", painter=EvaluatesOnCPU)
with_networks("WorksAnywhere", painter=AnyDevice)


@toy("model", "devices")
class NotPrepared(HonestModel):
    """Its batches stay where the data is."""

    def prepare(self, batch: Batch) -> Batch:
        return {name: part / 127.5 - 1 if part.dtype == torch.uint8 else part for name, part in batch.items()}


@toy("model", "devices")
class DrawsOnCPU(HonestModel):
    def generator_loss(self, batch: Batch) -> dict[str, Tensor]:
        losses = super().generator_loss(batch)
        return {**losses, "loss": losses["loss"] + 0 * torch.rand(4).mul(losses["loss"]).mean()}


@toy("model", "devices")
class ReadsAsNumPy(HonestModel):
    def discriminator_loss(self, batch: Batch) -> dict[str, Tensor]:
        assert batch["x"].numpy().max() <= 1
        return super().discriminator_loss(batch)


# --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", toy.offered)
def test_a_toy_is_caught_by_the_right_check(toys: Registry, key: str) -> None:
    toy.assert_caught(toys, key)


def test_every_check_has_three_toys() -> None:
    toy.assert_three_for_each("model", "signature", "logits", "sizes", "buffers", "devices")


SENTENCES = {
    "WrongRange": "generator returns values from .* and its signature says -1 to 1",
    "WrongShape": r"returns torch.float32 \[1, 64\] for a batch of 1, .* \[1, 1, 8, 8\]",
    "CallsSigmoid": "the scores of discriminator stay within 0 and 1: leave out its last sigmoid",
    "OneSize": "for images of 3 x 8 x 8 it fails: RuntimeError: .*; take channels, height and width from",
    "OneSizeDrawn": r"the signature of 'generator' says \[1, 8, 8\]; take the shape from the data",
    "LeavesATensor": "generator.offset is neither a parameter nor a buffer, .* make it with register_buff",
    "LeavesModules": "generator.norms holds networks that are not registered; keep them in an nn.ModuleL",
    "MakesOnCPU": r"a tensor \[4\] is on the CPU .* device=x.device.* \(test_checks_of_networks.py, line",
    "ReadsAsNumPy": r"numpy\(\), which works on the CPU alone; call x.cpu\(\) first",
}


@pytest.mark.parametrize("key", SENTENCES)
def test_the_sentence_says_what_is_wrong_and_what_to_do(toys: Registry, key: str) -> None:
    toy.assert_said(toys, key, SENTENCES[key])


def test_asking_for_a_gpu_is_caught_with_a_gpu_and_without() -> None:
    for ask in (lambda x: x.cuda(), lambda x: torch.zeros(2, device="cuda")):
        with pytest.raises(Fault, match=r"asks for a GPU, wherever its input is|puts a tensor on cuda"), elsewhere():
            ask(torch.zeros(2).to(PRETENDED))


def test_what_cannot_be_tried_on_a_pretended_device_is_no_fault() -> None:
    with pytest.raises(Skip, match="cannot be tried on a device that does not exist"), elsewhere():
        torch.Generator(torch.zeros(2).to(PRETENDED).device)
