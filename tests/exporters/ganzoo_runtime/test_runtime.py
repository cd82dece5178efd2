"""The runtime on files made by hand, with onnx alone: what it reads, what it refuses, and what it draws."""

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from built import CPU, IMAGE, POINTS, build
from hypothesis import given, settings
from hypothesis import strategies as st

from ganzoo import Attributes, Image, Label, Latent, Mask, Points, Signature, UserError
from ganzoo_exporters.format import Onnx
from ganzoo_runtime import Generator, ModelError, pixels


@pytest.fixture(scope="module")
def image() -> Generator:
    return Generator(build(IMAGE), providers=CPU, threads=1)


@pytest.fixture(scope="module")
def points() -> Generator:
    return Generator(build(POINTS), providers=CPU, threads=1)


def test_attributes_tell_what_is_inside(image: Generator) -> None:
    assert image.inputs == ("z", "y")
    assert image.output == "::sample"
    assert image.metadata["schema"] == 1
    assert Signature.from_json(image.signature) == IMAGE
    assert image.provider == image.device == "CPUExecutionProvider"
    assert image.describe() == f"onnxruntime {ort.__version__} on CPUExecutionProvider"


def test_latents_follow_the_written_procedure(image: Generator, points: Generator) -> None:
    normal = np.random.Generator(np.random.Philox(7)).standard_normal((10, 3, 2), dtype=np.float32)
    uniform = np.random.Generator(np.random.Philox(7)).random((10, 4), dtype=np.float32) * 2 - 1
    np.testing.assert_array_equal(image.latents(10, 7), normal)
    np.testing.assert_array_equal(points.latents(10, 7), uniform)
    assert points.latents(10, 7).dtype == np.float32
    np.testing.assert_array_equal(image.latents(4, 7, "z"), normal[:4])


def test_latents_are_those_of_sampling_in_torch(image: Generator, points: Generator) -> None:
    from ganzoo.inference.sampling import draw_inputs

    for generator, signature in ((image, IMAGE), (points, POINTS)):
        drawn = draw_inputs(signature, 9, 3, truncation=0.7)
        np.testing.assert_array_equal(drawn[0].numpy(), generator.latents(9, 3) * np.float32(0.7))


def test_further_latents_have_streams_of_their_own() -> None:
    generator = Generator(build(Signature((Latent((4,)), Latent((2, 3), name="noise")), Points(2))), providers=CPU)
    noise = np.random.Generator(np.random.Philox(7).jumped(1)).standard_normal((10, 2, 3), dtype=np.float32)
    np.testing.assert_array_equal(generator.latents(10, 7, "noise"), noise)
    assert not np.array_equal(generator.latents(10, 7).ravel()[:6], noise.ravel()[:6])
    whole = generator.sample(10, seed=7)
    np.testing.assert_allclose(generator.sample(10, seed=7, batch=3), whole, atol=1e-6)
    np.testing.assert_allclose(generator(generator.latents(10, 7), noise), whole, atol=1e-6)
    with pytest.raises(ValueError, match="no latent 'w'; there is: noise, z"):
        generator.latents(1, 0, "w")


@settings(deadline=None, max_examples=30)
@given(n=st.integers(1, 40), batch=st.integers(1, 50), seed=st.integers(0, 2**64), truncation=st.floats(0, 2))
def test_the_micro_batch_changes_nothing(
    image: Generator, points: Generator, n: int, batch: int, seed: int, truncation: float
) -> None:
    for generator in (image, points):
        whole = generator.sample(n, seed=seed, truncation=truncation)
        parts = generator.sample(n, seed=seed, truncation=truncation, batch=batch)
        assert whole.dtype == parts.dtype == np.float32
        np.testing.assert_allclose(whole, parts, atol=1e-6, rtol=0)


def test_sample_is_the_network_of_its_latents(image: Generator) -> None:
    z, y = image.latents(11, 5), np.arange(11) % 5
    samples = image.sample(11, seed=5)
    assert samples.shape == (11, 1, 4, 4)
    np.testing.assert_allclose(samples, image(z, y), atol=1e-6)
    np.testing.assert_allclose(image.sample(11, seed=5, truncation=0.5), image(z * 0.5, y), atol=1e-6)
    assert not np.allclose(samples, image.sample(11, seed=6))


