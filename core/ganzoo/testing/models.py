"""Checks of models: settings, networks that match their signatures, and phases that do what they declare."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import tomli_w
import torch
from torch import Tensor, nn

from ganzoo.config.resolving import load_config
from ganzoo.fields import Scores
from ganzoo.gan.networks import Network
from ganzoo.plugin.registry import Entry, Registry
from ganzoo.testing import persistence
from ganzoo.testing.bench import STEPS, Bench, Probe, draw
from ganzoo.testing.devices import buffers, devices
from ganzoo.testing.networks import honest, logits, signature, sizes
from ganzoo.testing.results import Check, Fault, Skip
from ganzoo.training.capture import Tapes
from ganzoo.training.loop import Loop

__all__ = ["build", "checks", "gradients", "learning", "ownership"]

SEEDS = 3
"""How many seeds a weight may need to be seen changing."""

ROUNDING = 1e-5
"""What is left of numbers around 1 that cancel each other out."""


def checks(registry: Registry, entry: Entry, sets: Sequence[str]) -> Iterator[Check]:
    """Yield the checks of a model."""
    bench = Bench(registry, entry, sets)
    yield Check("config", lambda: config(bench), vital=True)
    yield Check("build", lambda: build(bench), vital=True)
    yield Check("presets", lambda: presets(bench))
    yield Check("signature", lambda: signature(bench))
    yield Check("logits", lambda: logits(bench))
    yield Check("sizes", lambda: sizes(bench))
    yield Check("training", lambda: training(bench), vital=True)
    yield Check("gradients", lambda: gradients(bench))
    yield Check("learning", lambda: learning(bench))
    yield Check("ownership", lambda: ownership(bench))
    yield Check("steps", lambda: steps(bench))
    yield Check("n_critic", lambda: n_critic(bench))
    yield Check("intervals", lambda: intervals(bench))
    yield Check("buffers", lambda: buffers(bench))
    yield Check("devices", lambda: devices(bench))
    yield Check("capture", lambda: capture(bench))
    yield from persistence.checks(bench)


def config(bench: Bench) -> None:
    """The defaults are valid, and the config that a run writes reads back as the same config."""
    _round_trip(bench, None)


def _round_trip(bench: Bench, preset: str | None) -> None:
    made = bench.configure(preset)
    with TemporaryDirectory(prefix="ganzoo-check-") as folder:
        path = Path(folder) / "config.toml"
        path.write_text(tomli_w.dumps(made.to_dict()), encoding="utf-8")
        read = load_config(bench.registry, file=path)
    if read != made:
        of = f" of the preset {preset!r}" if preset else ""
        names = [name for name, value in vars(made).items() if getattr(read, name) != value]
        raise Fault(f"the config{of}, written as TOML and read back, is not the same in: {', '.join(names)}")


def build(bench: Bench) -> str:
    """It can be made for its data, its phases name networks that exist, and an optimizer holds what they update."""
    loop = bench.loop()
    networks = loop.trainer.networks
    updated = {owner for phase in loop.phases for owner in phase.updates}
    for owner in networks.keys() - updated:
        for name, _ in _trainable(owner, networks[owner]):
            raise Fault(f"{name} is updated by no phase; set requires_grad=False if that is meant")
    exports = loop.exports()
    if not exports:
        raise Fault("it exports nothing: exports() names what can be sampled")
    for name, exported in exports.items():
        if not isinstance(exported, Network):
            raise Fault(f"what it exports as {name!r} is a {type(exported).__name__}, not a ganzoo.Network")
    return bench.stand_in


def presets(bench: Bench) -> None:
    """Every preset is valid, is unchanged by the same round trip, and builds networks that match their signatures."""
    named = bench.entry.spec.load().presets
    if not named:
        raise Skip("it has no presets")
    for name in named:
        _round_trip(bench, name)
        for network, exported in bench.loop(bench.configure(name)).exports().items():
            # Presets are the large ones: a batch of 64 would take gigabytes, and minutes.
            honest(f"{network} of the preset {name!r}", exported.eval(), (1, 3))


def _trainable(owner: str, network: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            yield f"{owner}.{name}", parameter


def training(bench: Bench) -> None:
    """It trains for a few steps, and every loss and gradient is finite."""
    if "gradients" in bench.probe.faults:
        raise Fault(bench.probe.faults["gradients"])
    for key, value in bench.probe.loop.take_logs().items():
        if key.endswith("/loss") and not torch.tensor(value).isfinite():
            raise Fault(f"{key} is {value} within the first {bench.probe.loop.step} steps")


def gradients(bench: Bench) -> None:
    """Every trainable weight gets a gradient in some phase that updates its network."""
    probe = bench.probe
    dead = [name for name in probe.weights if name not in probe.reached]
    if dead:
        more = f" and {len(dead) - 1} more" if len(dead) > 1 else ""
        raise Fault(f"{dead[0]}{more} gets no gradient in {probe.loop.step - bench.start} steps, whatever the phase")


def learning(bench: Bench) -> None:
    """Ten steps change every trainable weight, if not with the first seed then with another.

    What hangs behind a ReLU that is dead from the start stays with one seed. With every seed may stay what shifts all
    scores alike, a last bias, while the loss sees nothing but their differences: Wasserstein's always, hinge's as long
    as all scores are within the margin.
    """
    still: list[str] = []
    for attempt in range(SEEDS):
        found = _still(bench.loop(bench.configure(seed=bench.config.train.seed + attempt)))
        still = [name for name in found if attempt == 0 or name in still]
        if not still:
            return
    more = f" and {len(still) - 1} more" if len(still) > 1 else ""
    raise Fault(f"{still[0]}{more} is after ten steps what it was at first")


def _still(loop: Loop) -> list[str]:
    """Return the weights that ten steps leave as they were, and that have no excuse."""
    weights: dict[str, tuple[nn.Module, nn.Parameter]] = {}
    for owner, network in loop.trainer.networks.items():
        weights |= {name: (network, weight) for name, weight in _trainable(owner, network)}
    before = {name: weight.detach().clone() for name, (_, weight) in weights.items()}
    pushed: set[str] = set()

    def watch(*step: Any) -> None:
        for name, (_, weight) in weights.items():
            if weight.grad is not None and weight.grad.abs().max() > ROUNDING:
                pushed.add(name)

    for optimizer in loop.trainer.optimizers.values():
        optimizer.register_step_pre_hook(watch)
    for _ in range(10):
        loop.advance()
    still = [name for name, (_, weight) in weights.items() if torch.equal(weight, before[name])]
    return [name for name in still if name in pushed or not _shifts_scores(*weights[name])]


def _shifts_scores(network: nn.Module, weight: nn.Parameter) -> bool:
    """Return whether a weight adds the same to the scores of all samples, and nothing else."""
    if not (isinstance(network, Network) and isinstance(network.signature.output, Scores)):
        return False
    weight.requires_grad_()  # it is frozen between the phases
    scores = network.eval()(*draw(network.signature, 16)).flatten()
    balanced = torch.linspace(-1, 1, len(scores))  # sums to 0: what all scores have in common has no gradient
    common, apart = (
        torch.autograd.grad(total, weight, retain_graph=True, allow_unused=True)[0]
        for total in (scores.mean(), (balanced * scores).mean())
    )
    if common is None or apart is None:
        return False
    return bool(common.any()) and bool((apart.abs() <= ROUNDING * common.abs().max()).all())


def ownership(bench: Bench) -> None:
    """A phase changes the networks that it updates, and no other to the last bit."""
    probe = bench.probe
    if "ownership" in probe.faults:
        raise Fault(probe.faults["ownership"])
    for phase in probe.phases:
        for owner in phase.updates:
            if (phase.name, owner) not in probe.moved:
                raise Fault(f"the phase {phase.name!r} says that it updates {owner!r}, and leaves it as it was")


def steps(bench: Bench) -> None:
    """Each phase runs as often as it says, and each run is one step of its optimizer and of no other."""
    probe = bench.probe
    for phase in probe.phases:
        due = phase.repeat * len(range(0, probe.loop.step, phase.every))
        if probe.runs[phase.name] != due:
            raise Fault(f"the phase {phase.name!r} ran {probe.runs[phase.name]} times instead of {due}")
        for optimizer in probe.loop.trainer.optimizers:
            wanted = due if optimizer == phase.optimizer else 0
            if (found := probe.steps[phase.name, optimizer]) != wanted:
                raise Fault(
                    f"in {due} runs of the phase {phase.name!r} the optimizer {optimizer!r} takes {found} steps "
                    f"instead of {wanted}; stepping is the loop's work"
                )
    if any(phase == "" for phase, _ in probe.steps):
        raise Fault("an optimizer steps outside of any phase")


def n_critic(bench: Bench) -> None:
    """The setting ``n_critic`` decides how many steps some phase's optimizer takes, and leaves another phase alone."""
    if "n_critic" not in type(bench.config.model.settings).model_fields:
        raise Skip("it has no setting n_critic")
    once, thrice = _count(bench, {"n_critic": 1}), _count(bench, {"n_critic": 3})
    more = [name for name, count in once.items() if thrice[name] == 3 * count]
    if not more:
        raise Fault("with n_critic=3 no phase takes three times the optimizer steps that it takes with n_critic=1")
    if not [name for name, count in once.items() if thrice[name] == count]:
        raise Fault("with n_critic=3 every phase takes more optimizer steps, the generator's too")


