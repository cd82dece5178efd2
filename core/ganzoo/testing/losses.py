"""Checks of adversarial losses and of regularizers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from ganzoo.config.validation import validate
from ganzoo.errors import UserError
from ganzoo.gan.losses import Bound, GeneratorRegularizer, Loss, Regularizer
from ganzoo.plugin.registry import Entry, Registry
from ganzoo.testing.general import build_settings
from ganzoo.testing.pretended import DEVICE, elsewhere
from ganzoo.testing.results import Check, Fault, Skip

__all__ = ["loss_checks", "regularizer_checks"]

SHAPES = ((8,), (8, 1), (8, 1, 4, 4))
"""Shapes of scores: one a sample, as a column, or a map of patches."""


def loss_checks(registry: Registry, entry: Entry, sets: Sequence[str]) -> Iterator[Check]:
    """Yield the checks of a loss."""

    def build() -> Loss:
        built: Loss = entry.spec.load()(build_settings(entry, sets))
        _lived(built)
        return built

    loss = cache(build)
    yield Check("build", lambda: _declared(registry, loss()), vital=True)
    yield Check("scores", lambda: scores(loss()), vital=True)
    yield Check("gradients", lambda: gradients(loss()))
    yield Check("adversarial", lambda: adversarial(loss()))
    yield Check("batch mean", lambda: batch_mean(loss()))
    yield Check("discriminator", lambda: discriminator(loss()))
    yield Check("state", lambda: loss_state(build))
    yield Check("devices", lambda: loss_devices(build()))
    yield Check("large scores", lambda: large_scores(loss()))


def regularizer_checks(entry: Entry, sets: Sequence[str]) -> Iterator[Check]:
    """Yield the checks of a regularizer, of the discriminator or of the generator."""

    def build() -> Regularizer | GeneratorRegularizer:
        built: Regularizer | GeneratorRegularizer = entry.spec.load()(build_settings(entry, sets))
        return built

    yield Check("build", lambda: _made(build), vital=True)
    yield Check("images", lambda: penalty(build(), (1, 8, 8)))
    yield Check("points", lambda: penalty(build(), (2,)))
    yield Check("state", lambda: regularizer_state(build))
    yield Check("devices", lambda: regularizer_devices(build()))


def _made(build: Callable[[], object]) -> None:
    build()


def _lived(loss: Loss) -> None:
    """Let a loss that keeps something between steps see fakes that score far better than real samples.

    Fresh from the constructor it may be at the edge of what it steers: BEGAN's discriminator does not see fakes at all.
    """
    for _ in range(3):
        loss.after(torch.full((8,), -100.0), torch.zeros(8))


def _declared(registry: Registry, loss: Loss) -> None:
    if loss.critic_steps < 1:
        raise Fault(f"critic_steps is at least 1, not {loss.critic_steps}")
    for key, settings in loss.regularizers.items():
        named = registry.get("regularizer", key)
        validate(named.spec.load().Config, f"regularizer.{key}", {**named.spec.defaults, **settings})


def scores(loss: Loss) -> None:
    """Scores of any shape give a finite scalar loss for each network."""
    for shape in SHAPES:
        for player, value in _values(loss, *_draw(shape)).items():
            if value.shape != () or not value.isfinite():
                said = f"shape {list(value.shape)}" if value.shape != () else f"{value.item()}"
                raise Fault(f"the {player}'s loss of scores {list(shape)} is to be a finite scalar, not {said}")


def gradients(loss: Loss) -> None:
    """The discriminator's loss reaches the scores of real and of fake samples, the generator's those of fake ones."""
    for shape in SHAPES:
        real, fake = (part.requires_grad_() for part in _draw(shape))
        for player, value in _values(loss, real, fake).items():
            for name, part in (("real", real), ("fake", fake)):
                if name == "real" and player == "generator":
                    continue
                (gradient,) = torch.autograd.grad(value, part, retain_graph=True, allow_unused=True)
                if gradient is None or not bool(gradient.isfinite().all()) or not bool(gradient.any()):
                    raise Fault(f"the {player}'s loss has no finite gradient at the scores of {name} samples")


def adversarial(loss: Loss) -> None:
    """Once the discriminator separates real from fake, the generator's loss pulls fake scores towards the real ones."""
    real, fake = (part.requires_grad_() for part in _draw((64,)))
    for _ in range(50):
        value = _values(loss, real, fake)["discriminator"]
        by_real, by_fake = torch.autograd.grad(value, (real, fake))
        real = (real - 0.05 * len(real) * by_real).detach().requires_grad_()
        fake = (fake - 0.05 * len(fake) * by_fake).detach().requires_grad_()
    before = _values(loss, real, fake)["generator"]
    (gradient,) = torch.autograd.grad(before, fake)
    gap = float((real - fake).detach().mean())
    if gap * float(-gradient.sum()) <= 0:
        raise Fault("the generator's loss does not pull the scores of fake samples towards those of real ones")
    after = _values(loss, real.detach(), (fake - 0.01 * gradient).detach())["generator"]
    if after >= before:
        raise Fault("a step along its gradient does not lower the generator's loss")