def test_labels(image: Generator) -> None:
    z = image.latents(4, 0)
    np.testing.assert_allclose(image.sample(4, label=3), image(z, [3, 3, 3, 3]), atol=1e-6)
    np.testing.assert_allclose(image.sample(4, label=np.int32(3)), image(z, [3, 3, 3, 3]), atol=1e-6)
    np.testing.assert_allclose(image.sample(4, label=[4, 0, 1, 1], batch=3), image(z, [4, 0, 1, 1]), atol=1e-6)
    np.testing.assert_allclose(image.sample(4, batch=3), image(z, [0, 1, 2, 3]), atol=1e-6)
    np.testing.assert_allclose(image.sample(7, batch=3)[5:], image(image.latents(7)[5:], [0, 1]), atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0}, "the number of samples is a whole number of at least 1, not 0"),
        ({"n": -3}, "the number of samples"),
        ({"n": 2, "batch": 0}, "the batch size"),
        ({"n": 2, "seed": -1}, "the seed is a whole number of at least 0, not -1"),
        ({"n": 2, "label": 5}, r"there is no class 5: the label 'y' has the classes 0 \.\. 4"),
        ({"n": 2, "label": -1}, "there is no class -1"),
        ({"n": 2, "label": [0, 9]}, "there is no class 9"),
        ({"n": 2, "label": [0, 1, 2]}, "one for each of the 2 samples"),
        ({"n": 2, "label": 1.5}, "the label 'y' is one class, by its index"),
        ({"n": 2, "label": True}, "the label 'y' is one class, by its index"),
        ({"n": 2, "seed": "1"}, "the seed is a whole number of at least 0, not '1'"),
        ({"n": 2, "truncation": -1.0}, "the truncation is a finite number of at least 0, not -1"),
        ({"n": 2, "truncation": float("nan")}, "the truncation"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_drawn(
    image: Generator, arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        image.stream(**arguments)
    with pytest.raises(ValueError, match=message):
        image.sample(**arguments)


def test_a_label_for_a_model_without_classes(points: Generator) -> None:
    with pytest.raises(ValueError, match="this model has no labels; leave the label out"):
        points.sample(1, label=0)


def test_a_model_of_images_is_called_not_sampled() -> None:
    generator = Generator(build(Signature((Image(1, 2, 2), Attributes(3)), Image(1, 2, 2))), providers=CPU)
    with pytest.raises(ValueError, match="it takes image 'x'; call it with arrays"):
        generator.sample(3)
    assert generator(np.zeros((3, 1, 2, 2)), np.zeros((3, 3))).shape == (3, 1, 2, 2)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ([np.zeros((2, 3, 2))], "takes the inputs z, y; 1 were given"),
        ([np.zeros((2, 3)), [0, 1]], r"input 'z' has the shape \['N', 3, 2\], not \[2, 3\]"),
        ([np.zeros((0, 3, 2)), []], "input 'z' has the shape"),
        ([np.zeros((2, 3, 2)), 1], "input 'y' has the shape"),
        ([np.zeros((2, 3, 2)), [0.0, 1.0]], "input 'y' is int64, not float64"),
        ([np.zeros((2, 3, 2), complex), [0, 1]], "input 'z' is float32, not complex128"),
        ([np.zeros((2, 3, 2)), [0, 1, 2]], r"one batch size, not \[2, 3\]"),
        ([np.zeros((2, 3, 2)), [0, -1]], "there is no class -1"),  # Gather would count from the end
        ([np.zeros((2, 3, 2)), [0, 5]], "there is no class 5"),
    ],
)
def test_calls_with_wrong_arrays(image: Generator, arrays: list[object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        image(*arrays)


def test_the_stream_is_lazy_and_its_pieces_are_the_sample(image: Generator) -> None:
    pieces = list(image.stream(10, seed=2, batch=4))
    assert [len(piece.samples) for piece in pieces] == [4, 4, 2]
    np.testing.assert_allclose(np.concatenate([piece.samples for piece in pieces]), image.sample(10, seed=2), atol=1e-6)
    endless = image.stream(10**15, seed=2, batch=4)
    np.testing.assert_array_equal(next(endless).samples, pieces[0].samples)
    np.testing.assert_array_equal(pieces[1].inputs["z"], image.latents(10, 2)[4:8])
    np.testing.assert_array_equal(pieces[2].inputs["y"], [3, 4])


def test_small_requests_from_noise_alone_are_what_large_ones_begin_with(points: Generator) -> None:
    expected = {(n, seed): points(points.latents(n, seed)) for n in (1, 3, 50) for seed in (0, 1, 2**70)}
    found = {asked: points.sample(asked[0], seed=asked[1]) for asked in reversed([*expected, *expected])}
    for asked, samples in expected.items():  # none of them was overwritten by a later one
        np.testing.assert_array_equal(found[asked], samples)
    for seed in (-1, "1"):
        with pytest.raises(ValueError, match="the seed is a whole number of at least 0"):
            points.sample(1, seed=seed)  # type: ignore[arg-type]


@pytest.mark.parametrize("batch", [None, 7])
def test_threads_share_a_generator(image: Generator, points: Generator, batch: int | None) -> None:
    for generator in (image, points):
        requests = [(1 + seed % 3 * 25, seed) for seed in range(40)]
        alone = [generator.sample(n, seed=seed, batch=batch) for n, seed in requests]
        with ThreadPoolExecutor(4) as pool:
            together = [pool.submit(generator.sample, n, seed=seed, batch=batch).result for n, seed in requests]
        for one, other in zip(alone, together, strict=True):
            np.testing.assert_array_equal(one, other())


def test_pixels_round_half_up_and_clip() -> None:
    values = np.array([-2.0, -1.0, 0.0, 1.0, 3.0, -1 + 1 / 255, np.nan, -np.inf], np.float32).reshape(1, 2, 2, 2)
    expected = np.array([0, 0, 128, 255, 255, 1, 0, 0], np.uint8).reshape(1, 2, 2, 2).transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(pixels(values, (-1, 1)), expected)
    assert pixels(values, [-1, 1]).flags.c_contiguous
    every = np.arange(256, dtype=np.float32).reshape(1, 1, 16, 16)
    np.testing.assert_array_equal(pixels(every / 255, (0, 1)).ravel(), np.arange(256))
    with pytest.raises(ValueError, match=r"\[N, C, H, W\], not \[4, 4\]"):
        pixels(np.zeros((4, 4)), (0, 1))


names = st.text("abcxyzä/ .-_0", min_size=1, max_size=8)
sizes = st.integers(1, 4)
inputs = st.one_of(
    st.builds(
        Latent,
        st.lists(sizes, min_size=1, max_size=3).map(tuple),
        st.sampled_from(["normal", "uniform"]),
        names,
    ),
    st.builds(lambda n, name: Label(n, tuple(f"Klasse ä{i}" for i in range(n)), name), sizes, names),
    st.builds(
        lambda n, rows, name: Attributes(n, (), tuple((0.5 * row,) * n for row in range(rows)), name),
        sizes,
        st.integers(0, 3),
        names,
    ),
    st.builds(lambda c, h, w, name: Image(c, h, w, (0.0, 1.0), name), sizes, sizes, sizes, names),
    st.builds(Mask, sizes, sizes, names),
)
signatures = st.builds(
    lambda fields, output: Signature(tuple(fields), output),
    st.lists(inputs, min_size=1, max_size=3, unique_by=lambda field: field.name),
    st.one_of(st.builds(Points, sizes), st.builds(Image, sizes, sizes, sizes)),
)


@settings(deadline=None, max_examples=60)
@given(signatures)
def test_every_signature_goes_around(signature: Signature) -> None:
    generator = Generator(build(signature), providers=CPU, threads=1)
    assert Signature.from_json(generator.signature) == signature
    assert generator.inputs == tuple(field.name for field in signature.inputs)
    kinds = {field.kind for field in signature.inputs}
    if kinds <= {"latent", "label", "attributes", "mask"}:
        assert generator.sample(3, batch=2).shape == (3, *signature.output.shape)
    else:
        with pytest.raises(ValueError, match="call it with arrays"):
            generator.sample(3)


# --- What is refused


WHOLE = build(POINTS)


@settings(deadline=None, max_examples=100)
@given(st.integers(0, len(WHOLE) - 1))
def test_every_truncated_file_is_refused(length: int) -> None:
    with pytest.raises(ModelError, match=r"cut short|no ganzoo metadata"):
        Generator(WHOLE[:length])


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=200))
def test_garbage_is_refused(content: bytes) -> None:
    with pytest.raises(ModelError, match=r"the model (is not an ONNX file|has no ganzoo|keeps weights)"):
        Generator(content)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, max_examples=100)