def _count(bench: Bench, model: dict[str, Any]) -> Counter[str]:
    """Return how many optimizer steps each phase takes in two training steps with these settings."""
    loop = bench.loop(bench.configure(model=model))
    probe = Probe(loop)
    for _ in range(2):
        loop.advance()
    counts: Counter[str] = Counter()
    for (phase, _), count in probe.steps.items():
        counts[phase] += count
    return counts


def intervals(bench: Bench) -> None:
    """The regularizers of its loss are applied, and with an interval of 2 half as many times or fewer."""
    if not bench.config.regularizers:
        raise Skip("it has no regularizers")
    lazy = 0
    for key, choice in bench.config.regularizers.items():
        calls, effective = _applied(bench, key, {choice.entry.name: {"interval": 1}})
        if not calls:
            raise Fault(f"the regularizer {key!r} is never applied")
        if not effective:
            continue  # it projects weights, and an interval makes no sense for it
        fewer, _ = _applied(bench, key, {choice.entry.name: {"interval": 2}})
        if not 0 < fewer <= calls / 2:
            raise Fault(f"in {STEPS} steps {key!r} is applied {calls} times, and {fewer} times with an interval of 2")
        lazy += 1
    if not lazy:
        raise Skip("its regularizers have no penalty, so they take no interval")


def capture(bench: Bench) -> str:
    """Says which phases would not be captured as CUDA graphs, and why; they are slower on a GPU, not wrong."""
    loop = bench.loop(graphs=Tapes)
    assert loop.captures is not None
    # Each run is as on CUDA, but torch's operations are repeated in place of kernels: first as it is, then captured.
    for _ in range(2):
        for phase in loop.phases:
            loop.run(phase)
    return "; ".join(f"{name} would run without a CUDA graph: it {why}" for name, why in loop.captures.refused.items())


def _applied(bench: Bench, key: str, regularizer: dict[str, Any]) -> tuple[int, int]:
    """Return how often a penalty is asked for in a few steps, and how often there is one."""
    loop = bench.loop(bench.configure(regularizer=regularizer))
    inner = loop.trainer.regularizers[key]
    penalty, calls = inner.penalty, []

    def counted(*arguments: Any) -> Tensor | None:
        value = penalty(*arguments)
        calls.append(value is not None)
        return value

    inner.penalty = counted  # type: ignore[method-assign,assignment]
    for _ in range(STEPS):
        loop.advance()
    return len(calls), sum(calls)
