"""The two image fields that translation models require of their data."""

from ganzoo import Image, Trainer, UserError

__all__ = ["two_domains"]


def two_domains(trainer: Trainer, *, paired: bool = False) -> dict[str, Image]:
    """Return the image fields ``a`` and ``b`` of the trainer's data, in its range of pixels.

    Raises :class:`~ganzoo.UserError` if the data has other fields or sizes, or no pairs where they are needed.
    """
    data = trainer.data
    fields = {name: trainer.scaled(data[name]) for name in ("a", "b") if name in data}
    images = {name: field for name, field in fields.items() if isinstance(field, Image)}
    if len(images) < 2:
        raise UserError(
            f"this model translates between two domains, and {data.name} has one; name other data, such as --data "
            "unpaired --set data.a=FOLDER --set data.b=FOLDER"
        )
    if (images["a"].height, images["a"].width) != (images["b"].height, images["b"].width):
        raise UserError("this model translates between domains of one size; resize them with --set data.size=64")
    if paired and not data.paired:
        raise UserError(f"this model learns from pairs, and {data.name} has none; take --data paired, or cyclegan")
    return images
