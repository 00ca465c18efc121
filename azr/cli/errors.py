"""Expected failures as two lines and exit code 2; anything else is a bug and shows itself."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager

from azr.errors import AzrError

EXIT_REFUSED = 2
"""What was asked cannot be done, for a reason that the user can change."""
EXIT_INTERRUPTED = 130
"""Stopped by Ctrl-C."""


@contextmanager
def exits_cleanly() -> Generator[None]:
    """Turn an `AzrError` into `error:` and `hint:` lines on stderr and exit code 2."""
    try:
        yield
    except AzrError as error:
        _refuse(error)
    except BaseExceptionGroup as group:
        # Task groups wrap what their children raise.
        expected, bugs = group.split(AzrError)
        if expected is None or bugs is not None:
            raise
        _refuse(_first_leaf(expected))


def _refuse(error: BaseException) -> None:
    hint = error.hint if isinstance(error, AzrError) else ""
    sys.stderr.write(f"error: {_one_line(str(error))}\nhint: {_one_line(hint)}\n")
    sys.exit(EXIT_REFUSED)


def _first_leaf(group: BaseExceptionGroup[AzrError]) -> BaseException:
    first: BaseException = group
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first


def _one_line(text: str) -> str:
    return " ".join(text.split())
