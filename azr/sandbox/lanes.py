"""Bounded queues beside each other, served in turn: a flood in one never starves another."""

from __future__ import annotations

from collections import deque
from enum import StrEnum

import anyio


class Lane(StrEnum):
    """Why a job waits."""

    VALIDATION = "validation"
    """To find out whether a proposed task is one."""
    GRADING = "grading"
    """To find out whether an answer is right."""


class Lanes[T]:
    """The jobs that wait for one kind of jail; a full lane makes its own callers wait."""

    def __init__(self, capacity: int) -> None:
        """`capacity`: jobs that may wait in each lane. Call it inside the event loop."""
        self._waiting: dict[Lane, deque[T]] = {lane: deque() for lane in Lane}
        self._room = {lane: anyio.Semaphore(capacity, fast_acquire=True) for lane in Lane}
        self._available = anyio.Semaphore(0, fast_acquire=True)
        self._turn: deque[Lane] = deque(Lane)
        self._closed = False

    def waiting(self, lane: Lane) -> int:
        return len(self._waiting[lane])

    async def put(self, item: T, lane: Lane) -> None:
        """Queue an item once there is room; anyio.ClosedResourceError after `close`."""
        await self._room[lane].acquire()
        if self._closed:
            self._room[lane].release()  # the next that waits for room is told, too
            raise anyio.ClosedResourceError
        self._waiting[lane].append(item)
        self._available.release()

    async def get(self) -> T:
        """The oldest item of the lane whose turn it is; lanes that are empty miss theirs."""
        await self._available.acquire()
        lane = next(lane for lane in self._turn if self._waiting[lane])
        self._turn.remove(lane)
        self._turn.append(lane)
        self._room[lane].release()
        return self._waiting[lane].popleft()

    def close(self) -> list[T]:
        """Refuse what comes; what was still waiting is handed back."""
        self._closed = True
        left = [item for waiting in self._waiting.values() for item in waiting]
        for lane, waiting in self._waiting.items():
            waiting.clear()
            self._room[lane].release()
        return left
