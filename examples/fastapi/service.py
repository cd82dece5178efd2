"""A web service that samples: requests that come together are computed together.

GANZOO_MODEL=generator.onnx uvicorn service:app

GET /samples.png and /samples.npz take n, seed, label and truncation; /model describes the model, /health says whether
it works.
"""

import asyncio
import io
import math
import os
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any

import numpy as np
from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from numpy.typing import NDArray

from ganzoo_runtime import Generator, encode_png, pixels

MOST = int(os.environ.get("GANZOO_MOST", "64"))  # samples a request may ask for, and samples computed at once
WAIT = float(os.environ.get("GANZOO_WAIT", "0.005"))  # seconds that a request waits for others to share a run with
QUEUE = int(os.environ.get("GANZOO_QUEUE", "256"))  # requests that wait; beyond that, requests get 503

Arrays = Sequence[NDArray[Any]]


class Batcher:
    """Runs the model on the inputs of several requests at once."""

    def __init__(self, generator: Generator) -> None:
        self.generator = generator
        self.queue: asyncio.Queue[tuple[Arrays, asyncio.Future[NDArray[Any]]]] = asyncio.Queue(QUEUE)
        self.requests = self.runs = 0

    async def __call__(self, inputs: Arrays) -> NDArray[Any]:
        """Return the samples of these inputs, [n, ...] each."""
        reply: asyncio.Future[NDArray[Any]] = asyncio.get_running_loop().create_future()
        try:
            self.queue.put_nowait((inputs, reply))
        except asyncio.QueueFull:
            raise HTTPException(503, "too many requests are waiting", {"Retry-After": "1"}) from None
        self.requests += 1
        return await reply

    async def run(self) -> None:
        """Serve until canceled."""
        late = None
        while True:
            batch = [late or await self.queue.get()]
            size, late = len(batch[0][0][0]), None
            deadline = asyncio.get_running_loop().time() + WAIT
            while size < MOST and late is None:
                try:
                    async with asyncio.timeout_at(deadline):
                        request = await self.queue.get()
                except TimeoutError:
                    break
                if size + len(request[0][0]) > MOST:
                    late = request  # the first of the next run
                else:
                    batch.append(request)
                    size += len(request[0][0])
            await self.compute(batch)

    async def compute(self, batch: list[tuple[Arrays, asyncio.Future[NDArray[Any]]]]) -> None:
        columns = [np.concatenate(column) for column in zip(*(inputs for inputs, _ in batch), strict=True)]
        self.runs += 1
        try:
            samples = await asyncio.to_thread(self.generator, *columns)
        except Exception as error:
            for _, reply in batch:
                if not reply.done():  # the client may have disconnected
                    reply.set_exception(HTTPException(500, str(error)))
            return
        ends = np.cumsum([len(inputs[0]) for inputs, _ in batch])
        for part, (_, reply) in zip(np.split(samples, ends[:-1]), batch, strict=True):
            if not reply.done():
                reply.set_result(part)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the model once, for all requests."""
    generator = Generator(os.environ["GANZOO_MODEL"])
    kinds = [field["kind"] for field in generator.signature["inputs"]]
    known = {"latent", "truncation", "styles", "label"}
    if set(kinds) - known or kinds.count("label") > 1 or generator.signature["output"]["kind"] != "image":
        raise RuntimeError("this example serves models that make images of latents and at most one label")
    app.state.batcher = Batcher(generator)
    worker = asyncio.create_task(app.state.batcher.run())
    yield
    worker.cancel()


app = FastAPI(title="ganzoo", lifespan=lifespan)


async def draw(
    request: Request,
    response: Response,
    n: Annotated[int, Query(ge=1, le=MOST)] = 1,
    seed: Annotated[int | None, Query(ge=0, lt=2**64)] = None,
    label: Annotated[int | None, Query(ge=0)] = None,
    truncation: Annotated[float | None, Query(gt=0, le=4)] = None,
) -> NDArray[np.uint8]:
    """The pixels of what was asked for, [n, H, W, C]; without a seed, other ones each time."""
    batcher: Batcher = request.app.state.batcher
    generator, seed = batcher.generator, secrets.randbits(32) if seed is None else seed
    response.headers["X-Seed"] = str(seed)  # so that the same can be asked for again
    fields = generator.signature["inputs"]
    classes = [field["classes"] for field in fields if field["kind"] == "label"]
    if label is not None and label >= max(classes, default=0):
        known = f"the classes 0 .. {classes[0] - 1}" if classes else "no classes"
        raise HTTPException(422, f"there is no class {label}: the model has {known}")
    labels = np.arange(n) if label is None else np.full(n, label)  # all in turn, or one
    inputs: list[NDArray[Any]] = []
    for field in fields:
        name, shape = field["name"], (n, *field["shape"])
        match field["kind"]:
            case "latent":
                inputs.append(generator.latents(n, seed, name, truncation=truncation))
            case "label":
                inputs.append(labels % field["classes"])
            case "truncation":  # of a style-based model, whose latents stay as they are
                inputs.append(np.full(shape, 1 if truncation is None else truncation, np.float32))
            case "styles":  # the mean of W
                mean = generator.metadata.get("latent_mean", {}).get(name, 0.0)
                inputs.append(np.broadcast_to(np.float32(mean), shape))
    output = generator.signature["output"]
    return pixels(await batcher(inputs), output["range"], output.get("layout", "NCHW"))


Pixels = Annotated[NDArray[np.uint8], Depends(draw)]


@app.get("/samples.png", response_class=Response)
async def as_png(images: Pixels, response: Response) -> Response:
    """The samples side by side in one PNG, as square as can be."""
    n, height, width, channels = images.shape
    columns = math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    grid = np.zeros((rows * columns, height, width, channels), np.uint8)
    grid[:n] = images
    grid = grid.reshape(rows, columns, height, width, channels).swapaxes(1, 2).reshape(rows * height, -1, channels)
    return Response(encode_png(grid), media_type="image/png", headers=dict(response.headers))


@app.get("/samples.npz", response_class=Response)
async def as_npz(images: Pixels, response: Response) -> Response:
    """The samples as ``images``, uint8 [n, H, W, C], in a NumPy archive."""
    file = io.BytesIO()
    np.savez_compressed(file, images=images)
    return Response(file.getvalue(), media_type="application/octet-stream", headers=dict(response.headers))


@app.get("/model")
async def model(request: Request) -> dict[str, Any]:
    """The document inside the model's file."""
    return dict(request.app.state.batcher.generator.metadata)


@app.get("/health")
async def health(request: Request) -> dict[str, Any]:
    """That it runs, on what, and how many requests it has put into how many runs of the model."""
    batcher: Batcher = request.app.state.batcher
    return {
        "status": "ok",
        "runs_on": batcher.generator.describe(),
        "waiting": batcher.queue.qsize(),
        "requests": batcher.requests,
        "runs": batcher.runs,
    }
