"""What may be asked of a model, as rows of its inputs; each function raises ValueError for what does not fit it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .captions import caption_tokens, is_caption
from .fields import check_labels
from .text import class_index, did_you_mean

if TYPE_CHECKING:
    from .random_inputs import Fields, Floats, Given, Labels, Texts, Truncation, Vectors

__all__ = [
    "attribute_rows",
    "has_styles",
    "is_resampled",
    "label_rows",
    "latent_rows",
    "shown",
    "style_rows",
    "text_rows",
    "truncation_of",
    "unknown",
]

_LARGEST = float(np.finfo(np.float32).max)


def has_styles(fields: Fields) -> bool:
    """Return whether a truncation moves styles, in place of latents."""
    return any(field["kind"] == "truncation" for field in fields)


def is_resampled(field: Mapping[str, Any]) -> bool:
    """Return whether a truncation is the threshold that all numbers of this latent are within."""
    return field.get("truncation") == "resampled"


def truncation_of(value: float | list[float] | tuple[float, ...], fields: Fields = ()) -> float:
    """Return one number that a truncation can be; of ``fields`` some may need it above 0."""
    if isinstance(value, list | tuple):
        raise ValueError("this model has no styles, so its truncation is one number")
    threshold = any(map(is_resampled, fields))  # of which 0 lets no number be
    try:
        right = math.isfinite(value) and 0 <= float(value) <= _LARGEST and not (threshold and value == 0)
    except (TypeError, OverflowError):
        right = False
    if not right:
        least = "number above 0 for this model" if threshold else "number of at least 0"
        raise ValueError(f"the truncation is a finite {least}, not {shown(value)}")
    return value


def label_rows(fields: Fields, n: int, label: Labels) -> dict[str, NDArray[Any]]:
    """Return the classes that are asked for, int64 [1] or [n], by the name of the label; others take turns."""
    labels = {field["name"]: field for field in fields if field["kind"] == "label"}
    if label is None:
        return {}
    if not isinstance(label, Mapping):
        if not labels:
            raise ValueError("this model has no labels; leave the label out")
        if len(labels) > 1:
            raise ValueError(
                f"this model has the labels {', '.join(labels)}; name the one that is meant: {{name: class}}"
            )
        label = dict.fromkeys(labels, label)
    rows = {}
    for name, value in label.items():
        if name not in labels:
            raise unknown("label", name, labels)
        if isinstance(value, str) and value == "all":
            continue
        try:
            row = np.asarray(value)
        except ValueError:  # lists of several lengths
            row = np.empty(0)
        if row.dtype.kind not in "iuU" or row.shape not in ((), (n,)):
            raise ValueError(
                f"the label {name!r} is one class, by its index (a whole number) or its name, "
                f"or one for each of the {n} samples"
            )
        classes = labels[name]["classes"]
        if row.dtype.kind == "U":
            texts = row.ravel().tolist()
            index = {text: class_index(text, labels[name]["names"], classes, f"label {text!r}") for text in set(texts)}
            row = np.array([index[text] for text in texts])
        check_labels(name, row, classes)
        rows[name] = row.reshape(-1).astype(np.int64)
    return rows


def attribute_rows(fields: Fields, n: int, attributes: Vectors) -> dict[str, NDArray[Any]]:
    """Return the vectors that take turns, float32 [any, dim], by the name of the field."""
    fields = [field for field in fields if field["kind"] == "attributes"]
    if attributes is not None and len(fields) != 1:
        several = f"several vectors of attributes ({', '.join(field['name'] for field in fields)})"
        raise ValueError(f"this model has {several if fields else 'no attributes'}; leave the attributes out")
    rows = {}
    for field in fields:
        (dim,) = field["shape"]
        if attributes is None or isinstance(attributes, Mapping):
            values = _finite(field["examples"] or [[0.0] * dim], "attributes")
            names = field["names"] or [str(index) for index in range(dim)]
            for name, value in (attributes or {}).items():
                key = name if field["names"] else str(name)  # an index is no name, also where names are numbers
                if key not in names:
                    raise unknown("attribute", name, names)
                if (number := _finite(value, "attributes")).ndim:
                    raise ValueError(f"the attribute {name!r} is one number for all samples")
                values[:, names.index(key)] = number
            rows[field["name"]] = values
        else:
            rows[field["name"]] = _vectors(attributes, "attributes", [dim], n)
    return rows


def text_rows(fields: Fields, text: Texts) -> dict[str, NDArray[Any]]:
    """Return the captions that take turns, int64 [any, length], by the name of the field."""
    rows = {each["name"]: each["examples"] for each in fields if each["kind"] == "tokens" and each.get("examples")}
    if text is not None:
        captions = [field for field in fields if is_caption(field)]
        if len(captions) != 1:
            several = f"several captions ({', '.join(field['name'] for field in captions)})"
            raise ValueError(f"this model takes {several if captions else 'no captions'}; leave the text out")
        texts = [text] if isinstance(text, str) else text
        right = isinstance(texts, Sequence | np.ndarray) and len(texts) > 0
        if not right or not all(isinstance(each, str) for each in texts):
            raise ValueError("the text is a caption for all samples, or several that take turns")
        rows[captions[0]["name"]] = [caption_tokens(each, captions[0]) for each in texts]
    return {name: np.array(tokens, np.int64) for name, tokens in rows.items()}


def latent_rows(fields: Fields, n: int, latents: Given) -> dict[str, NDArray[Any]]:
    """Return the latents and styles that are given, float32 [1 or n, *shape], by name."""
    shapes = {field["name"]: field["shape"] for field in fields if field["kind"] in ("latent", "styles")}
    if latents is None:
        return {}
    if not shapes:
        raise ValueError("this model takes no latents")
    if not isinstance(latents, Mapping):
        latents = {next(iter(shapes)): latents}
    rows = {}
    for name, values in latents.items():
        if name not in shapes:
            if name == "noise":  # that came with styles
                raise ValueError("this model takes no noise maps; a run of stylegan2 does, and no exported file")
            raise unknown("latent", name, shapes)
        rows[name] = _vectors(values, "noise maps" if name == "noise" else "latents", shapes[name], n)
    return rows


def style_rows(
    fields: Fields, truncation: Truncation, means: Mapping[str, Floats], given: Mapping[str, Floats]
) -> dict[str, NDArray[Any]]:
    """Return the shares of the mapped styles, float32 [1, L], and the mean of styles that are not ``given``, [1, L, D].

    Of given styles the samples are drawn as they are.
    """
    rows: dict[str, NDArray[Any]] = {}
    for field in fields:
        name, shape = field["name"], field["shape"]
        if field["kind"] == "styles" and name not in given:
            rows[name] = np.broadcast_to(means.get(name, np.float32(0)), (1, *shape)).astype(np.float32)
        elif field["kind"] == "truncation":
            (layers,) = shape
            rows[name] = np.ones((1, layers), np.float32)
            if isinstance(truncation, list | tuple):
                if len(truncation) > layers:
                    raise ValueError(f"this model has {layers} styles; {len(truncation)} of them cannot be truncated")
                rows[name][0, : len(truncation)] = [truncation_of(each) for each in truncation]
            elif truncation is not None:
                rows[name][:] = truncation_of(truncation)
            if any(each["kind"] == "styles" and each["name"] in given for each in fields):
                rows[name][:] = 0
    return rows


def unknown(what: str, name: Any, names: Iterable[str]) -> ValueError:
    """Return the error for a name that is none of those that there are."""
    return ValueError(f"this model has no {what} {name!r}{did_you_mean(str(name), names)}")


def _vectors(values: Any, what: str, shape: Sequence[int], n: int) -> Floats:
    """Return one vector for all samples, or one for each, as float32 [1 or n, *shape]."""
    vectors = _finite(values, what)
    if list(vectors.shape) not in ([*shape], [n, *shape]):
        raise ValueError(
            f"the {what} of {n} samples of this model have the shape {[*shape]} or {[n, *shape]}, "
            f"not {list(vectors.shape)}"
        )
    return vectors.reshape(-1, *shape)


def shown(value: object) -> str:
    """Return any value in one line that is not long, whatever was given in place of a number."""
    return " ".join(repr(value).split())[:100]


def _finite(values: Any, what: str) -> Floats:
    try:
        numbers = np.array(values, np.float64)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{what} are numbers, as many for every sample") from None
    if not (np.abs(numbers) <= _LARGEST).all():
        raise ValueError(f"{what} are finite numbers that float32 can hold")
    return numbers.astype(np.float32)
