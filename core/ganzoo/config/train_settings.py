"""The settings of every training, whatever the GAN."""

from __future__ import annotations

from collections.abc import Mapping
from math import cos, pi
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ganzoo.config.validation import validate
from ganzoo.gan.schedules import ScheduleConfig

__all__ = ["HalfLife", "Source", "TrainSettings"]


class Source(BaseModel):
    """Where the weights of a training come from that does not start from random ones."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, description="a run, zoo:NAME, or a file")
    format: str = Field("", description="of a file of another program: what it was imported as")
    sha256: str = Field("", description="of the weights, when they were read; empty: whatever they are now")
    step: int = Field(0, ge=0, description="how far they were trained")
    license: str = Field("", description="the license of the weights, if one is known")


class HalfLife(BaseModel):
    """How fast averaged weights forget, in images: the form in which StyleGAN2 and R3GAN state it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    halflife: float = Field(gt=0, description="images of training in which the average forgets half of what it held")
    rampup: float | None = Field(None, gt=0, description="the half-life is at most this share of the images so far")
    burn_in: int = Field(
        0, ge=0, description="images in which the half-life rises from 0, along half a cosine (arXiv:2501.05441)"
    )

    def decay(self, images: int, seen: int | None) -> float:
        """Return the decay of a step of so many images, after those that were seen before (arXiv:2006.06676).

        Without those it is not ramped up.
        """
        halflife = self.halflife
        if self.rampup is not None and seen is not None:
            halflife = min(halflife, self.rampup * seen)
        if seen is not None and seen < self.burn_in:
            halflife *= (1 - cos(pi * seen / self.burn_in)) / 2
        return float(0.5 ** (images / max(halflife, 1e-8)))


class TrainSettings(BaseModel):
    """The settings of every training, whatever the GAN."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(10_000, ge=1, le=10**15, description="generator steps")
    batch_size: int = Field(64, ge=1, le=2**24, description="samples a phase sees at once")
    seed: int = Field(0, ge=0, lt=2**63, description="decides weights, latents and the order of the data")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, mps ...")
    threads: int | None = Field(None, ge=1, le=4096, description="CPU threads; left out: torch's choice")
    workers: int = Field(2, ge=0, le=1024, description="processes that read a data set too large for memory")
    precision: Literal["auto", "fp32", "tf32", "bf16"] = Field(
        "auto", description="fp32; tf32: coarser products on CUDA; bf16: mixed precision; auto: by the processor"
    )
    capture: Literal["auto"] | bool = Field(
        "auto", description="phases as CUDA graphs; auto: on CUDA; false: never; true: refuse another device"
    )
    sync_batch_norm: bool = Field(
        True, description="several processes: statistics of batch norm over the whole batch, not over each one's part"
    )
    shard: bool = Field(
        False, description="several processes: each keeps a part of all weights (FSDP); for losses without penalties"
    )
    deterministic: bool = Field(False, description="the same result to the bit each time, on CUDA too; slower")
    accumulate: int = Field(1, ge=1, description="batches whose gradients are averaged into one optimizer step")
    clip_grad: float | None = Field(None, gt=0, description="largest norm of a phase's gradient")
    ema: Annotated[float, Field(ge=0, lt=1)] | HalfLife = Field(
        0.999,
        description="decay a step of the averaged weights that samples are drawn with; or a table of halflife and, if "
        "it is ramped up, rampup: the images that halve what it remembers, at most this share of the images so far, or "
        "burn_in: the images in which it rises from 0",
    )
    lr_schedule: ScheduleConfig = Field(
        ScheduleConfig(), description="how the learning rate changes over the run; 'ganzoo list schedule' shows how"
    )
    lr_warmup: int = Field(0, ge=0, description="steps in which the learning rate rises to its full value")
    lr_unit: Literal["steps", "images"] = Field(
        "steps", description="what lr_schedule and lr_warmup count: steps, or images (batch_size times accumulate each)"
    )
    lr_plateau: int | None = Field(
        None, ge=1, description="evaluations without a better figure of keep_best after which learning rates fall"
    )
    lr_drop: float = Field(
        0.5, gt=0, lt=1, description="what learning rates are multiplied by at a plateau, and where rewind goes back"
    )
    rewind: int = Field(
        0,
        ge=0,
        le=1000,
        description="how often a training that diverges goes back to its last checkpoint, at lower rates",
    )
    source: Source | None = Field(None, description="what the weights start from; --from names it")
    freeze_discriminator: int = Field(
        0, ge=0, description="layers of each discriminator, from the image on, that do not learn (FreezeD)"
    )
    log_every: int = Field(50, ge=1, description="steps between lines of metrics.jsonl")
    sample_every: int = Field(500, ge=1, description="steps between sample grids and metrics")
    checkpoint_every: int = Field(500, ge=1, description="steps between checkpoints")
    keep_checkpoints: int = Field(2, ge=1, description="how many checkpoints are kept")
    keep_best: str | None = Field(
        None, min_length=1, description="a metric, or one of its figures: the checkpoint that is best by it is kept too"
    )
    stop_after: int | None = Field(
        None, ge=1, description="evaluations without a better figure of keep_best after which the training ends"
    )

    @field_validator("ema", mode="before")
    @classmethod
    def _of_a_table(cls, value: Any) -> Any:
        return validate(HalfLife, "ema", value) if isinstance(value, Mapping) else value

    def ema_decay(self, step: int) -> float:
        """Return the decay of the averaged weights in a step, from 0."""
        # A fine-tuning starts from an average that is worth keeping: nothing rises there.
        if isinstance(self.ema, HalfLife):
            images = self.batch_size * self.accumulate
            return self.ema.decay(images, None if self.source else step * images)
        if self.source:
            return self.ema
        # Warm-up: with the full decay from the first step, the random initial weights would stay in the average for
        # thousands of steps (0.999 forgets half of them in 700), and early samples would be noise.
        return min(self.ema, (2 + step) / (11 + step))
