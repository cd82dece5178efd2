"""The two networks: base classes of generators and discriminators."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Protocol, runtime_checkable

from torch import Tensor, nn
from torch.func import functional_call

from ganzoo.fields import Field, Signature, Styles, Truncation
from ganzoo.gan.precision import widened

__all__ = ["Discriminator", "Generator", "MixesSamples", "Network", "StyleGenerator", "layers", "mixes_samples"]


class Network(nn.Module):
    """A module with a signature: the fields of its inputs and of its output.

    ``forward`` takes the signature's inputs in their order, batch first, and returns its output. Sampling, export and
    checks rely on the signature alone, so it must be correct.
    """

    signature: Signature

    def __init__(self, signature: Signature) -> None:
        super().__init__()
        self.signature = signature

    @property
    def means(self) -> Mapping[str, Tensor]:
        """The means of its latents or styles by name, which truncation moves towards, where they are not 0."""
        return {}

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Apply the network to its inputs, in the signature's order; the output is always float32."""
        return widened(super().__call__(*inputs))


class Generator(Network):
    """Draws samples from latents: ``G(z)`` or ``G(z, y)``; noise is always an input, never drawn inside."""


class StyleGenerator(Generator, ABC):
    """A generator whose latents are mapped to styles first, one of ``dim`` numbers for each of its ``layers``.

    Its inputs are a latent and conditions, ``inputs``, and behind these ``psi``, [N, L], and ``w``, [N, L, D], so that
    the styles can be truncated, mixed and replaced: a sample is drawn from ``psi * mapped(z, ...) + (1 - psi) * w``.
    Without these two it is the plain sample.
    """

    def __init__(self, inputs: Sequence[Field], layers: int, dim: int, output: Field) -> None:
        super().__init__(Signature((*inputs, Truncation(layers), Styles(layers, dim)), output))

    @abstractmethod
    def mapped(self, *inputs: Tensor) -> Tensor:
        """Return the styles [N, L, D] of latents and conditions."""

    @abstractmethod
    def drawn(self, styles: Tensor) -> Tensor:
        """Return the samples of styles [N, L, D]."""

    @property
    def noises(self) -> Mapping[str, Tensor]:
        """The noise maps [H, W] that layers add, the same for all samples, by the names of their buffers; here none."""
        return {}

    def with_noise(self, *inputs: Tensor) -> Tensor:
        """Draw samples with noise of their own, the last input: [N, S], the numbers of all :attr:`noises` in order."""
        parts = inputs[-1].split([each.numel() for each in self.noises.values()], 1)
        maps = zip(self.noises.items(), parts, strict=True)
        own = {name: part.reshape(-1, 1, *each.shape) for (name, each), part in maps}
        samples: Tensor = functional_call(self, own, inputs[:-1])
        return samples

    def styles(self, *inputs: Tensor) -> Tensor:
        """Return the styles [N, L, D] that a call with these inputs draws samples from."""
        count = len(self.signature.inputs) - 2
        mapped = self.mapped(*inputs[:count])
        if len(inputs) == count:
            return mapped
        psi, w = inputs[count:]
        psi = psi.unsqueeze(2)
        return psi * mapped + (1 - psi) * w  # in this form both ends are exact

    def forward(self, *inputs: Tensor) -> Tensor:
        """Draw samples."""
        return self.drawn(self.styles(*inputs))


class Discriminator(Network):
    """Scores samples: ``D(x)`` or ``D(x, y)``, raw scores (logits) of any shape, batch first; no sigmoid inside.

    ``reconstructs`` says that it is an autoencoder whose score is minus the error of its reconstruction.
    """

    reconstructs: ClassVar[bool] = False


@runtime_checkable
class MixesSamples(Protocol):
    """A layer of a discriminator that says whether it mixes the samples of a batch, as the minibatch deviation does.

    Where ``mixes_samples`` is set, real and fake samples are scored in passes of their own.
    """

    mixes_samples: bool


def mixes_samples(network: nn.Module) -> bool:
    """Return whether a layer of the network mixes the samples of a batch."""
    return any(isinstance(module, MixesSamples) and module.mixes_samples for module in network.modules())


def layers(network: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield the layers of a network with their names, in the order in which they were made.

    Those are its modules with parameters; in place of lists of modules (``Sequential``, ``ModuleList``), and of a
    module that holds all the others, those inside of them.
    """
    inside = [(name, child) for name, child in network.named_children() if any(True for _ in child.parameters())]
    alone = len(inside) == 1 and not prefix
    for name, child in inside:
        if isinstance(child, nn.Sequential | nn.ModuleList) or (alone and any(True for _ in child.children())):
            below = list(layers(child, f"{prefix}{name}."))
            yield from below or [(f"{prefix}{name}", child)]
        else:
            yield f"{prefix}{name}", child
