"""Fields describe a network's inputs and output as data: one module for each kind of field, and the signature.

Sampling, ONNX export, the runtime, the commands and the conformance kit read the signature and know no network by
name. Shapes are without the batch dimension, images are NCHW, and everything is float32 except labels, which are int64.
"""

from ganzoo.fields.attributes import Attributes
from ganzoo.fields.base import Field
from ganzoo.fields.image import Image, Mask
from ganzoo.fields.label import Label
from ganzoo.fields.latent import Latent
from ganzoo.fields.points import Points
from ganzoo.fields.scores import Scores
from ganzoo.fields.signature import Signature, field_from_json

__all__ = [
    "Attributes",
    "Field",
    "Image",
    "Label",
    "Latent",
    "Mask",
    "Points",
    "Scores",
    "Signature",
    "field_from_json",
]
