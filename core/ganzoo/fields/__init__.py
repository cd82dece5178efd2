"""Fields describe a network's inputs and output as data: one module for each kind of field, and the signature.

Sampling, ONNX export, the runtime, the commands and the conformance kit read the signature and know no network by
name, and ask a field what only its kind knows: how it is drawn, held, checked, shown and stored. Shapes are without the
batch dimension, images are NCHW, and everything that a network takes or returns is float32 except labels, which are
int64.
"""

from ganzoo.fields.attributes import Attributes
from ganzoo.fields.base import Field
from ganzoo.fields.image import Image, Mask
from ganzoo.fields.label import Label
from ganzoo.fields.latent import Latent
from ganzoo.fields.points import Points
from ganzoo.fields.scores import Scores
from ganzoo.fields.sequence import Sequence
from ganzoo.fields.signature import Signature, field_from_json
from ganzoo.fields.styles import Styles, Truncation
from ganzoo.fields.table import Column, Table
from ganzoo.fields.tokens import Tokens

__all__ = [
    "Attributes",
    "Column",
    "Field",
    "Image",
    "Label",
    "Latent",
    "Mask",
    "Points",
    "Scores",
    "Sequence",
    "Signature",
    "Styles",
    "Table",
    "Tokens",
    "Truncation",
    "field_from_json",
]
