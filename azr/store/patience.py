"""Waiting for a database server that is away: longer and longer, up to a deadline."""

from __future__ import annotations

import random
import time

FIRST_WAIT_SECONDS = 0.05
LONGEST_WAIT_SECONDS = 2.0


class Patience:
    """Counts from the first wait after the last success."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._deadline: float | None = None
        self._wait = FIRST_WAIT_SECONDS

    def wait(self) -> bool:
        """Sleep a little before another try; False, at once, when patience has run out."""
        now = time.monotonic()
        if self._deadline is None:
            self._deadline = now + self._seconds
        if now >= self._deadline:
            return False
        # Not all at the same moment: processes that waited for one server return at once.
        pause = self._wait * random.uniform(0.5, 1.0)  # noqa: S311
        time.sleep(min(pause, self._deadline - now))
        self._wait = min(2 * self._wait, LONGEST_WAIT_SECONDS)
        return True

    def renew(self) -> None:
        """It worked: the next trouble is a new one."""
        self._deadline, self._wait = None, FIRST_WAIT_SECONDS
