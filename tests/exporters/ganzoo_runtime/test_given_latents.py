"""Latents that are given in place of drawn ones, and their mean."""

import numpy as np
import pytest
from built import CPU, IMAGE, build

from ganzoo import Image, Label, Latent, Signature
from ganzoo_runtime import Generator


def test_latents_in_place_of_drawn_ones() -> None:
    generator = Generator(build(IMAGE), providers=CPU)
    z = generator.latents(7, seed=9)
    drawn = generator.sample(7, seed=9)
    np.testing.assert_allclose(generator.sample(7, latents=z), drawn, atol=1e-6)
    np.testing.assert_allclose(generator.sample(7, latents={"z": z}, batch=3), drawn, atol=1e-6)
    same = generator.sample(5, latents=z[0])
    np.testing.assert_allclose(same, generator(np.repeat(z[:1], 5, axis=0), np.arange(5)), atol=1e-6)
    np.testing.assert_allclose(generator.sample(7, latents=z, truncation=0.5), drawn, atol=1e-6)
    for latents, words in (
        (z[:3], r"the latents of 7 samples of this model have the shape \[3, 2\] or \[7, 3, 2\], not \[3, 3, 2\]"),
        ({"w": z}, "this model has no latent 'w'; there is: z"),
        (z * np.nan, "latents are finite numbers"),
    ):
        with pytest.raises(ValueError, match=words):
            generator.sample(7, latents=latents)


def test_other_latents_are_still_drawn() -> None:
    generator = Generator(build(Signature((Latent((4,)), Latent((2,), name="noise")), Image(1, 2, 2))), providers=CPU)
    z, noise = generator.latents(6, 3), generator.latents(6, 3, "noise")
    np.testing.assert_allclose(generator.sample(6, seed=3, latents={"noise": noise}), generator(z, noise), atol=1e-6)
    np.testing.assert_allclose(generator.sample(6, seed=3, latents=z + 1), generator(z + 1, noise), atol=1e-6)


def test_truncation_moves_latents_towards_their_mean() -> None:
    mean = np.arange(6, dtype=np.float32)
    document = {"schema": 1, "signature": IMAGE.to_json(), "latent_mean": {"z": mean.tolist()}}
    generator = Generator(build(IMAGE, document), providers=CPU)
    plain = Generator(build(IMAGE), providers=CPU)
    z, middle = plain.latents(4), mean.reshape(3, 2)
    np.testing.assert_allclose(generator.latents(4, truncation=0.25), middle + 0.25 * (z - middle), atol=1e-6)
    np.testing.assert_array_equal(generator.latents(4), z)
    expected = plain.sample(4, latents=middle + 0.25 * (z - middle))
    np.testing.assert_allclose(generator.sample(4, truncation=0.25), expected, atol=1e-6)
    np.testing.assert_allclose(generator.sample(4, truncation=0.0), plain.sample(4, latents=middle), atol=1e-6)


def test_latents_of_another_generator_are_not_made_up() -> None:
    document = {"schema": 1, "signature": IMAGE.to_json(), "latent_generator": "numpy.random.Philox"}
    known = Generator(build(IMAGE, document), providers=CPU)
    np.testing.assert_array_equal(known.latents(3), Generator(build(IMAGE), providers=CPU).latents(3))
    other = Generator(build(IMAGE, document | {"latent_generator": "numpy.random.SFC64"}), providers=CPU)
    for draw in (other.latents, other.sample, other.stream):
        with pytest.raises(ValueError, match=r"come from numpy\.random\.SFC64, which this runtime does not know"):
            draw(3)
    assert other(known.latents(3), [0, 1, 2]).shape == (3, 1, 4, 4)


def test_samples_by_number_are_refused_where_too_much_is_drawn_before_them() -> None:
    signature = Signature((Latent((3, 2)), Label(5), Latent((256,), name="noise")), Image(1, 4, 4))
    generator = Generator(build(signature), providers=CPU)
    z = generator.latents(30, seed=2)
    np.testing.assert_array_equal(generator.latents(np.array([29, 0, 29], np.uint8), seed=2), z[[29, 0, 29]])
    last = 2**30 // (6 + 256) - 1
    words = f"the sample of number {last + 1:,} is out of reach: .* of this model it is at most {last:,}$"
    with pytest.raises(ValueError, match=words):
        generator.latents([0, last + 1])
    for wrong in ([], [-1], [0.5], [[1]], [2**70]):
        with pytest.raises(ValueError, match="the numbers of samples are whole numbers of at least 0"):
            generator.latents(wrong)  # type: ignore[arg-type]
