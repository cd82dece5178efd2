"""Which layers of a source a network of another size starts from."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import ganzoo
from ganzoo import Trainer
from ganzoo.config.data_choice import choose_data
from ganzoo.config.train_settings import Source
from ganzoo.training.matching import fitting, matched
from ganzoo.training.sources import Weights

SMALL: dict[str, dict[str, Any]] = {
    "stylegan2": {"channel_base": 128, "channel_max": 16, "latent_dim": 8, "style_dim": 8},
    "progan": {"channel_base": 128, "channel_max": 16, "latent_dim": 8},
    "sagan": {"width": 2, "latent_dim": 8},
    "biggan": {"width": 2, "chunk_dim": 4, "embedding_dim": 4},
    "deep": {"width": 4, "chunk_dim": 4, "embedding_dim": 4, "deep": True},
    "r3gan": {"widths": [4, 8], "group": 4, "latent_dim": 8},
    "dcgan": {"width": 2, "latent_dim": 8, "batch_norm": "generator"},
}


def loop_of(model: str, size: int, seed: int, **settings: Any) -> ganzoo.Loop:
    """Return a training of a small model on images of a size that has not begun, its networks grown."""
    images = torch.zeros(8, 3, size, size, dtype=torch.uint8), torch.arange(8) % 4
    registry, data = choose_data(ganzoo.load_registry(), images)
    table = {"model": {**SMALL[model], **settings}, "data": data, "device": "cpu", "batch_size": 4}
    config = ganzoo.load_config(registry, "biggan" if model == "deep" else model, file=table)
    dataset = config.build_dataset()
    torch.manual_seed(seed)
    return ganzoo.Loop(config.build_trainer(dataset.spec), dataset, config.train)


def state_of(trainer: Trainer, factor: float = 1) -> dict[str, Tensor]:
    named = trainer.networks.items()
    return {f"{name}.{key}": value * factor for name, each in named for key, value in each.state_dict().items()}


def share(network: nn.Module, source: Mapping[str, Tensor], names: Mapping[str, str]) -> float:
    """Return what share of a network's parameters a source has by these names."""
    own, fits = network.state_dict(), fitting(network.state_dict(), source, names)
    parameters = {name for name, _ in network.named_parameters()}
    return sum(fits[name].numel() for name in parameters & fits.keys()) / sum(own[each].numel() for each in parameters)


@pytest.mark.parametrize(
    ("model", "sizes", "discriminator", "generator"),
    [
        ("stylegan2", (32, 64), (0.47, 0.99), (0.98, 0.98)),
        ("stylegan2", (64, 32), (0.48, 1.00), (1.00, 1.00)),
        ("progan", (32, 64), (0.99, 0.99), (0.99, 0.99)),
        ("progan", (64, 32), (1.00, 1.00), (1.00, 1.00)),
        ("r3gan", (32, 64), (0.75, 0.78), (0.69, 0.79)),
        ("r3gan", (64, 32), (0.96, 1.00), (0.87, 1.00)),
        ("dcgan", (32, 64), (0.24, 0.24), (0.00, 0.15)),
        ("dcgan", (64, 32), (0.85, 0.85), (0.00, 0.42)),
        ("sagan", (64, 128), (0.49, 0.49), (0.99, 0.99)),
        ("sagan", (128, 64), (0.95, 0.95), (1.00, 1.00)),
        ("biggan", (64, 128), (0.49, 0.49), (0.99, 0.99)),
        ("deep", (64, 128), (0.38, 0.99), (0.98, 0.98)),
        ("deep", (128, 64), (0.38, 0.99), (1.00, 1.00)),
    ],
)
def test_how_much_of_a_network_starts_from_that_of_another_size(
    model: str, sizes: tuple[int, int], discriminator: tuple[float, float], generator: tuple[float, float]
) -> None:
    source, target = (loop_of(model, size, seed).trainer for seed, size in enumerate(sizes))
    source.reach(10**9)
    target.reach(10**9)
    for name, (before, after) in {"discriminator": discriminator, "generator": generator}.items():
        tensors, network = source.networks[name].state_dict(), target.networks[name]
        names, _ = matched(network.state_dict(), tensors)
        by_name = share(network, tensors, {key: key for key in tensors})
        assert (by_name, share(network, tensors, names)) == pytest.approx((before, after), abs=0.0051)


def heights(network: nn.Module, blocks: nn.Module, size: int) -> dict[int, nn.Module]:
    """Return the blocks of a discriminator by the height of the maps that they are given."""
    found: dict[int, nn.Module] = {}
    hooks = [
        each.register_forward_pre_hook(lambda block, inputs: found.update({inputs[0].shape[2]: block}))
        for each in blocks.children()
    ]
    network(torch.zeros(4, 3, size, size))
    for hook in hooks:
        hook.remove()
    return found


@pytest.mark.parametrize("sizes", [(32, 64), (64, 32), (16, 64)])
def test_blocks_start_from_those_at_maps_of_the_same_size(sizes: tuple[int, int]) -> None:
    source, loop = loop_of("stylegan2", sizes[0], 0).trainer, loop_of("stylegan2", sizes[1], 1)
    lines = Weights(Source(name="one"), {}, state_of(source), state_of(source, 2)).load_into(loop)
    assert "; blocks matched from its last layer; of other shapes: from_image.weight, from_image.bias" in lines[1]
    networks = [source.networks["discriminator"], loop.trainer.networks["discriminator"]]
    before, after = (heights(each, each.blocks, size) for each, size in zip(networks, sizes, strict=True))  # type: ignore[arg-type]
    assert len(before.keys() & after.keys()) == min(len(before), len(after))
    for height in before.keys() & after.keys():
        for one, other in zip(before[height].parameters(), after[height].parameters(), strict=True):
            assert torch.equal(one, other)
    for key in ("convolution.weight", "hidden.weight", "score.weight"):
        assert torch.equal(*(each.state_dict()[key] for each in networks))


