"""Whether a replica's weights may serve: open, being proved, or closed.

Nothing sampled from unproved weights leaves a replica. While they are being
proved it keeps generating (the proof takes milliseconds), but holds what it
finished; if the proof fails it serves nothing until a later one succeeds.
"""

from __future__ import annotations

from enum import StrEnum

import anyio


class Eligibility(StrEnum):
    """May this replica serve?"""

    OPEN = "open"
    PROVING = "proving"
    """New weights are in service but not yet proved: results are held back."""
    CLOSED = "closed"
    """The last proof failed: nothing is sampled, nothing is returned."""


class Gate:
    """Holds callers back according to the replica's eligibility."""

    def __init__(self) -> None:
        self._state = Eligibility.OPEN
        self._changed = anyio.Event()

    @property
    def state(self) -> Eligibility:
        return self._state

    def move(self, state: Eligibility) -> None:
        """Change the state and wake whoever waits for it."""
        self._state = state
        self._changed.set()
        self._changed = anyio.Event()

    async def admitted(self) -> None:
        """Wait until sampling may start."""
        while self._state is Eligibility.CLOSED:
            await self._changed.wait()

    async def settled(self) -> None:
        """Wait until results may leave."""
        while self._state is not Eligibility.OPEN:
            await self._changed.wait()
