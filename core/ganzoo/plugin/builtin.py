"""What the core itself offers: commands and kinds of fields. The registry loads this first, whatever is installed."""

from typing import Any

from ganzoo.plugin.hooks import hookimpl
from ganzoo.plugin.spec import Spec

_COMMANDS = {
    "train": ("Train a GAN into a new run folder, or go on with one", "ganzoo.cli.train:train"),
    "sample": ("Draw samples from a trained model", "ganzoo.cli.sample:sample"),
    "translate": ("Translate images, or fill the holes in them", "ganzoo.cli.translate:translate"),
    "encode": ("Find the latents that a generator draws images from", "ganzoo.cli.encode:encode"),
    "import": ("Make a run of published weights, of which nothing is run", "ganzoo.cli.import_:import_"),
    "eval": ("Evaluate a trained model: its samples beside as many real ones", "ganzoo.cli.evaluate:eval_"),
    "compare": ("Show runs side by side: settings, losses and figures", "ganzoo.cli.evaluate:compare"),
    "report": ("Write runs into one HTML file that opens offline", "ganzoo.cli.evaluate:report"),
    "sweep": ("Train a model with many settings, a run each, and show which was the best", "ganzoo.cli.sweep:sweep"),
    "push": ("Share a trained model: a folder, an archive, a URL, the Hugging Face Hub", "ganzoo.cli.share:push"),
    "pull": ("Fetch a shared model, which zoo:USER/NAME opens then", "ganzoo.cli.share:pull"),
    "list": ("List what the installed plugins offer", "ganzoo.cli.inspect:list_"),
    "info": ("Show a model, loss or data set: paper, settings, defaults", "ganzoo.cli.inspect:info"),
    "plugins": ("List the installed plugins, and why one was not loaded", "ganzoo.cli.inspect:plugins"),
    "check": ("Run the conformance checks on what a plugin offers", "ganzoo.cli.inspect:check"),
    "new": ("Write a package of a plugin, to start one of your own", "ganzoo.cli.new:new"),
    "doctor": ("Tell what is installed, what it runs on, and what is wrong", "ganzoo.cli.inspect:doctor"),
}

_FIELDS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "latent": ("A random code, normal or uniform", "Latent", {"shape": (4,)}),
    "truncation": ("How much of the styles comes from the latent", "Truncation", {"layers": 4}),
    "styles": ("Styles for the layers of a style-based generator", "Styles", {"layers": 4, "dim": 3}),
    "label": ("A class, with names", "Label", {"classes": 3}),
    "attributes": ("A vector that describes a sample, with names", "Attributes", {"dim": 3}),
    "image": ("An image with values in a range", "Image", {"channels": 3, "height": 8, "width": 12, "range": (0, 255)}),
    "mask": ("Which pixels of an image are missing", "Mask", {"height": 8, "width": 12}),
    "points": ("A point of the plane, or of a space of more dimensions", "Points", {"dim": 2}),
    "sequence": ("Channels over time, with values in a range", "Sequence", {"channels": 2, "length": 16}),
    "tokens": ("Symbols of a vocabulary, with texts", "Tokens", {"length": 6, "vocabulary": 5}),
    "table": ("A row of numbers and categories", "Table", {"columns": ({"name": "a", "range": (0, 1)},)}),
    "scores": ("What a discriminator returns", "Scores", {}),
}


@hookimpl
def ganzoo_specs() -> list[Spec]:
    """Return the specs of the core's commands and fields."""
    return [
        *(Spec("command", key, summary, target) for key, (summary, target) in _COMMANDS.items()),
        *(
            Spec("field", key, summary, f"ganzoo.fields:{name}", defaults=arguments)
            for key, (summary, name, arguments) in _FIELDS.items()
        ),
    ]
