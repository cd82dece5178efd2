"""The loop runs phases as they say, and comes back from a checkpoint exactly."""

import copy

import pytest
import torch
from torch import nn

from ganzoo import Generator, Image, Label, Latent, Points, Signature, UserError, load_config, load_registry
from ganzoo.config.train_settings import TrainSettings
from ganzoo.data.dataset import DataSpec, TensorDataset
from ganzoo.gan.optimizers import OptimizerConfig
from ganzoo.gan.trainer import Phase, Trainer, TrainerConfig
from ganzoo.training.devices import resolve_device
from ganzoo.training.loop import Loop


class Game(Trainer):
    """Two linear networks, and whatever phases a test wants."""

    def __init__(self, data, plan=None):
        super().__init__(TrainerConfig(), data, None, {})
        self.generator = Line(2, data.sample)
        self.other = nn.Linear(2, 1)
        self.networks = {"generator": self.generator, "other": self.other}
        adam = OptimizerConfig(lr=0.01)
        self.optimizers = {name: adam.build(network.parameters()) for name, network in self.networks.items()}
        self.plan = plan or [{"name": "other"}, {"name": "generator"}]
        self.seen = []

    def phases(self):
        return [Phase(loss=self.loss_of(each["name"]), updates=(each["name"],), **each) for each in self.plan]

    def loss_of(self, name):
        def loss(batch):
            self.seen.append((name, batch["x"]))
            self.trainable = {
                key: all(parameter.requires_grad for parameter in network.parameters())
                for key, network in self.networks.items()
            }
            assert self.trainable == {key: key == name for key in self.networks}
            return {"loss": self.other(self.generator(torch.randn_like(batch["x"]))).square().mean()}

        return loss


class Line(Generator):
    def __init__(self, dim, sample):
        super().__init__(Signature((Latent((dim,)),), sample))
        self.layer = nn.Linear(dim, 2)

    def forward(self, z):
        return self.layer(z)


@pytest.fixture
def dataset():
    points = torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
    return TensorDataset(DataSpec("points", (Points(2),), 100), {"x": points})


def loop_of(dataset, plan=None, seed=0, **settings):
    torch.manual_seed(seed)
    return Loop(
        Game(dataset.spec, plan),
        dataset,
        TrainSettings(batch_size=10, steps=100, seed=seed, **settings),
    )


def weights(loop):
    return {
        f"{name}.{key}": value.clone()
        for name, network in loop.trainer.networks.items()
        for key, value in network.state_dict().items()
    }


def test_repeat_and_every_take_effect_each_on_fresh_batches(dataset):
    loop = loop_of(dataset, [{"name": "other", "repeat": 3}, {"name": "generator", "every": 2}])
    for _ in range(4):
        loop.advance()
    names = [name for name, _ in loop.trainer.seen]
    assert names == ["other"] * 3 + ["generator"] + ["other"] * 6 + ["generator"] + ["other"] * 3
    rows = torch.cat([batch for _, batch in loop.trainer.seen[:10]])
    assert len(rows.unique(dim=0)) == 100, "ten batches of ten are the whole epoch"


def test_a_phase_changes_only_what_it_updates(dataset):
    loop = loop_of(dataset, [{"name": "other"}])
    before = weights(loop)
    loop.advance()
    changed = {name.split(".")[0] for name, value in weights(loop).items() if not torch.equal(value, before[name])}
    assert changed == {"other"}


def test_accumulation_equals_one_large_batch(dataset):
    class Plain(Game):
        def loss_of(self, name):
            return lambda batch: {"loss": self.other(self.generator(batch["x"])).square().mean()}

    results = []
    for size, parts in ((20, 1), (5, 4)):
        torch.manual_seed(0)
        loop = Loop(Plain(dataset.spec), dataset, TrainSettings(batch_size=size, accumulate=parts, steps=10))
        loop.advance()
        results.append(weights(loop))
    for name, value in results[0].items():
        torch.testing.assert_close(value, results[1][name])


def test_gradients_are_clipped(dataset):
    norms = []
    loop = loop_of(dataset, clip_grad=1e-3)
    optimizer = loop.trainer.optimizers["other"]

    def note(*args):
        norms.append(torch.cat([p.grad.flatten() for p in loop.trainer.other.parameters()]).norm().item())

    optimizer.register_step_pre_hook(note)
    loop.advance()
    assert norms[0] <= 1e-3 * 1.001


def test_the_average_follows_with_the_stated_decay(dataset):
    loop = loop_of(dataset, ema=0.5)
    for _ in range(30):
        before, average = weights(loop), copy.deepcopy(loop.ema["generator"].state_dict())
        loop.advance()
        decay = min(0.5, (1 + loop.step) / (10 + loop.step))
        for key, value in loop.ema["generator"].state_dict().items():
            now = weights(loop)[f"generator.{key}"]
            torch.testing.assert_close(value, decay * average[key] + (1 - decay) * now)
    assert before
    assert loop.exports()["generator"] is loop.ema["generator"]


