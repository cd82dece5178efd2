"""The projection discriminator: the condition enters by an inner product."""

from collections.abc import Sequence

from torch import Tensor, nn

from ganzoo import Attributes, Discriminator, Image, Label, Scores, Signature

__all__ = ["ProjectionDiscriminator"]


class ProjectionDiscriminator(Discriminator):
    """D(x, y) = psi(phi(x)) + sum_i <v_i(y_i), phi(x)> (arXiv:1802.05637, eq. 8 and section 3).

    phi are ``features``, maps [N, width, h, w], summed over the image, psi is linear, and v_i the embedding of the i-th
    label or a linear map of an attribute vector: the form that the log density ratio has if each condition is
    log-linear in phi(x), for a vector a Gaussian of fixed variance. Without conditions it is psi(phi(x)).
    """

    def __init__(
        self, features: nn.Module, width: int, sample: Image, conditions: Sequence[Label | Attributes] = ()
    ) -> None:
        super().__init__(Signature((sample, *conditions), Scores()))
        self.features = features
        self.head = nn.Linear(width, 1)
        self.projections = nn.ModuleList(
            nn.Embedding(field.classes, width) if isinstance(field, Label) else nn.Linear(field.dim, width, bias=False)
            for field in conditions
        )
        for projection in self.projections.parameters():
            nn.init.xavier_uniform_(projection)

    def forward(self, x: Tensor, *conditions: Tensor) -> Tensor:
        # Summed, not averaged, as in the paper: each place adds evidence to the log density ratio.
        features = self.features(x).sum((2, 3))
        scores: Tensor = self.head(features).squeeze(1)
        for projection, condition in zip(self.projections, conditions, strict=True):
            scores = scores + (projection(condition) * features).sum(1)
        return scores
