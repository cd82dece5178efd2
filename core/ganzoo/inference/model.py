"""A trained model as an object: what :func:`ganzoo.load` returns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganzoo.errors import UserError, path_of, user_errors
from ganzoo.fields import Image, Signature
from ganzoo_runtime.text import counted, shown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ganzoo.gan.networks import Network
    from ganzoo.gan.sampler import Sampler
    from ganzoo_runtime.random_inputs import Given, Labels, Texts, Truncation, Vectors

__all__ = ["TrainedModel"]

_SHOWN = 20
"""Images of the grid in a notebook: two rows of ten classes."""


class TrainedModel:
    """A trained model that is ready to draw: a :class:`~ganzoo.Sampler` that refuses in one sentence and shows itself.

    ``name`` is what it was opened as: the path of a run folder or a file, or ``"zoo:NAME"``; ``sampler`` is what
    computes, that of a run in torch or that of its file format. ``metadata`` is what is known about it, ``signature``
    what it takes and returns, and ``device`` says where it runs. A request that does not fit the model raises
    :class:`~ganzoo.UserError`, and so do samples that are not finite.
    """

    def __init__(self, sampler: Sampler, name: str) -> None:
        self.sampler, self.name = sampler, name
        self.metadata: Mapping[str, Any] = sampler.metadata
        self.device = sampler.device
        self.signature = Signature.from_json(sampler.metadata["signature"])

    def __call__(self, *arrays: NDArray[Any]) -> NDArray[Any]:
        """Apply the network to arrays, [N, ...] each, in the signature's order."""
        with user_errors():
            return _finite(self.sampler(*arrays))

    @property
    def generator(self) -> Network:
        """The network itself, a plain ``torch.nn.Module`` with averaged weights, in eval mode and without gradients.

        Raises :class:`~ganzoo.UserError` for a file, which has none.
        """
        network: Network | None = getattr(self.sampler, "network", None)
        if network is None:
            raise UserError(f"{self.name} is an exported file, which holds no torch module; load the run it came from")
        return network

    def sample(
        self,
        n: int,
        *,
        seed: int = 0,
        label: Labels = None,
        attributes: Vectors = None,
        text: Texts = None,
        truncation: Truncation = None,
        latents: Given = None,
    ) -> NDArray[Any]:
        """Draw ``n`` samples, [n, ...] in the signature's range; the same seed gives the same latents.

        ``label`` is a class for all samples, or one each, by name (``"cat"``) or index from 0, or these by the name of
        the label where there are several; classes take turns if it is left out. ``attributes`` are vectors, or numbers
        by name; ``text`` is a caption, or several that take turns; ``truncation`` below 1 draws more typical samples,
        of a style-based model in W (a list of numbers: as many of its styles, from the coarsest on); ``latents``, [n,
        *shape], are used in place of those of the seed. See :meth:`ganzoo_runtime.Generator.sample`.
        """
        asked: dict[str, Any] = {"label": label, "attributes": attributes, "truncation": truncation, **_text(text)}
        with user_errors():
            return _finite(self.sampler.sample(n, seed=seed, latents=latents, **asked))

    def stream(
        self,
        n: int,
        *,
        seed: int = 0,
        label: Labels = None,
        attributes: Vectors = None,
        text: Texts = None,
        truncation: Truncation = None,
        latents: Given = None,
    ) -> Iterator[tuple[NDArray[Any], Mapping[str, NDArray[Any]]]]:
        """Yield what :meth:`sample` returns a piece at a time, with its inputs by name, in constant memory."""
        asked: dict[str, Any] = {"label": label, "attributes": attributes, "truncation": truncation, **_text(text)}
        with user_errors():
            pieces = self.sampler.stream(n, seed=seed, latents=latents, **asked)
        return ((_finite(samples), inputs) for samples, inputs in pieces)

    def latents(
        self, n: int | Sequence[int], seed: int = 0, name: str | None = None, *, truncation: Truncation = None
    ) -> NDArray[np.float32]:
        """Return the latents of ``n`` samples, or of those of these numbers; see :meth:`ganzoo.Sampler.latents`."""
        with user_errors():
            return self.sampler.latents(n, seed, name, truncation=truncation)

    def styles(
        self,
        n: int | Sequence[int],
        seed: int = 0,
        *,
        label: Labels = None,
        attributes: Vectors = None,
        text: Texts = None,
        truncation: Truncation = None,
    ) -> NDArray[np.float32]:
        """Return the styles of ``n`` samples, or of those of these numbers; see :meth:`ganzoo.Sampler.styles`."""
        asked: dict[str, Any] = {"label": label, "attributes": attributes, "truncation": truncation, **_text(text)}
        with user_errors():
            return _finite(self.sampler.styles(n, seed, **asked))

    def save(
        self,
        path: str | PathLike[str],
        n: int | None = None,
        *,
        seed: int = 0,
        label: Labels = None,
        attributes: Vectors = None,
        text: Texts = None,
        truncation: Truncation = None,
    ) -> Path:
        """Draw samples into a file or a folder, as ``ganzoo sample`` does; return its path, of several files a pattern.

        See :func:`ganzoo.inference.saving.save_samples`.
        """
        from ganzoo.inference.saving import save_samples

        asked: dict[str, Any] = {"label": label, "attributes": attributes, "text": text, "truncation": truncation}
        return save_samples(self, path, n, seed=seed, **asked)[1]

    def save_grid(
        self,
        path: str | PathLike[str],
        n: int | None = None,
        *,
        seed: int = 0,
        label: Labels = None,
        attributes: Vectors = None,
        text: Texts = None,
        truncation: Truncation = None,
    ) -> Path:
        """Draw samples into one .png: ``n`` images, by default 64, in a grid, or 10,000 points as a density."""
        if path_of("path", path).suffix.lower() != ".png":
            raise UserError(f"a grid is a .png, not {path}")
        asked: dict[str, Any] = {"label": label, "attributes": attributes, "text": text, "truncation": truncation}
        return self.save(path, n, seed=seed, **asked)

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        facts = self._facts()
        return shown(f"<TrainedModel {self.name}: {'; '.join(filter(None, facts.values()))}>")

    def _repr_html_(self) -> str:
        """Return a grid of samples and what is known about the model, for notebooks."""
        from ganzoo.images.notebook import as_html, drawn
        from ganzoo.inference.saving import save_samples

        n = _SHOWN if isinstance(self.signature.output, Image) else None
        return as_html(self.name, self._facts(), {"samples": drawn(lambda path: save_samples(self, path, n))})

    def _facts(self) -> dict[str, str]:
        """Return what it is, in words."""
        about: dict[str, Any] = {
            key: found if isinstance(found := self.metadata.get(key), Mapping) else {}
            for key in ("model", "data", "training")
        }
        step = about["training"].get("step")
        return {
            "model": str(about["model"].get("key", "")),
            "trained on": str(about["data"].get("name", "")),
            "steps": counted(step, "step") if isinstance(step, int) else "",
            "draws": f"{self.signature.output.describe()}, from "
            + " and ".join(field.describe() for field in self.signature.inputs),
            "runs on": self.device,
        }


def _finite(values: NDArray[Any]) -> NDArray[Any]:
    """Return what a network has computed; raises :class:`UserError` unless it is finite: the rest would look black."""
    import numpy as np

    if not np.isfinite(values).all():
        raise UserError(
            "the model draws numbers that are not finite: its training has failed, or what it is given is too large"
        )
    return values


def _text(text: Texts) -> dict[str, Any]:
    """Return the argument for captions where there are any: a plugin's sampler may know none."""
    return {} if text is None else {"text": text}
