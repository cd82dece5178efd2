"""Checks of networks: what they return is what their signatures say, scores are raw, and sizes are the data's."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ganzoo.data.dataset import DataSpec
from ganzoo.errors import UserError, place, sentence
from ganzoo.fields import Image, Scores
from ganzoo.gan.networks import Network
from ganzoo.runs import checkpoint
from ganzoo.testing.bench import STEPS, Bench, draw
from ganzoo.testing.results import Fault, Skip
from ganzoo.testing.samples import random_data
from ganzoo.training.loop import Loop

__all__ = ["honest", "logits", "signature", "sizes"]


def signature(bench: Bench) -> None:
    """Networks return what their signatures say, before training and after a few steps, for one sample and several."""
    loop = bench.loop()
    for count in (0, STEPS):
        for _ in range(count):
            loop.advance()
        networks: dict[str, nn.Module] = {**loop.trainer.networks, **loop.exports()}
        for name, network in networks.items():
            if isinstance(network, Network):
                training = network.training
                honest(name, network.eval())
                network.train(training)


@torch.no_grad()
def honest(name: str, network: Network, sizes: Sequence[int] = (1, 3, 64)) -> None:
    """Raise :class:`Fault` if a network, in eval mode, returns something else than its signature says.

    It is given batches of these ``sizes``, 3 among them.
    """
    promised = network.signature.output
    outputs = {}
    for n in sizes:
        inputs = draw(network.signature, n)
        kept = [part.clone() for part in inputs]
        output = outputs[n] = network(*inputs)
        if not isinstance(output, Tensor):
            raise Fault(f"{name} returns a {type(output).__name__}, not a tensor")
        if any(not torch.equal(before, after) for before, after in zip(kept, inputs, strict=True)):
            raise Fault(f"{name} changes its input in place")
        shape = (n, *(output.shape[1:] if isinstance(promised, Scores) else promised.shape))
        if tuple(output.shape) != shape or output.dtype != torch.float32:
            raise Fault(
                f"{name} returns {output.dtype} {list(output.shape)} for a batch of {n}, "
                f"and its signature says torch.float32 {list(shape)}"
            )
        if not bool(output.isfinite().all()):
            raise Fault(f"{name} returns values that are not finite")
        if found := promised.fault(output.numpy()):
            raise Fault(f"{name} returns {found}")
    inputs = draw(network.signature, 3)
    if not torch.equal(network(*inputs), outputs[3]):
        raise Fault(f"{name} returns something else the second time; noise is an input, never drawn inside")
    alone = torch.cat([network(*(part[index : index + 1] for part in inputs)) for index in range(3)])
    if not torch.allclose(alone, outputs[3], rtol=1e-3, atol=1e-4):
        raise Fault(f"{name} returns something else for a sample alone than for the same one in a batch")


@torch.no_grad()
def logits(bench: Bench) -> None:
    """Scores are raw: with other, larger weights they leave 0..1, as they cannot behind a sigmoid or a softmax."""
    for name, network in bench.loop().trainer.networks.items():
        if not (isinstance(network, Network) and isinstance(network.signature.output, Scores)):
            continue
        found = torch.cat([_shaken(network, scale, seed) for seed in range(4) for scale in (1.0, 10.0)])
        # Raw scores are above 1 or below 0 for some weights, and log-probabilities below 0 for all.
        if bool(((found >= 0) & (found <= 1)).all()):
            raise Fault(f"the scores of {name} stay within 0 and 1: leave out its last sigmoid, which the loss applies")
        if bool((found <= 0).all()) and isinstance(list(network.modules())[-1], nn.LogSigmoid | nn.LogSoftmax):
            raise Fault(f"{name} ends in a {type(list(network.modules())[-1]).__name__}; scores are raw, leave it out")


def _shaken(network: Network, scale: float, seed: int) -> Tensor:
    """Return the scores of a copy of a network whose weights have been changed at random."""
    rng, other = torch.Generator().manual_seed(seed), copy.deepcopy(network).eval()
    for parameter in other.parameters():
        parameter.add_(scale * max(float(parameter.abs().mean()), 0.1) * torch.randn(parameter.shape, generator=rng))
    return other(*draw(network.signature, 16, seed)).flatten().nan_to_num()


def sizes(bench: Bench) -> str | None:
    """For images of other sizes and channels it is built to fit, or refuses them with a :class:`~ganzoo.UserError`."""
    spec = bench.dataset.spec
    if not isinstance(spec.sample, Image):
        raise Skip("its data are no images")
    refused = []
    for other in _others(spec):
        image = other.sample
        assert isinstance(image, Image)
        said = f"{image.channels} x {image.height} x {image.width}"
        try:
            _fits(bench, other)
        except UserError as error:
            refused.append(f"{said}: {error}")
        except Fault as fault:
            raise Fault(f"for images of {said}, {fault}") from None
        except Exception as error:
            raise Fault(
                f"for images of {said} it fails: {sentence(error)[:200]}{place(error)}; take channels, height and "
                "width from the data, or refuse what it cannot draw with a UserError"
            ) from None
    return f"refused {refused[0]}" if refused else None


def _others(spec: DataSpec) -> Iterator[DataSpec]:
    """Yield the data with its images of other sizes and channels."""
    image = spec.sample
    assert isinstance(image, Image)
    small = 16 if image.height > 16 else 32
    others: list[dict[str, Any]] = [
        {"channels": 3 if image.channels == 1 else 1},
        {"height": small, "width": small},
        {"height": 16, "width": 32},
    ]
    for changes in others:
        fields = tuple(replace(field, **changes) if isinstance(field, Image) else field for field in spec.fields)
        yield replace(spec, fields=fields)


def _fits(bench: Bench, spec: DataSpec) -> None:
    dataset = random_data(*spec.fields, paired=spec.paired)
    settings = bench.config.train
    checkpoint.seed_random(settings.seed)
    trainer = bench.config.build_trainer(spec)
    size = max(2, trainer.batch_multiple)
    loop = Loop(trainer, dataset, settings.model_copy(update={"batch_size": size}))
    shapes = {field.shape for field in spec.fields}
    for name, network in loop.exports().items():
        network.eval()
        for field in (*network.signature.inputs, network.signature.output):
            if isinstance(field, Image) and field.shape not in shapes:
                raise Fault(f"the signature of {name!r} says {list(field.shape)}; take the shape from the data")
        with torch.no_grad():
            found, promised = network(*draw(network.signature, 2)).shape[1:], network.signature.output.shape
        if tuple(found) != promised:
            raise Fault(f"{name!r} returns {list(found)} and its signature says {list(promised)}")
    for phase in loop.phases:
        loop.differentiate(phase)
        loop.trainer.optimizers[phase.optimizer].zero_grad(set_to_none=True)