@pytest.mark.parametrize("rampup", [None, 0.5])
def test_an_average_by_half_life_forgets_half_of_itself_in_so_many_images(dataset, rampup):
    ema = {"halflife": 60.0} | ({} if rampup is None else {"rampup": rampup})
    loop = loop_of(dataset, ema=ema, accumulate=2)
    held = 1.0  # of the first average
    for step in range(20):
        before = copy.deepcopy(loop.ema["generator"].state_dict())
        loop.advance()
        # As the authors write it, with the images before this step.
        nimg = 60.0 if rampup is None else min(60.0, 20 * step * rampup)
        beta = 0.5 ** (20 / max(nimg, 1e-8))
        held *= beta
        for key, value in loop.ema["generator"].state_dict().items():
            now = weights(loop)[f"generator.{key}"]
            torch.testing.assert_close(value, beta * before[key] + (1 - beta) * now)
        if rampup is None and step == 2:
            assert held == pytest.approx(0.5)
    assert rampup is None or held == 0  # at the start there is nothing to remember


@pytest.mark.parametrize(("schedule", "half"), [("constant", 1.0), ("linear", 0.5), ("cosine", 0.5)])
def test_the_learning_rate_follows_its_schedule(dataset, schedule, half):
    loop = loop_of(dataset, lr_schedule=schedule)
    loop.step = 50
    loop.advance()
    assert loop.trainer.optimizers["other"].param_groups[0]["lr"] == pytest.approx(0.01 * half)


def test_the_learning_rate_warms_up(dataset):
    loop = loop_of(dataset, lr_warmup=10)
    rates = []
    for _ in range(12):
        loop.advance()
        rates.append(loop.trainer.optimizers["other"].param_groups[0]["lr"])
    assert rates == pytest.approx([0.01 * min(1, (step + 1) / 10) for step in range(12)])


def test_a_phase_needs_an_optimizer_that_exists(dataset):
    with pytest.raises(ValueError, match="does not exist"):
        loop_of(dataset, [{"name": "other", "optimizer": "nobody"}])
    with pytest.raises(ValueError, match="does not hold all"):
        loop_of(dataset, [{"name": "other", "optimizer": "generator"}])


@pytest.mark.parametrize("name", ["gan_fc", "wgan_gp_conv"])
def test_resume_is_bit_for_bit(tmp_path, name):
    config = load_config(
        load_registry(), name, sets=["batch_size=8", "lr_schedule=linear", "steps=50", "data.name=digits", "seed=3"]
    )
    dataset = config.build_dataset()

    def start():
        torch.manual_seed(config.train.seed)
        trainer = config.build_trainer(dataset.spec)
        trainer.to(torch.device("cpu"))
        return Loop(trainer, dataset, config.train)

    straight = start()
    for _ in range(7):
        straight.advance()
    stopped = start()
    for _ in range(4):
        stopped.advance()
    path = stopped.save(tmp_path)
    torch.manual_seed(12345)
    resumed = start()
    torch.randn(17)
    resumed.restore(path)
    for _ in range(3):
        resumed.advance()
    assert resumed.step == straight.step == 7
    for key, value in weights(straight).items():
        assert torch.equal(value, weights(resumed)[key]), key
    for key, value in straight.ema["generator"].state_dict().items():
        assert torch.equal(value, resumed.ema["generator"].state_dict()[key]), key
    for key, optimizer in straight.trainer.optimizers.items():
        ours, theirs = optimizer.state_dict(), resumed.trainer.optimizers[key].state_dict()
        assert ours["param_groups"] == theirs["param_groups"]
        for index, state in ours["state"].items():
            for slot, value in state.items():
                assert torch.equal(value, theirs["state"][index][slot]), (key, index, slot)


def test_trainer_state_is_kept(tmp_path, dataset):
    class Balanced(Game):
        k = 0.0

        def state_dict(self):
            return {"k": self.k, "pool": [torch.arange(3)]}

        def load_state_dict(self, state):
            self.k, self.pool = state["k"], state["pool"]

    torch.manual_seed(0)
    loop = Loop(Balanced(dataset.spec), dataset, TrainSettings(batch_size=10, steps=10))
    loop.trainer.k = 0.25
    path = loop.save(tmp_path)
    other = Loop(Balanced(dataset.spec), dataset, TrainSettings(batch_size=10, steps=10))
    other.restore(path)
    assert other.trainer.k == 0.25
    assert torch.equal(other.trainer.pool[0], torch.arange(3))


def test_images_are_scaled_to_the_trainers_range():
    spec = DataSpec("images", (Image(1, 2, 2, range=(0, 255)), Label(3)), 4)
    trainer = Game(spec)
    pixels = torch.tensor([0, 255, 51, 102], dtype=torch.uint8).reshape(1, 1, 2, 2)
    batch = trainer.prepare({"x": pixels, "y": torch.tensor([2])})
    torch.testing.assert_close(batch["x"].flatten(), torch.tensor([-1.0, 1.0, -0.6, -0.2]))
    assert batch["y"].tolist() == [2]
    assert trainer.scaled(spec.sample).range == (-1.0, 1.0)


def test_a_device_that_is_not_there_is_the_callers_mistake():
    assert resolve_device("cpu") == torch.device("cpu")
    for name in ("cuda:99", "nonsense", "meta"):
        with pytest.raises(UserError):
            resolve_device(name)