def test_what_an_added_stage_stands_between_is_kept_in_averages_too() -> None:
    """R3GAN has one list: first the image or the latent, then stages of blocks, at last what reads the smallest map."""
    source, loop = loop_of("r3gan", 16, 0).trainer, loop_of("r3gan", 32, 1)
    held = Weights(Source(name="one"), {}, state_of(source), state_of(source, 2))
    lines = held.load_into(loop)
    for line, border, new in zip(lines, ("body.3", "body.6"), ("body.5", "body.8"), strict=True):
        said = f"20 of 25 tensors; body behind {border} matched from its last layer; not in the source: {new}.body.0"
        assert line.split(": ", 2)[2].startswith(said)
    # Numbers in the list, and those in the source's: None are those of the new stage.
    pairs = {
        "generator": {0: 0, 1: 1, 3: 3, 5: None, 6: 4, 8: 6, 9: 7},
        "discriminator": {0: 0, 1: 1, 3: 3, 4: 4, 6: 6, 8: None, 9: 7},
    }
    for name, places in pairs.items():
        own, averaged = loop.trainer.networks[name].state_dict(), loop.ema.get(name)
        layers = {int(key.split(".")[1]) for key in own}
        assert layers == places.keys(), (name, sorted(layers))
        for key, value in own.items():
            _, place, *rest = key.split(".")
            start = places[int(place)]
            other = held.last.get(f"{name}.body.{start}.{'.'.join(rest)}")
            assert (other is not None and torch.equal(value, other)) == (start is not None), key
            if averaged is not None:
                expected = value if other is None else 2 * other
                assert torch.equal(averaged.state_dict()[key], expected), key


def test_a_network_that_will_grow_is_given_the_levels_of_the_same_numbers() -> None:
    """With as many channels everywhere, the last level of the source would fit the first one, and with its way out."""
    sizes = {"channel_base": 64, "channel_max": 4}
    source = loop_of("progan", 16, 0, **sizes).trainer
    source.reach(10**9)
    loop = loop_of("progan", 16, 1, **sizes)
    Weights(Source(name="one"), {}, state_of(source), {}).load_into(loop)
    for name, network in loop.trainer.networks.items():
        own, held = network.state_dict(), source.networks[name].state_dict()
        assert all(torch.equal(own[key], held[key]) for key in own.keys() & held.keys())
        assert matched(own, held)[1] == ["levels matched from its last layer"]


def tensors(**shapes: tuple[int, ...]) -> dict[str, Tensor]:
    return {name.replace("_", "."): torch.zeros(shape) for name, shape in shapes.items()}


def test_names_stay_where_nothing_is_gained() -> None:
    """Layers of equal shapes fit either way; so does a list that is as long, and one that the other does not have."""
    three = tensors(a_0_w=(2, 2), a_1_w=(2, 2), a_2_w=(2, 2), b_0_w=(3, 2), c_w=(2, 2))
    two = tensors(a_0_w=(2, 2), a_1_w=(2, 2), b_0_w=(2, 3), d_0_w=(3, 2), c_w=(2, 2))
    for own, source in ((three, two), (two, three)):
        names, moved = matched(own, source)
        assert names.items() >= {key: key for key in own.keys() & source.keys()}.items()
        assert moved == []


def test_vectors_alone_move_no_list() -> None:
    own = tensors(a_0_w=(2, 3), a_0_b=(2,), a_1_w=(3, 4), a_1_b=(3,), a_2_b=(9,))
    source = tensors(a_0_w=(7, 7), a_0_b=(3,), a_1_b=(9,))
    assert matched(own, source)[1] == []


def test_lists_inside_of_lists_and_a_network_that_is_a_list() -> None:
    own = tensors(**{"0_a_0_w": (9, 1), "1_a_0_w": (5, 5), "1_a_1_w": (2, 3), "1_c_w": (1, 5), "2_w": (4, 4)})
    source = tensors(**{"0_a_0_w": (2, 3), "0_c_w": (1, 5), "1_w": (4, 4)})
    names, moved = matched(own, source)
    assert {key: names[key] for key in names.keys() & own.keys()} == {
        "1.a.1.w": "0.a.0.w",
        "1.c.w": "0.c.w",
        "2.w": "1.w",
    }
    assert moved == ["the network matched from its last layer", "1.a matched from its last layer"]


def test_numbers_that_no_list_has_do_no_harm() -> None:
    own = tensors(a_0_w=(2, 3), a_1_w=(3, 2))
    hostile = {
        "a." + "9" * 5000 + ".w": torch.zeros(3, 2),
        "a.999999999.w": torch.zeros(3, 2),
        "a.-1.w": torch.zeros(1),
    }
    names, _ = matched(own, {**hostile, **tensors(a_0_w=(2, 3))})
    assert names["a.0.w"] == "a.0.w"
