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


class Mirrored(TensorDataset):
    """Has its base's tensors, but not its batches."""

    def batch(self, indices, rng):
        return {"x": -super().batch(indices, rng)["x"] * torch.rand(1, generator=rng)}


def test_rows_are_gathered_in_place_of_batches(monkeypatch):
    made = numbers(7)
    by_batch = [made.batch(Stream(made, 5, seed=3)._indices(k), torch.Generator())["x"] for k in range(9)]
    monkeypatch.setattr(TensorDataset, "batch", None)
    stream = Stream(made, 5, seed=3)
    assert all(torch.equal(next(stream)["x"], batch) for batch in by_batch)
    next(stream)["x"].zero_()
    assert made.rows["x"].count_nonzero() == 6


def test_a_data_set_that_changes_its_samples_has_no_rows():
    spec = DataSpec("numbers", (Points(1),), 7)
    changed = Mirrored(spec, {"x": torch.arange(7).float()[:, None] + 1})
    assert changed.rows is None
    assert Noisy(3).rows is None
    assert (next(Stream(changed, 7, seed=3))["x"] < 0).all()


class Link:
    """Stands in for the copies to a CUDA device: notes what was begun, and when it was waited for."""

    def __init__(self, device):
        self.log = made.append(self) or []

    def start(self, batch):
        self.log.append(("start", batch["x"][:, 0].tolist()))
        return batch

    def finish(self, started):
        self.log.append(("finish", started["x"][:, 0].tolist()))
        return started


made: list[Link] = []


@pytest.mark.parametrize("workers", [0, 2])
def test_the_next_batch_is_copied_while_one_is_used_and_is_not_counted(monkeypatch, workers):
    monkeypatch.setattr("ganzoo.data.stream.Copies", Link)
    plain = Stream(Noisy(12), 5, seed=3)
    expected = [next(plain)["x"] for _ in range(8)]
    stream = Stream(Noisy(12), 5, seed=3, workers=workers, device=torch.device("cuda"))
    log = made[-1].log
    for k in range(4):
        assert torch.equal(next(stream)["x"], expected[k])
        assert stream.position == k + 1
    rows = [batch[:, 0].tolist() for batch in expected]
    steps = [("start", rows[0])]
    for k in range(4):
        steps += [("start", rows[k + 1]), ("finish", rows[k])]
    assert log == steps
    # Entered where it was left, as from a checkpoint, it gives the batch that had been copied and not used.
    entered = Stream(Noisy(12), 5, seed=3, position=stream.position, device=torch.device("cuda"))
    assert torch.equal(next(entered)["x"], expected[4])
    if not workers:
        stream.position = 1
        assert torch.equal(next(stream)["x"], expected[1])


def test_what_lies_on_the_device_is_not_copied(monkeypatch):
    monkeypatch.setattr("ganzoo.data.stream.Copies", None)
    monkeypatch.setattr("ganzoo.data.stream.placed", lambda rows, device: rows)
    stream = Stream(numbers(4), 4, seed=0, device=torch.device("cuda"))
    assert torch.equal(next(stream)["x"], next(Stream(numbers(4), 4, seed=0))["x"])


def test_rows_that_do_not_fit_are_copied_batch_by_batch(monkeypatch):
    monkeypatch.setattr("ganzoo.data.stream.Copies", Link)
    monkeypatch.setattr("ganzoo.data.placement.free_memory", lambda device: 10)
    stream = Stream(numbers(40), 4, seed=0, device=torch.device("cuda"))
    assert torch.equal(next(stream)["x"], next(Stream(numbers(40), 4, seed=0))["x"])
    assert len(made[-1].log) == 3


@pytest.mark.gpu
@pytest.mark.parametrize("there", [True, False])
def test_batches_on_a_gpu_equal_those_on_the_cpu(monkeypatch, there):
    if not there:
        monkeypatch.setattr("ganzoo.data.placement.fits", lambda bytes_, free: False)
    device = torch.device("cuda")
    images = torch.randint(0, 256, (500, 3, 64, 64), dtype=torch.uint8)
    spec = DataSpec("noise", (Image(3, 64, 64, range=(0, 255)),), 500)
    data = TensorDataset(spec, {"x": images})
    on, off = Stream(data, 128, seed=1, device=device), Stream(data, 128, seed=1)
    assert (on._rows is not None) is there
    busy = torch.randn(4096, 4096, device=device)
    for _ in range(50):
        batch = next(on)["x"]
        assert batch.device.type == "cuda"
        for _ in range(4):  # the device falls behind, so that memory used too early would show
            busy = busy @ busy * 1e-3
        kept = batch.float() + 0 * busy[0, 0].nan_to_num()
        del batch
        assert torch.equal(kept.cpu(), next(off)["x"].float())


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
    with pytest.raises(ValueError, match="has the fields"):
        TensorDataset(spec, {"y": torch.zeros(3, 2)})
    with pytest.raises(ValueError, match="its spec says"):
        TensorDataset(spec, {"x": torch.zeros(3, 1)})


def test_a_tensor_data_set_can_be_sent_to_another_process():
    again = pickle.loads(pickle.dumps(numbers(3)))
    assert torch.equal(again.batch(torch.tensor([2, 0]), torch.Generator())["x"], torch.tensor([[2.0], [0.0]]))
