"""Structured fan-out that keeps errors plain."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

import anyio

from azr.errors import AzrError


async def concurrently[Item, Result](
    work: Callable[[Item], Awaitable[Result]], items: Iterable[Item]
) -> list[Result]:
    """`[await work(item) for item in items]`, all at once.

    The first AzrError cancels the others and is raised as itself, not in a group.
    """
    results: dict[int, Result] = {}
    failures: list[AzrError] = []

    async def run(index: int, item: Item) -> None:
        try:
            results[index] = await work(item)
        except AzrError as error:
            failures.append(error)
            tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        for index, item in enumerate(items):
            tasks.start_soon(run, index, item)
    if failures:
        raise failures[0]
    return [results[index] for index in range(len(results))]
