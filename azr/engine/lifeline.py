"""Ends every wait of a replica at once when there is nothing left to wait for.

A call into an engine that has died is never answered (vLLM leaves its callers
waiting), so each runs inside a `Lifeline`, which cancels it and raises instead.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import anyio

from azr.errors import AzrError


class Lifeline:
    """A group of waits that fail together."""

    def __init__(self) -> None:
        self._waits: dict[anyio.CancelScope, AzrError | None] = {}
        self._cause: AzrError | None = None

    @property
    def cause(self) -> AzrError | None:
        """Why everything fails from now on, or None."""
        return self._cause

    def cut(self, cause: AzrError) -> None:
        """Fail every wait, present and future. The first cause stays."""
        self._cause = self._cause or cause
        self.interrupt(self._cause)

    def interrupt(self, cause: AzrError) -> None:
        """Fail the present waits only."""
        for scope in self._waits:
            self._waits[scope] = cause
            scope.cancel()

    @contextmanager
    def bounded(self, seconds: float, late: AzrError) -> Generator[None]:
        """Run the body for at most `seconds`.

        Raises:
            AzrError: the cause if the line was cut or interrupted, `late` at the deadline.
        """
        if self._cause is not None:
            raise self._cause
        with anyio.move_on_after(seconds) as scope:
            self._waits[scope] = None
            try:
                yield
            finally:
                cause = self._waits.pop(scope)
        if scope.cancelled_caught:
            raise cause or late
