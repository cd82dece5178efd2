"""A training that stops at some steps, so that what it has learned until then can be evaluated."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor

import ganzoo
from ganzoo import Dataset, Run


def stops(
    steps: Sequence[int], model: str, data: Dataset | Tensor, **settings: Any
) -> Iterator[tuple[int, Run, float]]:
    """Train with the settings of :func:`ganzoo.train`; yield each step, the run, and its minutes of CPU time so far."""
    run, spent = None, 0.0
    for step in steps:
        started = time.process_time()
        if run is None:
            run = ganzoo.train(model, data=data, steps=step, quiet=True, **settings)
        else:
            ganzoo.train(resume=run, data=data, steps=step, quiet=True)
        spent += time.process_time() - started
        yield step, run, round(spent / 60, 2)


def fid(run: Run, data: Dataset | str, sets: Sequence[str] = ()) -> dict[str, float]:
    """Return the FID of 2,000 samples in the features of the data's own classifier, and that of as many real images."""
    extractor = "metric.fid.extractor=classifier"
    found = ganzoo.evaluate(run, metrics=["fid"], data=data, sets=[*sets, extractor], n=2000, quiet=True)
    (drawn,), (real,) = (
        [value for key, value in each.items() if key.startswith("fid")] for each in (found.figures, found.reference)
    )
    return {"fid": round(drawn, 3), "fid_real": round(real, 3)}
