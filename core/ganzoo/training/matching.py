"""Which tensor of a source each tensor of a network starts from: that of its name, but in lists of another length."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

from torch import Tensor

__all__ = ["fitting", "matched"]

_NUMBER = re.compile(r"(?<![^.])[0-9]{1,9}(?![^.])")
"""A whole part of a dotted name that is a number: the place in a ``Sequential`` or a ``ModuleList``."""


def matched(own: Mapping[str, Tensor], source: Mapping[str, Tensor]) -> tuple[dict[str, str], list[str]]:
    """Return the names in a source by a network's own ones, and in words which lists are not matched by number.

    The names are the same but in lists of layers (``prefix.N.suffix``) that are longer or shorter in the source, as
    another size of images makes them: of a discriminator, whose layers are numbered from the image, the deep ones would
    fit. In such a list so many first layers keep their numbers, all or none of them among others, and those behind are
    counted from the last, that most numbers fit; where that makes no difference, names stay. An outer list is matched
    first, and then those inside of its layers, each by itself.
    """
    names, moved = {key: key for key in source}, list[str]()
    # An outer list's prefix is the beginning of those inside, so it comes before them.
    for prefix in sorted({key[: number.start()] for key in own for number in _NUMBER.finditer(key)}):
        length, before = _length(prefix, own), _length(prefix, names)
        if not before or length == before:
            continue
        inside = {key: name for key, name in names.items() if key.startswith(prefix)}
        more, kept = length - before, range(min(length, before), -1, -1)
        stay = _weights(prefix, own, source, inside)
        move = _weights(prefix, own, source, _counted(prefix, inside, 0, more))
        fits = [sum(stay[n] for n in range(k)) + sum(move[n] for n in range(k + max(more, 0), length)) for k in kept]
        first = kept[fits.index(max(fits))]
        if first < kept[0]:
            names = {key: name for key, name in names.items() if key not in inside}
            names |= _counted(prefix, inside, first, more)
            behind = f" behind {prefix}{first - 1}" if first else ""
            moved.append(f"{prefix.rstrip('.') or 'the network'}{behind} matched from its last layer")
    return names, moved


def fitting(own: Mapping[str, Tensor], source: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    """Return the source's tensors that fit a network's own by name, shape and kind of number, by the own names."""
    found = {key: source[name] for key, name in names.items() if key in own}
    return {
        key: value
        for key, value in found.items()
        if value.shape == own[key].shape and value.is_floating_point() == own[key].is_floating_point()
    }


def _length(prefix: str, names: Mapping[str, object]) -> int:
    """Return the length of a list as far as its layers have tensors; 0 if there is none."""
    numbers = (_NUMBER.match(name, len(prefix)) for name in names if name.startswith(prefix))
    return max((int(number[0]) + 1 for number in numbers if number), default=0)


def _counted(prefix: str, names: Mapping[str, str], first: int, more: int) -> dict[str, str]:
    """Return the names of a list whose layers from ``first`` on have numbers that are higher by ``more``.

    Layers that would come to lie among the first are left out.
    """
    moved = {}
    for key, name in names.items():
        number = _NUMBER.match(key, len(prefix))
        if number is None or int(number[0]) < first:
            moved[key] = name
        elif (place := int(number[0]) + more) >= first:
            moved[f"{prefix}{place}{key[number.end() :]}"] = name
    return moved


def _weights(
    prefix: str, own: Mapping[str, Tensor], source: Mapping[str, Tensor], names: Mapping[str, str]
) -> Counter[int]:
    """Return how many numbers of each layer of a list fit; vectors, as biases and statistics, soon fit by accident."""
    found = Counter[int]()
    for key, value in fitting(own, source, names).items():
        number = _NUMBER.match(key, len(prefix))
        if number is not None and value.ndim > 1:
            found[int(number[0])] += value.numel()
    return found
