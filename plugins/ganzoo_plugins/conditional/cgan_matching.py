"""The conditional GAN with a matching-aware discriminator: a real sample with a wrong condition is a fake one."""

import torch
from torch import Tensor

from ganzoo import own_rows, whole_batch
from ganzoo_plugins.conditional.cgan import ConditionalGAN

__all__ = ["MatchingAwareGAN", "mismatched"]


class MatchingAwareGAN(ConditionalGAN):
    """GAN-CLS, algorithm 1 of Generative Adversarial Text to Image Synthesis (arXiv:1605.05396), with the networks of
    ``cgan``.

    The discriminator sees three kinds of pairs: real samples with their own condition, generated ones with theirs, and
    real ones with the condition of another sample of the batch. The two wrong kinds have a weight of one half each, as
    in the paper, whatever the loss: real scores are compared with generated ones and again with mismatched ones. The
    paper's conditions are embeddings of sentences; here they are attributes, as in the preset ``shapes``, or labels.
    """

    defaults = {**ConditionalGAN.defaults, "steps": 10_000}

    def scores(self, real: Tensor, fake: Tensor, condition: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Return real scores [2 N] and wrong ones: of the N fake samples, then of the N mismatched pairs.

        A sample for which the batch has no other condition makes no mismatched pair; its fake one stands there again.
        """
        real_scores, fake_scores = super().scores(real, fake, condition)
        # Without such pairs the discriminator could ignore the condition: the generator's samples are fake for other
        # reasons, and nothing else shows that a real image with a wrong condition is wrong.
        partner, differs = mismatched(condition)
        wrong = self.score(real, tuple(whole_batch(part)[partner] for part in condition))
        differs = differs.view(-1, *[1] * (wrong.dim() - 1))
        return torch.cat([real_scores, real_scores]), torch.cat([fake_scores, torch.where(differs, wrong, fake_scores)])


def mismatched(condition: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """Return for each sample the row of another one in the whole batch, of a different condition, int64 [N], and
    whether there was one, bool [N].

    The samples are sorted by condition, with the conditions in random order, and each gets the sample that is k places
    further, around the end, where k is the count of the most frequent condition. No condition is longer than k, so the
    partner has another one; only if one condition has more than half of the batch do some of its samples get a partner
    of the same. With all conditions different this is a random cycle.
    """
    # Drawn before the rows of all processes are joined: a number for each sample, wherever it is computed.
    drawn = whole_batch(torch.rand(len(condition[0]), device=condition[0].device))
    condition = tuple(whole_batch(part) for part in condition)
    rows = torch.stack([column for part in condition for column in part.double().reshape(len(part), -1).unbind(1)], 1)
    # All pairs are compared, so that no shape depends on how many conditions there are.
    same = (rows[:, None] == rows).all(2)
    group = same.int().argmax(1)  # the first sample of the same condition
    order = drawn[group].argsort(stable=True)
    place = torch.arange(len(rows), device=rows.device)
    partner = torch.empty_like(order)
    partner[order] = order[(place + same.sum(1).max()) % len(rows)]
    return own_rows(partner), own_rows(group[partner] != group)
