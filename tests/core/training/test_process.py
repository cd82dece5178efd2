"""What training changes in its process, and takes back."""

import gc
import resource
import sys

import pytest
import torch

from ganzoo.training.process import fast_process


def denormals_are_zero() -> bool:
    return bool((torch.full((4,), 1e-39) * 1.0 == 0).all())


@pytest.mark.parametrize("before", [False, True])
def test_denormal_numbers_are_zero_inside_alone(before: bool) -> None:
    if not torch.set_flush_denormal(before):
        pytest.skip("this processor cannot")
    try:
        with fast_process():
            assert denormals_are_zero()
        assert denormals_are_zero() == before
        with pytest.raises(KeyError), fast_process():
            raise KeyError
        assert denormals_are_zero() == before
    finally:
        torch.set_flush_denormal(False)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_memory_is_kept_inside_and_given_back() -> None:
    def faults() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(20):
            torch.ones(2**21).add(1)  # two blocks of 8 MiB
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    gc.collect()
    with fast_process():
        faults()
        kept = faults()
        held = [torch.ones(2**20) for _ in range(64)]
        before = resident()
        del held
        assert resident() > before - 2**27
    assert kept < 4 * 4_096  # without: 4,096 pages for each of the 20 rounds
    assert resident() < before - 2**27


def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
