"""Waiting, in an event loop, for what one of the store's threads does."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future

import anyio


async def shielded[T](future: Future[T]) -> T:
    """The result of a thread's work, waited for even by a cancelled caller."""
    result = asyncio.wrap_future(future)
    with anyio.CancelScope(shield=True):
        await asyncio.wait([result])
    return result.result()
