"""Whether models of captions draw what these name, for combinations seen in training and others, and vary the rest."""

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor

from ganzoo import Dataset, Metric, MetricConfig, Sampler, Signature, Tokens, UserError
from ganzoo_plugins.metrics.evaluator import gather, to_uint8
from ganzoo_plugins.metrics.extractors import require_images
from ganzoo_runtime.captions import caption_text

__all__ = ["CaptionAccuracy", "NamesFacts"]

_VAGUE, _DRAWN = 8, 64  # captions that name few facts, and images of each of them
_LOOKED = 2000  # captions among which these are looked for


@runtime_checkable
class NamesFacts(Protocol):
    """A data set that knows what its captions name, and measures the same in images."""

    def named(self, captions: Tensor) -> Mapping[str, Tensor]:
        """Return the facts that captions, int64 [N, L], name, by the fact: int64 [N], -1 where one is not named."""
        ...

    def measured(self, images: Tensor) -> Mapping[str, Tensor]:
        """Return the same facts as they are found in images, uint8 [N, C, H, W]; -1 for none."""
        ...

    def held_out(self, n: int) -> Mapping[str, Tensor]:
        """Return ``n`` samples, always the same, of combinations of facts that no sample of the data set has."""
        ...


class CaptionAccuracy(Metric):
    """The share of the facts named in captions that are drawn right, 0..1: ``all`` of them, and each for itself.

    ``seen/...`` are of captions of the data, ``held_out/...`` of combinations that are not in it. The data set
    :class:`NamesFacts` and measures them in the images: no network judges. The reference is what real images get.

    ``left_out/values`` is how many values a fact takes that a caption leaves out, as a perplexity: the mean of such
    facts of the eight captions of the data that name the fewest, 64 images each. A model that ignores its latent has 1.
    The reference is of real images of what these captions name.
    """

    conditional = True
    better: ClassVar = {"": "higher", "values": "as real"}

    def __init__(self, config: MetricConfig, dataset: Dataset) -> None:
        super().__init__(config, dataset)
        self.image = require_images(dataset)
        captions = [field for field in dataset.spec.fields if isinstance(field, Tokens)]
        if not isinstance(dataset, NamesFacts) or not captions:
            raise UserError(f"{dataset.spec.name} does not say which facts its captions name; take another metric")
        self.facts, self.caption = dataset, captions[0]
        looked = gather(dataset, torch.arange(len(dataset))[:_LOOKED], self.caption.name)[0]
        named = torch.stack([said >= 0 for said in dataset.named(looked).values()]).sum(0)
        some = (named > 0).nonzero()[:, 0]
        self.vague = looked[some[named[some].argsort(stable=True)[:_VAGUE]]]
        self._real: dict[str, float] = {}

    def check(self, signature: Signature) -> None:
        """Refuse a network that takes none of the data's captions."""
        super().check(signature)
        if self.caption.name not in {field.name for field in signature.inputs if isinstance(field, Tokens)}:
            raise UserError("it evaluates samples drawn for captions, and this model takes none")

    def __call__(self, samples: Tensor, condition: Mapping[str, Tensor]) -> dict[str, float]:
        """Return the shares for captions in the condition, int64 [N, L]."""
        if self.caption.name not in condition:
            raise UserError("caption_accuracy evaluates samples drawn for captions; leave the metric out")
        return self._shares("seen", samples, condition[self.caption.name])

    def probe(self, sampler: Sampler, seed: int) -> dict[str, float]:
        """Return the shares for captions of held-out combinations, and how what captions leave out varies."""
        captions = self.facts.held_out(self.config.samples)[self.caption.name]
        shares = self._shares("held_out", self._drawn(sampler, seed, captions), captions)
        images = self._drawn(sampler, seed, self.vague.repeat_interleave(_DRAWN, 0))
        return {**shares, **self._values(images.split(_DRAWN))}

    def reference(self) -> dict[str, float]:
        """Return the shares that real images get."""
        if not self._real:
            rng = torch.Generator().manual_seed(1)
            rows = torch.randperm(len(self.dataset), generator=rng)[: self.config.samples]
            seen = gather(self.dataset, rows, self.image.name, self.caption.name)
            others = self.facts.held_out(self.config.samples)
            self._real = self._shares("seen", *seen)
            self._real |= self._shares("held_out", others[self.image.name], others[self.caption.name])
            measured = self.facts.measured(to_uint8(seen[0]))
            of_each = []
            for caption in self.vague:
                named = self.facts.named(caption[None])
                fits = [measured[fact] == said for fact, said in named.items() if said >= 0]
                of_each.append(seen[0][torch.stack(fits).all(0)][:_DRAWN])
            self._real |= self._values(of_each)
        return self._real

    def metadata(self) -> dict[str, Any]:
        """Return what measures the facts."""
        return {"evaluator": f"the data set {self.dataset.spec.name} itself"}

    def _drawn(self, sampler: Sampler, seed: int, captions: Tensor) -> Tensor:
        """Return the images that a model draws for captions."""
        field = self.caption.to_json()
        texts = [caption_text(row, field) for row in captions.tolist()]
        samples = torch.from_numpy(sampler.sample(len(texts), seed=seed, text=texts))
        return Signature.from_json(sampler.metadata["signature"]).output.decode(samples)

    def _values(self, images: Sequence[Tensor]) -> dict[str, float]:
        """Return the mean perplexity of the facts that vague captions leave out, in images of each of them."""
        found = []
        for caption, drawn in zip(self.vague, images, strict=True):
            measured = self.facts.measured(to_uint8(drawn)) if len(drawn) else {}
            left_out = [fact for fact, said in self.facts.named(caption[None]).items() if said < 0]
            for values in (measured[fact] for fact in left_out if fact in measured):
                shares = values[values >= 0].unique(return_counts=True)[1].double() / (values >= 0).sum()
                found.append((-shares.xlogy(shares).sum()).exp().item() if len(shares) else 1.0)
        return {"left_out/values": mean(found)} if found else {}

    def _shares(self, what: str, images: Tensor, captions: Tensor) -> dict[str, float]:
        """Return the shares of facts that are named and right; a fact that no caption names has none."""
        named, measured = self.facts.named(captions), self.facts.measured(to_uint8(images))
        right = {fact: (measured[fact] == said)[said >= 0].double() for fact, said in named.items()}
        right = {"all": torch.cat(list(right.values())), **right}
        return {f"{what}/{fact}": float(each.mean()) for fact, each in right.items() if len(each)}
