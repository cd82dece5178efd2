"""Networks that take data (translators, encoders, inpainting), and their outputs for the examples of it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from ganzoo.data.dataset import Dataset
from ganzoo.fields import Field, Image, Latent, Mask
from ganzoo.gan.networks import Network
from ganzoo.images.grids import save_comparison, save_grid
from ganzoo.inference.sampling import draw_inputs, run_batched
from ganzoo_runtime.images import pixels as to_pixels

__all__ = ["EXAMPLES", "compute_outputs", "draw_outputs"]

EXAMPLES = 16
"""Examples that a grid shows."""

_DRAWS = 3  # outputs for one image of a network that takes a latent besides


def compute_outputs(
    network: Network,
    examples: Mapping[str, Tensor],
    seed: int,
    compute: Callable[[Network, Sequence[Tensor]], Tensor] = run_batched,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the network's outputs for examples, [N, ...], and all its inputs by name.

    ``examples`` are data as networks see it, by the name of their field; latents and masks are drawn from the seed.
    ``compute`` applies the network to all inputs.
    """
    names = [field.name for field in network.signature.inputs]
    n = max(len(examples[name]) for name in names if name in examples)
    inputs = draw_inputs(network.signature, n, seed, given={key: part.cpu() for key, part in examples.items()})
    return compute(network, inputs), dict(zip(names, inputs, strict=True))


def draw_outputs(
    path: Path,
    network: Network,
    others: Iterable[Network],
    dataset: Dataset,
    examples: Mapping[str, Tensor],
    seed: int,
    claims: Mapping[str, str] | None = None,
) -> None:
    """Draw a grid of examples in rows: input, output, what another network maps the output back to, and the target.

    ``examples`` are those of the data set in the network's range. Of a network that takes a latent besides several
    outputs are shown; a hole is white. The way back is one of the ``others`` that takes what this one returns and
    returns what this one takes; with an encoder, the reconstruction of the reconstruction is shown too. The target is
    shown where the data set knows it. Of a network that takes no image, its outputs are shown alone.
    """
    inputs, output = network.signature.inputs, network.signature.output
    source = next((field for field in inputs if isinstance(field, Image)), None)
    if source is None:
        save_grid(path, compute_outputs(network, examples, seed)[0].numpy(), output, claims=claims)
        return
    draws = _DRAWS if any(isinstance(field, Latent) for field in inputs) else 1
    drawn = [compute_outputs(network, examples, seed + index) for index in range(draws)]
    shown = drawn[0][1][source.name]
    for field in inputs:
        if isinstance(field, Mask):
            shown = torch.where(drawn[0][1][field.name] > 0, source.range[1], shown)
    columns: list[tuple[Tensor, Image]] = [(shown, source)]
    if isinstance(output, Image):
        columns += [(part, output) for part, _ in drawn]
    back = _way_back(network, others)
    if back is not None:
        returned, _ = compute_outputs(back, {**examples, output.name: drawn[0][0]}, seed)
        columns.append((returned, source))
        if not isinstance(output, Image):
            again, _ = compute_outputs(network, {**examples, source.name: returned}, seed)
            columns.append((compute_outputs(back, {**examples, output.name: again}, seed)[0], source))
    if isinstance(output, Image) and dataset.known_pairs and output.name in examples:
        columns.append((examples[output.name], output))
    save_comparison(
        path, [to_pixels(images.cpu().contiguous().numpy(), field.range) for images, field in columns], claims
    )


def _way_back(network: Network, others: Iterable[Network]) -> Network | None:
    """Return the network that takes what this one returns, and returns what it takes."""
    here = network.signature

    def same(one: Field, other: Field) -> bool:
        return (one.kind, one.name) == (other.kind, other.name)

    for other in others:
        there = other.signature
        if any(same(field, here.output) for field in there.inputs) and any(
            same(field, there.output) for field in here.inputs
        ):
            return other if other is not network else None
    return None
