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

    async def hold[T](
        manager: AbstractAsyncContextManager[T], opened: list[T], ready: anyio.Event
    ) -> None:
        async with manager as part:
            opened.append(part)
            ready.set()
            await closing.wait()

    ready = [anyio.Event() for _ in range(3)]
    firsts: list[A] = []
    seconds: list[B] = []
    thirds: list[C] = []
    async with anyio.create_task_group() as holders:
        holders.start_soon(hold, first, firsts, ready[0])
        holders.start_soon(hold, second, seconds, ready[1])
        holders.start_soon(hold, third, thirds, ready[2])
        for event in ready:
            await event.wait()
        try:
            yield firsts[0], seconds[0], thirds[0]
        finally:
            closing.set()
