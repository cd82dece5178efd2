"""Settings and kinds of samples, named in brackets behind the base class."""

from typing import Any

import pytest
from typing_extensions import TypeVar

from ganzoo import (
    AdversarialConfig,
    AdversarialTrainer,
    Dataset,
    DatasetConfig,
    Field,
    Image,
    Loss,
    LossConfig,
    Points,
    Trainer,
    TrainerConfig,
    UserError,
    load_config,
    load_registry,
)


class Mine(AdversarialConfig):
    more: int = 3


Settings = TypeVar("Settings", bound=Mine, default=Mine, covariant=True)


class Plain(AdversarialTrainer[Mine]):
    build_generator = build_discriminator = None


class Both(AdversarialTrainer[Mine, Image | Points]):
    build_generator = build_discriminator = None


class Family(AdversarialTrainer[Settings]):
    build_generator = build_discriminator = None


@pytest.mark.parametrize(
    ("cls", "config"),
    [
        (Plain, Mine),
        (Both, Mine),
        (type("Child", (Both,), {}), Mine),
        (Family, Mine),
        (AdversarialTrainer, AdversarialConfig),
        (type("Bare", (AdversarialTrainer,), {}), AdversarialConfig),
        (Trainer, TrainerConfig),
        (type("BareLoss", (Loss,), {}), LossConfig),
        (Dataset, DatasetConfig),
        (type("ByHand", (Loss,), {"Config": type("Hand", (LossConfig,), {})}), None),
    ],
)
def test_the_class_of_the_settings_is_that_in_brackets_or_the_least(cls: Any, config: type | None) -> None:
    if config is None:
        assert cls.Config.__name__ == "Hand"
    else:
        assert cls.Config is config


@pytest.mark.parametrize(
    ("cls", "samples"),
    [
        (Trainer, (Field,)),
        (AdversarialTrainer, (Image,)),
        (Plain, (Image,)),
        (Both, (Image, Points)),
        (type("Child", (Both,), {}), (Image, Points)),
        (Family, (Image,)),
    ],
)
def test_samples_are_images_unless_others_are_named(cls: Any, samples: tuple[type[Field], ...]) -> None:
    assert cls.samples == samples


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["dcgan", "gaussians"], "dcgan draws images, not points; choose other data or another model"),
        (["aae", "gaussians"], "aae draws images, not points"),
        (["lsgan", "curves"], "lsgan draws images, not points"),
    ],
)
def test_other_samples_are_refused_in_the_models_name(arguments: list[str], said: str) -> None:
    model, data = arguments
    config = load_config(load_registry(), model, sets=[f"data.name={data}"])
    with pytest.raises(UserError, match=said):
        config.build_trainer(config.build_dataset().spec)


def test_an_encoder_refuses_what_its_gan_does_not_draw() -> None:
    sets = ["data.name=gaussians", "model.gan=wgan_gp_conv"]
    config = load_config(load_registry(), "encoder_regression", sets=sets)
    with pytest.raises(UserError, match="wgan_gp_conv draws images, not points"):
        config.build_trainer(config.build_dataset().spec)


def test_a_model_of_points_does_not_draw_images() -> None:
    class OfPoints(AdversarialTrainer[Mine, Points]):
        build_generator = build_discriminator = None

    with pytest.raises(UserError, match=r"toy draws points, not images; choose"):
        OfPoints.check_samples(Image(1, 8, 8), "toy")
    OfPoints.check_samples(Points(2), "toy")
