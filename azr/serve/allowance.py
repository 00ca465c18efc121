"""What requests from outside may cost a node that also plays: a share of its processor time.

A share of the replica's slots alone does not bound that: handling a request costs as much as
sampling some dozens of tokens, however few it asks for. So a node counts what requests cost
it, the steps that its event loop takes for them and their part of everything else that the
process does, and lets nobody in while that is more than their share of the last seconds. Their
part is by sequences in the replica: each has a token of every step of the engine. While
nothing of the run is being sampled requests cost the run nothing, and all may enter.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

import anyio

from azr.engine.activity import Activity

WINDOW_SECONDS = 10.0
"""What was longer ago than this counts for less than a third."""
LOOK_SECONDS = 0.02
"""Between two looks of whoever is at the head of the queue."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A node at one moment."""

    at: float
    """Seconds of any clock."""
    cpu_seconds: float
    """Of the process, so far."""
    request_seconds: float
    """Of all requests in the replica, the run's and others, so far."""
    in_flight: int
    """Requests in the replica, the run's and others."""


class Allowance:
    """Lets requests in, first come, first served, while they cost no more than their share."""

    def __init__(self, share: float, look: Callable[[], Reading]) -> None:
        """`share` of 1 lets everybody in."""
        self.share = share
        self._look = look
        self._last = look()
        self._head = anyio.Lock()
        # Of the last seconds, what is longer ago counting less:
        self._cpu_seconds = self._handling_seconds = 0.0
        self._run_seconds = self._sequence_seconds = 0.0
        # Now:
        self._requests = self._sequences = 0

    async def admitted(self) -> None:
        """Wait until requests cost no more than their share."""
        async with self._head:
            while self._is_exceeded():  # noqa: ASYNC110 -- time that passes is no event
                await anyio.sleep(LOOK_SECONDS)

    @contextmanager
    def sampling(self, num_sequences: int) -> Generator[None]:
        """A request is in the replica while the block lasts."""
        self._change(1, num_sequences)
        try:
            yield
        finally:
            self._change(-1, -num_sequences)

    def handled(self, seconds: float) -> None:
        """The event loop worked so long for a request."""
        self._handling_seconds += seconds

    @property
    def cost(self) -> float:
        """The part of the node's processor time that requests had lately, 0 to 1."""
        self._bring_up_to_date()
        if self._cpu_seconds <= 0:
            return 0.0
        handling = min(1.0, self._handling_seconds / self._cpu_seconds)
        sampling = self._sequence_seconds + self._run_seconds
        part = self._sequence_seconds / sampling if sampling else 0.0
        return handling + (1 - handling) * part

    def _is_exceeded(self) -> bool:
        return self.share < 1 and self.cost > self.share and self._last.in_flight > self._requests

    def _change(self, requests: int, sequences: int) -> None:
        self._bring_up_to_date()
        self._requests += requests
        self._sequences += sequences

    def _bring_up_to_date(self) -> None:
        now, last = self._look(), self._last
        seconds = now.at - last.at
        of_all = now.request_seconds - last.request_seconds
        of_run = max(0.0, of_all - self._requests * seconds)
        kept = math.exp(-seconds / WINDOW_SECONDS)
        self._cpu_seconds = self._cpu_seconds * kept + now.cpu_seconds - last.cpu_seconds
        self._run_seconds = self._run_seconds * kept + of_run
        self._sequence_seconds = self._sequence_seconds * kept + self._sequences * seconds
        self._handling_seconds *= kept
        self._last = now


def look_at(activity: Activity) -> Callable[[], Reading]:
    """Readings of this process and the replica in it."""

    def look() -> Reading:
        return Reading(
            at=time.monotonic(),
            cpu_seconds=time.process_time(),
            request_seconds=activity.request_seconds,
            in_flight=activity.in_flight,
        )

    return look
