"""What requests from outside may cost a run, and how that is counted."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from dataclasses import dataclass

import anyio
import anyio.lowlevel
import pytest

from azr.serve.allowance import Allowance, Reading
from azr.serve.metered import metered


@dataclass(eq=False)
class Node:
    """A node that does what a test says, with so many requests of its run in its replica."""

    runs: int = 3
    others: int = 0
    seconds: float = 0.0
    request_seconds: float = 0.0

    def __call__(self) -> Reading:
        in_flight = self.runs + self.others
        return Reading(self.seconds, self.seconds, self.request_seconds, in_flight)

    def work(self, seconds: float) -> None:
        """All of them are in the replica for so long, and so is the processor at work."""
        self.seconds += seconds
        self.request_seconds += seconds * (self.runs + self.others)


@contextmanager
def asking(allowance: Allowance, node: Node, *, sequences: int = 1) -> Generator[None]:
    """A request that is in the replica."""
    with allowance.sampling(sequences):
        node.others += 1
        yield
        node.others -= 1


def test_a_run_alone_costs_requests_nothing():
    node = Node()
    allowance = Allowance(0.25, node)
    node.work(1)
    assert allowance.cost == 0


def test_requests_cost_their_part_of_the_sequences_in_the_replica():
    node = Node(runs=3)
    allowance = Allowance(0.25, node)
    with asking(allowance, node):
        node.work(1)
        assert allowance.cost == pytest.approx(1 / 4)
    with asking(allowance, node, sequences=3):
        node.work(1000)
        assert allowance.cost == pytest.approx(3 / 6)


def test_handling_costs_beside_sequences():
    node = Node(runs=3)
    allowance = Allowance(0.5, node)
    with asking(allowance, node):
        node.work(1)
        assert allowance.cost == pytest.approx(1 / 4)
        allowance.handled(0.2)
        assert allowance.cost == pytest.approx(0.2 + 0.8 / 4)


async def enter(allowance: Allowance, entered: list[int], name: int) -> None:
    await allowance.admitted()
    entered.append(name)


async def test_who_costs_more_than_the_share_waits_until_the_run_has_played():
    node, entered = Node(runs=1), []
    allowance = Allowance(0.25, node)
    with asking(allowance, node):
        node.work(1)
    async with anyio.create_task_group() as tasks:
        for name in (1, 2, 3):
            tasks.start_soon(enter, allowance, entered, name)
            await anyio.wait_all_tasks_blocked()
        assert allowance.cost == pytest.approx(0.5)
        assert not entered
        node.work(10)
    assert entered == [1, 2, 3]


async def test_nobody_waits_while_nothing_of_the_run_is_sampled():
    node, entered = Node(runs=1), []
    allowance = Allowance(0.25, node)
    with asking(allowance, node):
        node.work(1)
        node.runs = 0
        await enter(allowance, entered, 1)
    assert entered == [1]


async def test_a_replica_of_its_own_lets_everybody_in():
    node, entered = Node(runs=1), []
    allowance = Allowance(1.0, node)
    with asking(allowance, node, sequences=100):
        node.work(1)
        await enter(allowance, entered, 1)
    assert entered == [1]


class Steps:
    """A clock on which every step of work takes a second."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        self.seconds += 0.5
        return self.seconds


async def work(*, fails: bool = False) -> str:
    await anyio.lowlevel.checkpoint()
    if fails:
        raise KeyError("no")
    return "done"


async def test_a_metered_task_is_counted_by_its_steps():
    seconds: list[float] = []
    assert await metered(work(), seconds.append, Steps()) == "done"
    assert len(seconds) > 1
    assert set(seconds) == {0.5}


async def test_a_metered_task_fails_as_itself():
    seconds: list[float] = []
    with pytest.raises(KeyError, match="no"):
        await metered(work(fails=True), seconds.append)
    assert seconds


async def test_a_metered_task_hears_of_its_cancellation():
    heard: list[bool] = []

    async def waiting() -> None:
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            heard.append(True)
            raise

    with anyio.move_on_after(0) as scope:
        await metered(waiting(), lambda _: None)
    assert scope.cancelled_caught
    assert heard == [True]


async def test_the_pieces_of_a_stream_are_metered_one_by_one():
    async def pieces() -> AsyncGenerator[int]:
        for number in range(3):
            await anyio.lowlevel.checkpoint()
            yield number

    stream, found = pieces(), []
    while (piece := await metered(anext(stream, None), lambda _: None)) is not None:
        found.append(piece)
    assert found == [0, 1, 2]
