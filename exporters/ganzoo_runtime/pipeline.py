"""Work on pieces, some of them ahead of whoever takes the results."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["pipelined"]

Drawn = TypeVar("Drawn")
Computed = TypeVar("Computed")


def pipelined(
    sizes: Iterable[int], draw: Callable[[int], Drawn], compute: Callable[[Drawn], Computed], abreast: int
) -> Iterator[Computed]:
    """Yield ``compute(draw(size))`` for all sizes in their order.

    One thread draws, in order, so that what is drawn does not depend on how threads are scheduled; ``abreast`` others
    compute. There is one piece more than these ahead of the caller, so that memory is constant, and each size is asked
    for when its turn comes. Whatever is raised ends the rest: what has begun is waited for, and nothing else.
    """
    rest, waiting = iter(sizes), deque[Future[Computed]]()
    with ThreadPoolExecutor(1) as pencil, ThreadPoolExecutor(abreast) as pool:
        try:
            while True:
                while len(waiting) <= abreast and (size := next(rest, 0)):
                    drawn = pencil.submit(draw, size)
                    waiting.append(pool.submit(lambda drawn: compute(drawn.result()), drawn))
                if not waiting:
                    return
                yield waiting.popleft().result()
        finally:
            for each in waiting:
                each.cancel()