def batch_mean(loss: Loss) -> None:
    """A batch that holds every sample twice has the same loss: the mean is taken, not the sum."""
    real, fake = _draw((8,))
    once, again, twice = (
        _values(loss, real, fake),
        _values(loss, real, fake),
        _values(loss, real.repeat(2), fake.repeat(2)),
    )
    if any(not torch.equal(value, again[player]) for player, value in once.items()):
        raise Skip("the loss is random")
    for player, value in once.items():
        if not torch.allclose(value, twice[player], rtol=1e-4, atol=1e-6):
            raise Fault(f"with every sample twice the {player}'s loss is {twice[player]:.4g} instead of {value:.4g}")


def large_scores(loss: Loss) -> None:
    """Scores as large as 30 of either sign give finite losses and gradients."""
    for sign in (30.0, -30.0):
        real = torch.full((8,), sign, requires_grad=True)
        fake = torch.full((8,), -sign, requires_grad=True)
        for player, value in _values(loss, real, fake).items():
            parts = torch.autograd.grad(value, (real, fake), retain_graph=True, allow_unused=True)
            if not all(bool(part.isfinite().all()) for part in (value, *parts) if part is not None):
                raise Fault(f"the {player}'s loss or its gradient is not finite at scores of {sign:+.0f}")


def discriminator(loss: Loss) -> str | None:
    """Asked about a plain discriminator, the loss takes it, or refuses it with a :class:`~ganzoo.UserError`."""
    try:
        loss.check(_discriminator((2,)))
    except UserError as error:
        return f"it refuses a plain discriminator: {error}"
    return None


def loss_devices(loss: Loss) -> None:
    """It computes on any device: none is written into the code."""
    real, fake = _draw((8,))
    with elsewhere():
        scores = real.to(DEVICE).requires_grad_(), fake.to(DEVICE).requires_grad_()
        for value in _values(loss, *scores).values():
            value.backward()
        loss.after(*(part.detach() for part in scores))


def loss_state(build: Callable[[], Loss]) -> None:
    """A loss that has taken back the state of another gives what the other gives, now and after another step."""
    first, second = build(), build()
    first.after(*_draw((8,)))
    second.load_state_dict(first.state_dict())
    for step in range(2):
        values, same = (_seeded(_values, loss, *_draw((8,))) for loss in (first, second))
        values, same = ({**found, **loss.after(*_draw((8,)))} for found, loss in ((values, first), (same, second)))
        for name, value in values.items():
            if not torch.equal(value, same[name]):
                kept = "keeps something between steps that its state_dict() does not return"
                raise Fault(f"{name} is another after load_state_dict(), step {step}: it {kept}")


def regularizer_state(build: Callable[[], Regularizer | GeneratorRegularizer]) -> None:
    """A regularizer that has taken back the state of another gives the penalties that the other gives."""
    torch.manual_seed(0)
    first, second = build(), build()
    network = _network(first, (2,))
    _accepted(first, network)
    given = _given(first, (2,))
    _penalty(first, network, [part.clone() for part in given])
    second.load_state_dict(first.state_dict())
    for _ in range(2):
        value, same = (_seeded(_penalty, each, network, [part.clone() for part in given]) for each in (first, second))
        if value is not None and not torch.equal(value, same):
            raise Fault(
                "the penalty is another after load_state_dict(): it keeps something between steps that its "
                "state_dict() does not return"
            )


def regularizer_devices(regularizer: Regularizer | GeneratorRegularizer) -> None:
    """It computes on any device: none is written into the code."""
    network = _network(regularizer, (1, 8, 8))
    _accepted(regularizer, network)
    with elsewhere():
        network.to(DEVICE)
        value = _penalty(regularizer, network, [part.to(DEVICE) for part in _given(regularizer, (1, 8, 8))])
        if value is not None:
            value.backward()
        if isinstance(regularizer, Regularizer):
            regularizer.project(network)


