"""Opening several parts at once: start-up is imports, and there is more than one core."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import anyio


@asynccontextmanager
async def opened_together[A, B, C](
    first: AbstractAsyncContextManager[A],
    second: AbstractAsyncContextManager[B],
    third: AbstractAsyncContextManager[C],
) -> AsyncGenerator[tuple[A, B, C]]:
    """Enter three context managers concurrently; leave them when the block ends.

    Each lives in a task of its own, because what it opens (task groups, deadlines)
    must be left by the task that entered it. If one cannot be opened, the others are
    closed and its error is raised in an exception group.
    """
    closing = anyio.Event()

    async def hold[T](manager: AbstractAsyncContextManager[T], opened: list[T]) -> None:
        async with manager as part:
            opened.append(part)
            ready[manager].set()
            await closing.wait()

    ready = {manager: anyio.Event() for manager in (first, second, third)}
    firsts: list[A] = []
    seconds: list[B] = []
    thirds: list[C] = []
    async with anyio.create_task_group() as holders:
        holders.start_soon(hold, first, firsts)
        holders.start_soon(hold, second, seconds)
        holders.start_soon(hold, third, thirds)
        for event in ready.values():
            await event.wait()
        try:
            yield firsts[0], seconds[0], thirds[0]
        finally:
            closing.set()
