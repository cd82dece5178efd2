"""What the language models of this family have in common."""

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field
from torch import Tensor
from typing_extensions import TypeVar

from ganzoo import Batch, DataSpec, OptimizerConfig, Tokens, Trainer, TrainerConfig, UserError, whole_batch
from ganzoo import Field as SignatureField
from ganzoo_plugins.networks.lstm import LanguageModel

__all__ = ["TextConfig", "TextTrainer"]


class TextConfig(TrainerConfig):
    """Settings of a language model."""

    embedding_dim: int = Field(32, ge=1, description="size of the generator's embedding of a token")
    hidden_dim: int = Field(64, ge=1, description="size of the generator's LSTM")
    layers: int = Field(1, ge=1, description="layers of the generator's LSTM")
    temperature: float = Field(
        1.0, ge=0, description="what logits are divided by where samples are drawn, unless it is asked for; 0: greedy"
    )
    optimizer: OptimizerConfig = Field(
        OptimizerConfig(lr=1e-2, betas=(0.9, 0.999)), description="optimizer of the generator"
    )


Settings = TypeVar("Settings", bound=TextConfig, default=TextConfig, covariant=True)


class TextTrainer(Trainer[Settings]):
    """A generator of tokens with an optimizer of its own name, which it is the same in all of this family."""

    samples: ClassVar[tuple[type[SignatureField], ...]] = (Tokens,)

    def __init__(
        self, config: Settings, data: DataSpec, loss: object = None, regularizers: Mapping[str, object] | None = None
    ) -> None:
        if loss is not None or regularizers:
            raise UserError("a language model is trained by the loss of its paper; leave --loss and --regularizer out")
        super().__init__(config, data, None, {})
        sample = self.scaled(data.sample)
        assert isinstance(sample, Tokens)
        self.sample = sample
        self.generator = LanguageModel(
            sample,
            embedding_dim=config.embedding_dim,
            hidden_dim=config.hidden_dim,
            layers=config.layers,
            temperature=config.temperature,
        )
        self.networks = {"generator": self.generator}
        self.optimizers = {"generator": config.optimizer.build(self.generator.parameters())}

    def prepare(self, batch: Batch) -> Batch:
        """Move a batch to the device; tokens stay whole numbers, since rows of a large vocabulary fill the memory."""
        return {name: tensor.to(self.device, non_blocking=True) for name, tensor in batch.items()}

    def likelihood_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the mean of minus the logarithm of a token's probability, in nats."""
        real = batch[self.data.sample.name]
        count = whole_batch(self.generator.counted(real).sum()[None]).mean()  # of a process, in the mean
        return {"loss": -self.generator.log_likelihood(real).sum() / count}
