"""Mixed precision stays inside of networks, and quality does not suffer from it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ganzoo import (
    Discriminator,
    DiscriminatorObjective,
    Image,
    Label,
    Loop,
    Points,
    Regularizer,
    RegularizerConfig,
    Score,
    Scores,
    Signature,
    TensorDataset,
    UserError,
    load_config,
    load_registry,
)
from ganzoo.data.dataset import DataSpec
from ganzoo.gan.precision import full_precision, widened
from ganzoo.gan.spectral import normalize_spectrum
from ganzoo.runs import checkpoint
from ganzoo_plugins.losses.hinge import Hinge
from ganzoo_plugins.networks.conditional_norm import ConditionalBatchNorm2d
from ganzoo_plugins.networks.layers import InstanceNorm2d, LayerNorm2d
from ganzoo_plugins.regularizers.gradients import per_sample_gradient

SIZE = 64


def digits() -> TensorDataset:
    """Return images that have something in common: a bright square each, somewhere."""
    rng = torch.Generator().manual_seed(0)
    x = torch.randint(40, (SIZE, 1, 16, 16), dtype=torch.uint8, generator=rng)
    for index, (top, left) in enumerate(torch.randint(10, (SIZE, 2), generator=rng).tolist()):
        x[index, :, top : top + 6, left : left + 6] += 200
    spec = DataSpec("squares", (Image(1, 16, 16, range=(0, 255)), Label(4)), SIZE)
    return TensorDataset(spec, {"x": x, "y": torch.arange(SIZE) % 4})


def loop_of(model: str, precision: str, *sets: str) -> Loop:
    """Return a training of some steps in float32, which goes on in the precision."""
    dataset = digits()
    config = load_config(load_registry(), model, sets=["batch_size=16", "lr_warmup=0", "device=cpu", *sets])
    checkpoint.seed_random(0)
    loop = Loop(config.build_trainer(dataset.spec), dataset, config.train)
    for _ in range(8):
        loop.advance()
    loop.take_logs()
    loop.settings = config.train.model_copy(update={"precision": precision})
    return loop


PENALTIES = (
    ("wgan_gp_conv", ()),
    ("cwgan_gp_fc", ()),
    ("r3gan", ()),
    ("gan_fc", ("regularizer.dragan.weight=10", "regularizer.consistency.weight=10")),
    ("gan_fc", ("regularizer.path_length.interval=1", "regularizer.virtual_adversarial.lipschitz=0.01")),
)


@pytest.mark.parametrize(("model", "sets"), PENALTIES)
def test_penalties_are_those_of_full_precision(model: str, sets: tuple[str, ...]) -> None:
    found: dict[str, dict[str, float]] = {}
    gradients: dict[str, list[Tensor]] = {}
    for precision in ("fp32", "bf16"):
        loop = loop_of(model, precision, *sets)
        gradients[precision] = []
        for phase in loop.phases:
            torch.manual_seed(1)
            loop.differentiate(phase)
            held = [each for name in phase.updates for each in loop.trainer.networks[name].parameters()]
            gradients[precision].append(torch.cat([each.grad.flatten() for each in held if each.grad is not None]))
            loop.trainer.optimizers[phase.optimizer].zero_grad()
        found[precision] = loop.take_logs()
    penalties = [key for key in found["fp32"] if key.split("/")[-1] in (*loop.trainer.regularizers, "penalty")]
    assert penalties
    for key in penalties:
        # The fake samples are those of a generator in bfloat16, which is all the difference that there is.
        assert found["bf16"][key] == pytest.approx(found["fp32"][key], rel=0.01), key
    for full, mixed in zip(*gradients.values(), strict=True):
        assert torch.cosine_similarity(full, mixed, dim=0) > 0.99


class Seen(Discriminator):
    """Notes the types of what it is given."""

    def __init__(self) -> None:
        super().__init__(Signature((Points(4),), Scores()))
        self.layer = nn.Linear(4, 1)
        self.inside: list[torch.dtype] = []

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.layer(x).squeeze(1)
        self.inside.append(scores.dtype)
        return scores


@pytest.fixture
def autocast() -> Iterator[None]:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        yield


@pytest.mark.usefixtures("autocast")
def test_what_leaves_a_network_is_float32() -> None:
    network, x = Seen(), torch.randn(3, 4)
    assert network(x).dtype == torch.float32
    assert network.inside == [torch.bfloat16]
    with full_precision(x.device):
        assert network(x).dtype == torch.float32
    assert network.inside[-1] == torch.float32


def test_without_mixed_precision_types_stay_as_they_are() -> None:
    for dtype in (torch.float64, torch.float16, torch.bfloat16):
        x = torch.zeros(2, dtype=dtype)
        assert widened(x) is x


class Steepness(Regularizer):
    """Notes the types of what it is given."""

    def penalty(self, score: Score, real: Tensor, fake: Tensor) -> Tensor:
        self.given = real.dtype, fake.dtype
        return per_sample_gradient(score, fake).square().sum()


@pytest.mark.parametrize("interval", [1, 2])
@pytest.mark.usefixtures("autocast")
def test_penalties_are_computed_in_float32(interval: int) -> None:
    network, penalty = Seen(), Steepness(RegularizerConfig(interval=interval))
    game = DiscriminatorObjective(network, Hinge(Hinge.Config()), {"steepness": penalty})
    real, fake = torch.randn(2, 3, 4)
    for phase in game.phases(lambda _: (network, real, fake.bfloat16())):
        phase.loss({})
    assert penalty.given == (torch.float32, torch.float32)
    assert network.inside == [torch.bfloat16, torch.bfloat16, torch.float32]


class Noted(TorchFunctionMode):
    """Notes at each product of a matrix and a vector whether it is under autocast, which CUDA has it under."""

    def __init__(self) -> None:
        super().__init__()
        self.autocast: list[bool] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.mv:
            self.autocast.append(torch.is_autocast_enabled("cpu"))
        return func(*args, **(kwargs or {}))


@pytest.mark.usefixtures("autocast")
def test_spectral_norm_is_computed_in_float32() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(40, 30), nn.ConvTranspose2d(5, 7, 3))
    normalize_spectrum(network)
    with Noted() as noted:
        for _ in range(100):
            weights = [layer.weight for layer in network]
    assert set(noted.autocast) == {False}
    assert torch.linalg.matrix_norm(weights[0], 2).item() == pytest.approx(1, abs=1e-3)
    outputs_first = weights[1].transpose(0, 1).flatten(1)
    assert torch.linalg.matrix_norm(outputs_first, 2).item() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("layer", [nn.Linear(3, 2), nn.Conv2d(3, 2, 3), nn.Embedding(3, 2)])
def test_spectral_norm_of_a_layer_of_zeros_is_refused(layer: nn.Module) -> None:
    nn.init.zeros_(layer.weight)
    with pytest.raises(UserError, match=r"layer 1 starts with zeros.*leave model\.spectral_norm out"):
        normalize_spectrum(nn.Sequential(nn.Linear(3, 3), layer))


@pytest.mark.usefixtures("autocast")
def test_fourier_features_keep_their_angles() -> None:
    from ganzoo_plugins.networks.mlp import FourierFeatures

    torch.manual_seed(0)
    features, x = FourierFeatures(2, 8, 5.0), torch.randn(16, 2)
    exact = features.double()(x.double())
    assert torch.allclose(features.float()(x).double(), exact, atol=1e-3)


class _ByClass(nn.Module):
    """Conditional batch norm of one class."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = ConditionalBatchNorm2d(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x, torch.zeros(len(x), 1))


@pytest.mark.parametrize(
    ("layer", "over"),
    [
        (InstanceNorm2d(8), (2, 3)),
        (nn.BatchNorm2d(8), (0, 2, 3)),
        (_ByClass(), (0, 2, 3)),
        (LayerNorm2d(8, 12, 12), (1, 2, 3)),
        (nn.LayerNorm([8, 12, 12]), (1, 2, 3)),
    ],
)
@pytest.mark.parametrize("gradient", [True, False])
@pytest.mark.usefixtures("autocast")
def test_statistics_of_norms_are_of_float32(layer: nn.Module, over: tuple[int, ...], gradient: bool) -> None:
    torch.manual_seed(0)
    x = (torch.randn(4, 8, 12, 12) + 5).bfloat16()
    with torch.set_grad_enabled(gradient):
        y = layer(x).double()
    # A mean in bfloat16 is 2^-9 of its size wrong, so that here y would be some 0.01 off on the whole.
    assert y.mean(over).abs().max() < 1e-3
    assert (y.var(over, correction=0) - 1).abs().max() < 5e-3
