"""Which settings the trials of a sweep have: all of a grid, random ones, or those that Optuna proposes."""

from __future__ import annotations

import json
import random
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, time
from importlib import import_module
from itertools import product
from math import exp, log, prod
from typing import Any

from ganzoo.config.merging import parse_set
from ganzoo.errors import UserError

__all__ = ["Proposals", "Range", "Space", "as_sets", "parse_space", "propose"]

_MOST = 10_000
_REPEATS = 100


@dataclass(frozen=True)
class Range:
    """Numbers from one bound to the other, whole ones if both bounds are; ``log``: even on a logarithmic scale."""

    low: float
    high: float
    log: bool = False

    def draw(self, rng: random.Random) -> float:
        """Return one of them."""
        if self.log:
            value = exp(rng.uniform(log(self.low), log(self.high)))
            value = min(max(value, self.low), self.high)
        elif isinstance(self.low, int) and isinstance(self.high, int):
            return rng.randint(self.low, self.high)
        else:
            value = rng.uniform(self.low, self.high)
        return round(value) if isinstance(self.low, int) and isinstance(self.high, int) else float(f"{value:.6g}")


Space = Mapping[str, Range | list[Any]]
"""The values of each setting, by its dotted name."""


def parse_space(over: Sequence[str]) -> Space:
    """Return the values of ``"model.width=8,16"`` and ``"model.optimizer.lr=1e-5..1e-3:log"``.

    Raises :class:`UserError` for anything else.
    """
    space: dict[str, Range | list[Any]] = {}
    for text in over:
        key, equals, values = (part.strip() for part in str(text).partition("="))
        if not key or not equals or not values:
            raise UserError(
                f"--over takes SETTING=VALUE,VALUE or SETTING=LOW..HIGH or SETTING=LOW..HIGH:log, not {text!r}"
            )
        parse_set(f"{key}=0")  # a sentence where it is no name of a setting
        if key in space:
            raise UserError(f"--over names {key} twice; give all of its values at once")
        space[key] = _range(text, values) if ".." in values else _listed(values)
    if not space:
        raise UserError("a sweep varies something: give --over SETTING=VALUE,VALUE")
    return space


def _range(text: str, values: str) -> Range:
    bounds, colon, scale = values.partition(":")
    try:
        low, high = (_number(part) for part in bounds.split(".."))
    except ValueError:
        raise UserError(f"--over {text!r}: a range is LOW..HIGH, two numbers") from None
    if not low < high or (colon and (scale != "log" or low <= 0)):
        raise UserError(
            f"--over {text!r}: in a range LOW is below HIGH, and behind it stands ':log' or nothing; then LOW > 0"
        )
    return Range(low, high, bool(colon))


def _number(text: str) -> float:
    try:
        return int(text)
    except ValueError:
        if not -1e300 < (value := float(text)) < 1e300:
            raise ValueError(text) from None
        return value


def _listed(values: str) -> list[Any]:
    try:
        listed: list[Any] = tomllib.loads(f"values = [{values}]")["values"]
        if any(isinstance(each, date | time | dict) for each in listed):
            raise ValueError
    except (ValueError, KeyError, RecursionError):  # names, which TOML has in quotes
        listed = [parse_set(f"value={each}")["value"] for each in values.split(",")]
    return [each for index, each in enumerate(listed) if each not in listed[:index]]


def as_sets(settings: Mapping[str, Any]) -> list[str]:
    """Return the settings of a trial as ``--set`` takes them."""
    return [f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in settings.items()]


def propose(space: Space, method: str, trials: int | None, seed: int) -> Iterator[dict[str, Any]]:
    """Yield the settings of all trials of a grid or of so many random ones, each once.

    Random ones depend on the seed and their number alone, so that a sweep goes on with the same. Raises
    :class:`UserError` if there are too many, or none to choose from.
    """
    if method == "grid":
        if ranges := [name for name, values in space.items() if isinstance(values, Range)]:
            raise UserError(f"a grid has no ranges: list the values of {ranges[0]}, or take --random or --tpe")
        lists = [values for values in space.values() if isinstance(values, list)]
        if prod(map(len, lists)) > _MOST:
            raise UserError(
                f"a grid has at most {_MOST:,} trials, not {prod(map(len, lists)):,}; take --random --trials N"
            )
        for index, values in enumerate(product(*lists)):
            if trials is None or index < trials:
                yield dict(zip(space, values, strict=True))
        return
    seen: list[dict[str, Any]] = []
    for index in range(trials or 0):
        rng = random.Random(f"{seed}/{index}")
        for _ in range(_REPEATS):
            found = {
                name: each.draw(rng) if isinstance(each, Range) else rng.choice(each) for name, each in space.items()
            }
            if found not in seen:
                seen.append(found)
                yield found
                break


class Proposals:
    """Optuna's tree-structured Parzen estimator, told of the trials so far."""

    def __init__(self, space: Space, direction: str, seed: int) -> None:
        try:
            self._optuna = import_module("optuna")
        except ImportError:
            raise UserError("--tpe needs Optuna: pip install 'torch-ganzoo[optuna]'; or take --random") from None
        self._optuna.logging.set_verbosity(self._optuna.logging.WARNING)
        self._space, self._direction, self._seed = space, direction, seed

    def __call__(self, before: Sequence[tuple[Mapping[str, Any], float | None]], repeats: int = 0) -> dict[str, Any]:
        """Return settings for the next trial after those with the figures that they reached, None if they failed.

        After so many ``repeats`` they are others.
        """
        optuna, names = self._optuna, {}
        distributions: dict[str, Any] = {}
        for name, values in self._space.items():
            if isinstance(values, Range):
                whole = isinstance(values.low, int) and isinstance(values.high, int)
                kind = optuna.distributions.IntDistribution if whole else optuna.distributions.FloatDistribution
                distributions[name] = kind(values.low, values.high, log=values.log)
            else:  # by their texts, since lists are no choices
                names[name] = {json.dumps(each): each for each in values}
                distributions[name] = optuna.distributions.CategoricalDistribution(list(names[name]))
        # A study anew for each trial, from what is known: whatever stopped the sweep, it goes on as it would have.
        sampler = optuna.samplers.TPESampler(seed=self._seed + 1000 * len(before) + repeats)
        study = optuna.create_study(
            direction={"lower": "minimize", "higher": "maximize"}[self._direction], sampler=sampler
        )
        for settings, value in before:
            params = {name: json.dumps(each) if name in names else each for name, each in settings.items()}
            known = params.keys() == distributions.keys() and all(
                params[name] in each
                if (each := names.get(name)) is not None
                else distributions[name]._contains(params[name])
                for name in params
            )
            if known:
                state = optuna.trial.TrialState.FAIL if value is None else optuna.trial.TrialState.COMPLETE
                study.add_trial(
                    optuna.trial.create_trial(params=params, distributions=distributions, value=value, state=state)
                )
        found = study.ask(distributions).params
        return {name: names[name][each] if name in names else each for name, each in found.items()}