def penalty(regularizer: Regularizer | GeneratorRegularizer, shape: tuple[int, ...]) -> str | None:
    """The penalty is a finite scalar that reaches the network's weights, or the discriminator's are projected."""
    torch.manual_seed(0)
    network = _network(regularizer, shape)
    _accepted(regularizer, network)
    given = _given(regularizer, shape)
    kept, weights = ([part.detach().clone() for part in parts] for parts in (given, network.parameters()))
    value = _penalty(regularizer, network, given)
    if not all(torch.equal(part, before) for part, before in zip(network.parameters(), weights, strict=True)):
        raise Fault("the penalty changes the network's weights, which project() is for")
    if not all(torch.equal(part, before) for part, before in zip(given, kept, strict=True)):
        raise Fault("the penalty changes what it is given")
    if any(parameter.grad is not None for parameter in network.parameters()):
        raise Fault("the penalty leaves gradients on the weights; take them with torch.autograd.grad, not backward()")
    if value is not None:
        _reaches(value, list(network.parameters()))
    changed = isinstance(regularizer, Regularizer) and _projects(regularizer, network)
    if value is None and not changed:
        raise Fault("it has no penalty and changes no weights, so it does nothing")
    return None if value is not None else "no penalty; weights are projected"


def _accepted(regularizer: Regularizer | GeneratorRegularizer, network: nn.Module) -> None:
    try:
        regularizer.check(network)
    except UserError as error:
        raise Skip(f"it refuses a plain network: {error}") from None


def _given(regularizer: Regularizer | GeneratorRegularizer, shape: tuple[int, ...]) -> tuple[Tensor, ...]:
    """Return real and fake samples for a regularizer of the discriminator, latents for one of the generator."""
    if isinstance(regularizer, Regularizer):
        return torch.randn(8, *shape), torch.randn(8, *shape)
    return (torch.randn(8, 5),)


def _penalty(
    regularizer: Regularizer | GeneratorRegularizer, network: nn.Module, given: Sequence[Tensor]
) -> Tensor | None:
    call: Callable[..., Tensor | None] = regularizer.penalty
    value = call(Bound(network, network), *given)
    if value is not None and not isinstance(value, Tensor):
        raise Fault(f"the penalty is to be a scalar tensor, not a {type(value).__name__}")
    return value


def _network(regularizer: Regularizer | GeneratorRegularizer, shape: tuple[int, ...]) -> nn.Module:
    return _discriminator(shape) if isinstance(regularizer, Regularizer) else _generator(shape)


def _discriminator(shape: tuple[int, ...]) -> nn.Module:
    last = nn.Linear(16, 1)
    nn.init.normal_(last.weight, std=10.0)  # steep, for penalties that do not mind a gentle slope
    return nn.Sequential(nn.Flatten(), nn.Linear(torch.Size(shape).numel(), 16), nn.Softplus(), last, nn.Flatten(0))


def _generator(shape: tuple[int, ...]) -> nn.Module:
    size = torch.Size(shape).numel()
    return nn.Sequential(nn.Linear(5, 16), nn.Softplus(), nn.Linear(16, size), nn.Unflatten(1, shape))


def _seeded(call: Callable[..., Any], *arguments: Any) -> Any:
    torch.manual_seed(0)
    return call(*arguments)


def _reaches(value: Tensor, weights: Sequence[Tensor]) -> None:
    if value.shape != () or not value.isfinite():
        raise Fault(f"the penalty is to be a finite scalar, not {value.tolist()}")
    if not value.requires_grad:
        raise Fault("the penalty has no gradient at all; pass create_graph=True to torch.autograd.grad")
    reached = [part for part in torch.autograd.grad(value, weights, allow_unused=True) if part is not None]
    if not any(bool(part.any()) for part in reached):
        raise Fault("the penalty's gradient does not reach the network's weights")
    if not all(bool(part.isfinite().all()) for part in reached):
        raise Fault("the penalty's gradient is not finite")


def _projects(regularizer: Regularizer, discriminator: nn.Module) -> bool:
    with torch.no_grad():
        for parameter in discriminator.parameters():
            parameter.mul_(100)
    before = [parameter.clone() for parameter in discriminator.parameters()]
    regularizer.project(discriminator)
    after = list(discriminator.parameters())
    if not all(bool(parameter.isfinite().all()) for parameter in after):
        raise Fault("project() leaves weights that are not finite")
    return any(not torch.equal(old, new) for old, new in zip(before, after, strict=True))


def _draw(shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(5)
    return 0.5 * torch.randn(shape, generator=rng), 0.5 * torch.randn(shape, generator=rng)


def _values(loss: Loss, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
    players: dict[str, Callable[[], Tensor]] = {
        "discriminator": lambda: loss.discriminator(real, fake),
        "generator": lambda: loss.generator(fake, real if loss.needs_real else None),
    }
    values = {name: player() for name, player in players.items()}
    for name, value in values.items():
        if not isinstance(value, Tensor):
            raise Fault(f"the {name}'s loss is a {type(value).__name__}, not a tensor")
    return values
