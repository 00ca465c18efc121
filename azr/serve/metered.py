"""How long this thread works for somebody, as opposed to waiting for others."""

from __future__ import annotations

import time
import types
from collections.abc import Awaitable, Callable, Generator
from typing import Any


@types.coroutine
def metered[T](
    work: Awaitable[T],
    note: Callable[[float], None],
    clock: Callable[[], float] = time.thread_time,
) -> Generator[Any, Any, T]:
    """Await `work`; `note` hears the seconds of each step that it takes.

    Tasks and threads that it starts are not counted. Raises what it raises.
    """
    steps: Any = work.__await__()
    advance: Any = steps.send
    argument: Any = None
    while True:
        began = clock()
        try:
            waits_for = advance(argument)
        except StopIteration as end:
            return end.value
        finally:
            note(clock() - began)
        try:
            argument = yield waits_for
            advance = steps.send
        except BaseException as error:  # noqa: BLE001 -- a cancellation for one: it is the work's
            advance, argument = steps.throw, error
