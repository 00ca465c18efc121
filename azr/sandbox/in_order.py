"""Many questions at once, their answers in the order in which they were asked."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

import anyio


@dataclass(eq=False, slots=True)
class _Slot[Question, Answer]:
    question: Question
    done: anyio.Event = field(default_factory=anyio.Event)
    answers: list[Answer] = field(default_factory=list)


async def in_order[Question, Answer](
    questions: Iterable[Question],
    ask: Callable[[Question], Awaitable[Answer]],
    tell: Callable[[Answer], None],
    *,
    at_once: int,
) -> None:
    """`tell` the answer to each question, in order; never more than `at_once` are held.

    The first question that cannot be asked cancels the others, and its error is raised.
    """
    window: deque[_Slot[Question, Answer]] = deque()

    async def answer(slot: _Slot[Question, Answer]) -> None:
        slot.answers.append(await ask(slot.question))
        slot.done.set()

    async def tell_oldest() -> None:
        slot = window.popleft()
        await slot.done.wait()
        tell(slot.answers[0])

    async with anyio.create_task_group() as asking:
        for question in questions:
            if len(window) >= at_once:
                await tell_oldest()
            window.append(_Slot(question))
            asking.start_soon(answer, window[-1])
        while window:
            await tell_oldest()