@given(json_values, st.sampled_from(["schema", "signature", "inputs", "output", "shape", "kind", "name", "dtype"]))
def test_wrong_metadata_is_refused(value: object, place: str) -> None:
    document = {"schema": 1, "signature": POINTS.to_json()}
    for part in (document, document["signature"], document["signature"]["inputs"][0]):
        if place in part:
            was, part[place] = part[place], value
            break
    same = place in ("schema", "kind", "output") or was == value  # what is unknown but harmless is let through
    with suppress(ModelError) if same else pytest.raises(ModelError, match=r"^the model (has|is|cannot) "):
        Generator(build(POINTS, json.dumps(document)), providers=CPU)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("{", "has ganzoo metadata that cannot be read"),
        ("[1]", "has ganzoo metadata that cannot be read"),
        ('"x"', "has ganzoo metadata that cannot be read"),
        ("{}", "has ganzoo metadata that cannot be read"),
        ("[" * 100_000, "has ganzoo metadata that cannot be read"),
        ('{"schema": 2}', "is of schema 2, this runtime reads 1: update ganzoo"),
        (json.dumps({"schema": 1, "signature": IMAGE.to_json()}), "is inconsistent"),
        (json.dumps({"schema": 1, "signature": {"inputs": [], "output": {}}}), "cannot be read"),
    ],
)
def test_the_sentence_for_wrong_metadata(document: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        Generator(build(POINTS, document), providers=CPU)


def test_a_huge_number_in_the_range_of_an_image() -> None:
    signature = IMAGE.to_json()
    signature["output"]["range"] = [0, 10**400]
    with pytest.raises(ModelError, match="cannot be read"):
        Generator(build(IMAGE, json.dumps({"schema": 1, "signature": signature})), providers=CPU)


@pytest.mark.parametrize(
    "wrong", [{"examples": [[0.0]]}, {"examples": [["x", "y"]]}, {"examples": [[1e39, 0]]}, {"names": ["one"]}]
)
def test_attributes_with_wrong_examples_or_names(wrong: dict[str, object]) -> None:
    known = Signature((Latent((3,)), Attributes(2)), Points(2))
    signature = known.to_json()
    signature["inputs"][1] |= wrong
    with pytest.raises(ModelError, match="cannot be read"):
        Generator(build(known, json.dumps({"schema": 1, "signature": signature})), providers=CPU)


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    cases = {
        "empty.onnx": (b"", "empty.onnx is not an ONNX file, or it is cut short"),
        "text.onnx": (b"hello world\n" * 20, "text.onnx is not an ONNX file, or it is cut short"),
        "cut.onnx": (WHOLE[: len(WHOLE) // 2], "cut.onnx is not an ONNX file, or it is cut short"),
        "foreign.onnx": (build(POINTS, key="theirs"), "foreign.onnx has no ganzoo metadata: it was not exported"),
    }
    for name, (content, message) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ModelError) as caught:
            Generator(tmp_path / name)
        assert str(caught.value).startswith(message)
        with pytest.raises(UserError) as translated:
            Onnx().load(tmp_path / name)
        assert str(translated.value) == str(caught.value)
    for path, message in ((tmp_path / "missing.onnx", "No such file"), (tmp_path, "cannot be read")):
        with pytest.raises(ModelError, match=message):
            Generator(str(path))
        with pytest.raises(UserError, match=message):
            Onnx().load(path)


def test_a_file_above_the_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.onnx"
    with path.open("wb") as file:
        file.truncate(2**31 + 1)  # sparse
    with pytest.raises(ModelError, match=r"large\.onnx has 2147483649 bytes, more than the limit of 2147483648"):
        Generator(path)
    with pytest.raises(ModelError, match="more than the limit of 10"):
        Generator(WHOLE, limit=10)


def test_weights_in_another_file_are_read_from_its_own_folder_alone(tmp_path: Path) -> None:
    model = onnx.load_from_string(WHOLE)
    onnx.save(model, tmp_path / "two.onnx", save_as_external_data=True, location="data.bin", size_threshold=60)
    with pytest.raises(ModelError, match="the model keeps weights in another file"):
        Generator((tmp_path / "two.onnx").read_bytes())
    expected = Generator(WHOLE, providers=CPU).sample(5)
    np.testing.assert_array_equal(Generator(tmp_path / "two.onnx", providers=CPU).sample(5), expected)
    (tmp_path / "data.bin").rename(tmp_path / "other.bin")
    with pytest.raises(ModelError, match=r"two\.onnx keeps weights in 'data\.bin', which is not beside it"):
        Generator(tmp_path / "two.onnx")


def test_a_broken_graph_is_one_sentence() -> None:
    model = onnx.load_from_string(WHOLE)
    model.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(ModelError, match=r"the model cannot be opened: .*NoSuchOperator") as caught:
        Generator(model.SerializeToString())
    assert "\n" not in str(caught.value)
    fixed = Generator(build(POINTS, batch=2), providers=CPU)
    with pytest.raises(ModelError, match="the model cannot be run: ") as caught:
        fixed.sample(3)
    assert "\n" not in str(caught.value)
