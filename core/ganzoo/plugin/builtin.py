"""What the core itself offers: its commands. The registry loads this first, whatever is installed."""

from ganzoo.plugin.hooks import hookimpl
from ganzoo.plugin.spec import Spec

_COMMANDS = {
    "train": ("Train a GAN into a new run folder, or go on with one", "ganzoo.cli.train:train"),
    "sample": ("Draw samples from a trained model", "ganzoo.cli.sample:sample"),
    "translate": ("Translate images, or fill the holes in them", "ganzoo.cli.translate:translate"),
    "encode": ("Find the latents that a generator draws images from", "ganzoo.cli.encode:encode"),
    "eval": ("Evaluate a trained model: its samples beside as many real ones", "ganzoo.cli.evaluate:eval_"),
    "compare": ("Show runs side by side: settings, losses and figures", "ganzoo.cli.evaluate:compare"),
    "list": ("List what the installed plugins offer", "ganzoo.cli.inspect:list_"),
    "info": ("Show a model, loss or data set: paper, settings, defaults", "ganzoo.cli.inspect:info"),
    "plugins": ("List the installed plugins, and why one was not loaded", "ganzoo.cli.inspect:plugins"),
    "check": ("Run the conformance checks on what a plugin offers", "ganzoo.cli.inspect:check"),
    "new": ("Write a package of a plugin, to start one of your own", "ganzoo.cli.new:new"),
    "doctor": ("Tell what is installed, what it runs on, and what is wrong", "ganzoo.cli.inspect:doctor"),
}


@hookimpl
def ganzoo_specs() -> list[Spec]:
    """Return the specs of the core's commands."""
    return [Spec("command", key, summary, target) for key, (summary, target) in _COMMANDS.items()]
