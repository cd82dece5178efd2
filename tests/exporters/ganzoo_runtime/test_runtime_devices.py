"""Where the runtime's inputs are read and its output stays."""

import json
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import onnxruntime as ort
import pytest
import torch
from built import CPU, IMAGE, build

from ganzoo_runtime import Generator, ModelError
from ganzoo_runtime.binding import Binding, Bound, Graphs, graph_options

# --- Where the output stays


def test_outputs_stay_on_the_device_on_request() -> None:
    generator = Generator(build(IMAGE), providers=CPU)
    z, y = generator.latents(5, seed=1), np.arange(5)
    value = generator.on_device(z, y)
    assert isinstance(value, ort.OrtValue)
    np.testing.assert_array_equal(value.numpy(), generator(z, y))
    np.testing.assert_array_equal(torch.from_dlpack(value).numpy(), generator(z, y))
    np.testing.assert_array_equal(generator(torch.from_numpy(z), torch.arange(5)), generator(z, y))
    np.testing.assert_array_equal(generator(ort.OrtValue.ortvalue_from_numpy(z), y), generator(z, y))
    with pytest.raises(ValueError, match="input 'z' has the shape"):
        generator.on_device(z[:, :2], y)


class Elsewhere:
    """An array whose memory is on a device that is not the CPU, as far as it says itself."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.dtype = array, array.dtype

    def __dlpack_device__(self) -> tuple[int, int]:
        return (2, 0)

    def __dlpack__(self, **_: Any) -> Any:
        return self.array.__dlpack__()


def test_inputs_on_a_device_are_read_where_they_are() -> None:
    generator = Generator(build(IMAGE), providers=CPU)
    z, y = generator.latents(5, seed=1), np.arange(5)
    np.testing.assert_array_equal(generator(Elsewhere(z), y), generator(z, y))
    with pytest.raises(ValueError, match=r"input 'z' is float32, not tensor\(double\)"):
        generator(Elsewhere(z.astype(np.float64)), y)
    with pytest.raises(ValueError, match="input 'z' has the shape"):
        generator(Elsewhere(z[0]), y)
    with pytest.raises(ValueError, match=r"one batch size, not \[4, 5\]"):
        generator(Elsewhere(z), y[:4])


def test_an_array_with_strides_is_refused() -> None:
    generator = Generator(build(IMAGE), providers=CPU)
    z = generator.latents(5, seed=1)
    with pytest.raises(ValueError, match="input 'z' cannot be read where it is: make it contiguous first"):
        generator.on_device(Elsewhere(z[:, ::-1]), np.arange(5))


def test_outputs_on_a_device_stay_as_they_are() -> None:
    generator = Generator(build(IMAGE), providers=CPU)
    given = [(generator.latents(n, seed=n), np.arange(n) % 5) for n in (3, 5, 3, 1, 5)]
    expected = [generator(*arrays) for arrays in given]
    held = [generator.on_device(*arrays) for arrays in given]
    assert len({value.data_ptr() for value in held}) == len(held)
    tensors = [torch.from_dlpack(value) for value in held]
    del generator, held
    for tensor, samples in zip(tensors, expected, strict=True):
        np.testing.assert_array_equal(tensor.numpy(), samples)


def test_a_thread_makes_one_binding_and_keeps_no_arrays() -> None:
    generator = Generator(build(IMAGE), providers=CPU)
    z, y = generator.latents(5, seed=1), np.arange(5)
    generator.on_device(z, y)
    first = generator._kept.binding
    gone = weakref.ref(z)
    del z
    assert gone() is None
    with pytest.raises(ModelError, match="cannot be run"):
        generator._run_bound({"z": np.zeros((5, 1), np.float32), "y": y})
    generator.on_device(generator.latents(2), y[:2])
    assert generator._kept.binding is first
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: generator.on_device(generator.latents(2), y[:2]).shape()).result() == [2, 1, 4, 4]
        assert pool.submit(lambda: generator._kept.binding).result() is not first


class Recorded:
    """A binding that notes what is called, in order."""

    def __init__(self, binding: Any, calls: list[str]) -> None:
        self.binding, self.calls = binding, calls

    def __getattr__(self, name: str) -> Any:
        if callable(value := getattr(self.binding, name)):
            self.calls.append(name)
        return value


def test_a_run_waits_for_whoever_makes_its_inputs() -> None:
    """onnxruntime's stream waits for no other: what a CPU cannot show is the order of the calls."""
    generator = Generator(build(IMAGE), providers=CPU)
    calls: list[str] = []
    session = SimpleNamespace(
        io_binding=lambda: Recorded(generator._session.io_binding(), calls),
        run_with_iobinding=lambda binding, options: (
            calls.append("run"),
            generator._session.run_with_iobinding(binding.binding, options),
        ),
    )
    z, y = ort.OrtValue.ortvalue_from_numpy(generator.latents(5)), np.arange(5)
    Binding(cast(Any, session), generator.output, ("cpu", 0)).run({"z": z, "y": y})
    assert calls.index("bind_ortvalue_input") < calls.index("synchronize_inputs") < calls.index("run")
    bound = Bound(cast(Any, session), {"z": z, "y": y}, (generator.output, [1, 4, 4], np.dtype(np.float32)), ("cpu", 0))
    calls.clear()
    value = bound.run({"z": z, "y": y})
    assert calls == ["synchronize_inputs", "synchronize_inputs", "run"]
    np.testing.assert_allclose(value.numpy(), generator(z, y), atol=1e-6)
    calls.clear()
    bound.run({"z": z.numpy(), "y": y})
    assert calls == ["run"]


