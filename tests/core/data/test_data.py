"""The stream of batches: the order, resuming, workers."""

import pickle
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ganzoo import Dataset, DataSpec, Image, Label, Points, Stream, TensorDataset, UserError


class Noisy(Dataset):
    """The index and a random number, fetched by workers; index 13 cannot be read."""

    in_memory = False

    def __init__(self, size: int) -> None:
        self.spec = DataSpec("noisy", (Points(2),), size)

    def batch(self, indices, rng):
        if (indices == 13).any():
            raise UserError("number 13 cannot be read")
        return {"x": torch.stack([indices.float(), torch.rand(len(indices), generator=rng)], dim=1)}


def numbers(size: int) -> TensorDataset:
    return TensorDataset(DataSpec("numbers", (Points(1),), size), {"x": torch.arange(size).float()[:, None]})


def drawn(stream: Stream, batches: int) -> list[list[int]]:
    return [next(stream)["x"][:, 0].int().tolist() for _ in range(batches)]


@given(size=st.integers(1, 30), batch=st.integers(1, 40), seed=st.integers(0, 2**63), epochs=st.integers(1, 3))
@settings(max_examples=50, deadline=None)
def test_every_sample_comes_once_an_epoch(size, batch, seed, epochs):
    count = -(-size * epochs // batch)
    order = [index for part in drawn(Stream(numbers(size), batch, seed), count) for index in part]
    assert len(order) == count * batch
    for epoch in range(epochs):
        assert sorted(order[epoch * size : (epoch + 1) * size]) == list(range(size))


@given(size=st.integers(1, 30), batch=st.integers(1, 40), seed=st.integers(0, 2**40), position=st.integers(0, 60))
@settings(max_examples=50, deadline=None)
def test_entering_anywhere_equals_reading_from_the_start(size, batch, seed, position):
    whole = Stream(numbers(size), batch, seed)
    drawn(whole, position)
    assert whole.position == position
    entered = Stream(numbers(size), batch, seed, position)
    assert drawn(entered, 4) == drawn(whole, 4)
    assert entered.position == whole.position == position + 4


def test_a_data_set_may_be_smaller_than_a_batch():
    (batch,) = drawn(Stream(numbers(3), 10, seed=0), 1)
    assert sorted(Counter(batch).values()) == [3, 3, 4]


def test_the_order_is_shuffled_anew_each_epoch_and_by_the_seed():
    first, second = drawn(Stream(numbers(100), 100, seed=0), 2)
    assert first != list(range(100))
    assert first != second
    assert drawn(Stream(numbers(100), 100, seed=1), 1) != [first]
    assert drawn(Stream(numbers(100), 100, seed=0), 1) == [first]


def test_fetching_does_not_move_the_stream():
    stream = Stream(numbers(10), 4, seed=0)
    later = stream.fetch(7)["x"]
    assert stream.position == 0
    assert drawn(stream, 8)[-1] == later[:, 0].int().tolist()


def test_augmentation_is_drawn_anew_for_each_batch():
    stream = Stream(Noisy(1), 1, seed=0)
    assert len({next(stream)["x"][0, 1].item() for _ in range(20)}) == 20


def test_workers_equal_no_workers_also_when_resumed():
    alone = Stream(Noisy(12), 5, seed=3)
    expected = [next(alone)["x"] for _ in range(9)]
    for start in (0, 4):
        helped = Stream(Noisy(12), 5, seed=3, position=start, workers=2)
        assert all(torch.equal(next(helped)["x"], batch) for batch in expected[start:])
        assert helped.position == 9


def test_workers_are_not_started_for_what_lies_in_memory(monkeypatch):
    monkeypatch.setattr("ganzoo.data.stream.DataLoader", None)
    assert drawn(Stream(numbers(4), 4, seed=0, workers=2), 1)


@pytest.mark.parametrize("workers", [0, 1])
def test_reading_does_not_move_the_global_generator(workers):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    stream = Stream(Noisy(12), 5, seed=3, workers=workers)
    next(stream)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_users_mistake_stays_one_sentence(workers):
    stream = Stream(Noisy(14), 14, seed=0, workers=workers)
    with pytest.raises(UserError, match=r"^number 13 cannot be read$"):
        next(stream)
    assert stream.position == 0


@pytest.mark.parametrize(("size", "batch"), [(0, 4), (4, 0), (4, -1)])
def test_nothing_to_draw_is_refused(size, batch):
    with pytest.raises(UserError, match="cannot draw"):
        Stream(numbers(size), batch, seed=0)


def test_the_spec_survives_json():
    spec = DataSpec("two", (Image(3, 4, 5, range=(0, 255)), Label(2, ("a", "b"))), 7, paired=False)
    assert DataSpec.from_json(spec.to_json()) == spec
    assert spec.sample.name == "x"
    assert spec["y"].names == ("a", "b")
    assert "y" in spec
    assert "z" not in spec
    with pytest.raises(KeyError):
        spec["z"]
    for damage in ({"size": "many"}, {"fields": 3}, {"fields": [{}]}, {"name": "a", "paired": 1, "fields": None}):
        with pytest.raises(UserError, match="not the description"):
            DataSpec.from_json(spec.to_json() | damage)
    with pytest.raises(UserError):
        DataSpec.from_json({})


def test_tensors_that_belie_the_spec_are_an_error():
    spec = DataSpec("one", (Points(2),), 3)
    with pytest.raises(ValueError, match="differ"):
        TensorDataset(spec, {"y": torch.zeros(3, 2)})
    with pytest.raises(ValueError, match="its spec says"):
        TensorDataset(spec, {"x": torch.zeros(3, 1)})


def test_a_tensor_data_set_can_be_sent_to_another_process():
    again = pickle.loads(pickle.dumps(numbers(3)))
    assert torch.equal(again.batch(torch.tensor([2, 0]), torch.Generator())["x"], torch.tensor([[2.0], [0.0]]))