def test_graphs_read_and_write_at_fixed_addresses() -> None:
    """The bookkeeping of CUDA graphs, with buffers of the CPU, where onnxruntime takes no notice of the numbers."""
    generator = Generator(build(IMAGE), providers=CPU)
    graphs = Graphs(generator._session, (generator.output, [1, 4, 4], np.dtype(np.float32)), ("cpu", 0), [2, 5])
    y = np.arange(5)
    places, given = set(), [generator.latents(5, seed) for seed in range(3)]
    for z in given:
        value = graphs.run({"z": z, "y": y})
        places.add(value.data_ptr())
        np.testing.assert_allclose(value.numpy(), generator(z, y), atol=1e-6)
    assert len(places) == 1
    for seed, z in enumerate(given):  # the buffers are not the caller's
        np.testing.assert_array_equal(z, generator.latents(5, seed))
    z = generator.latents(2)
    np.testing.assert_allclose(graphs.run({"z": z, "y": y[:2]}).numpy(), generator(z, y[:2]), atol=1e-6)
    numbers = [bound._options.get_run_config_entry("gpu_graph_id") for bound in graphs._bound.values()]
    assert numbers == ["1", "2"]
    assert graph_options(-1).get_run_config_entry("gpu_graph_id") == "-1"


def test_cuda_graphs_are_not_captured_on_other_devices() -> None:
    generator = Generator(build(IMAGE), providers=CPU, cuda_graphs=[4])
    assert generator._graphs is None
    assert generator.sample(9).shape == (9, 1, 4, 4)


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 4, 12)])
def test_images_of_other_sizes_where_the_signature_says_so(shape: tuple[int, int, int]) -> None:
    """A translator for any multiple of 4: the graph has symbolic heights and widths."""
    from onnx import TensorProto, helper

    field = {"kind": "image", "name": "x", "dtype": "float32", "shape": [1, 8, 8], "range": [-1, 1], "multiple": 4}
    document = {"schema": 1, "signature": {"inputs": [field], "output": field | {"name": "sample"}}}
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 1, "height", "width"])
        for name in ("x", "sample")
    ]
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["sample"])], "test", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, {"ganzoo": json.dumps(document)})
    generator = Generator(model.SerializeToString(), providers=CPU)
    images = np.ones((2, *shape), np.float32)
    np.testing.assert_array_equal(generator(images), -images)
    with pytest.raises(ValueError, match="input 'x' has the shape"):
        generator(np.ones((2, 1, 8, 6)))
    with pytest.raises(ValueError, match="input 'x' has the shape"):
        generator(np.ones((2, 3, 8, 8)))


# --- On a GPU


@pytest.fixture(scope="module")
def expected() -> Iterator[np.ndarray]:
    return Generator(build(IMAGE), providers=CPU).sample(100, seed=3)


@pytest.mark.gpu
def test_cuda_gives_what_the_cpu_gives(expected: np.ndarray) -> None:
    generator = Generator(build(IMAGE), providers=["cuda"])
    assert generator.provider == "CUDAExecutionProvider"
    np.testing.assert_allclose(generator.sample(100, seed=3), expected, atol=1e-5)


@pytest.mark.gpu
def test_cuda_graphs_give_what_the_cpu_gives(expected: np.ndarray) -> None:
    generator = Generator(build(IMAGE), providers=["cuda"], cuda_graphs=[32])
    for _ in range(3):  # 32, 32, 32 and 4, which is not captured
        np.testing.assert_allclose(generator.sample(100, seed=3), expected, atol=1e-5)


@pytest.mark.gpu
def test_the_gpus_memory_is_shared_with_torch(expected: np.ndarray) -> None:
    generator = Generator(build(IMAGE), providers=["cuda"])
    z = torch.from_numpy(generator.latents(100, 3)).cuda()
    y = (torch.arange(100) % 5).cuda()
    samples = torch.from_dlpack(generator.on_device(z, y))
    assert samples.is_cuda
    np.testing.assert_allclose(samples.cpu().numpy(), expected, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.parametrize("graphs", [[], [100]])
def test_inputs_that_are_still_computed_on_another_stream(expected: np.ndarray, graphs: list[int]) -> None:
    generator = Generator(build(IMAGE), providers=["cuda"], cuda_graphs=graphs)
    given, y = torch.from_numpy(generator.latents(100, 3)).cuda(), (torch.arange(100) % 5).cuda()
    busy = torch.randn(4096, 4096, device="cuda")
    torch.cuda.synchronize()
    for _ in range(5):
        with torch.cuda.stream(torch.cuda.Stream()):
            z = torch.full_like(given, 1e3)
            for _ in range(20):  # milliseconds
                busy = (busy @ busy).clamp(-1, 1)
            z.copy_(given)
            samples = torch.from_dlpack(generator.on_device(z, y))
            np.testing.assert_allclose(samples.cpu().numpy(), expected, atol=1e-5)
