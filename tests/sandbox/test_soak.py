"""The soak in small: the same code that runs a hundred thousand programs, and its parts."""

from __future__ import annotations

import os
from pathlib import Path

import anyio
import pytest

from azr.config import SandboxSection
from azr.sandbox.in_order import in_order
from azr.sandbox.soak import SoakPlan, SoakReport, soak
from azr.sandbox.soak.growth import descendants, holdings
from azr.sandbox.soak.programs import DEFAULT_ROWS, random_program

LIMITS = SandboxSection(workers=1, wall_seconds=2.0, cpu_seconds=1, memory_mib=256)


def test_a_program_depends_on_its_seed_and_number_alone() -> None:
    made = [random_program(3, n, DEFAULT_ROWS) for n in range(300)]
    assert made == [random_program(3, n, DEFAULT_ROWS) for n in range(300)]
    assert made != [random_program(4, n, DEFAULT_ROWS) for n in range(300)]
    assert {program.kind for program in made} == {"generated", "mutated", "bytes"}


async def test_random_programs_do_no_harm() -> None:
    before = {*descendants(os.getpid())}  # other tests keep processes for the session
    told: list[int] = []
    report = await soak(LIMITS, SoakPlan(programs=600, seed=5), told.append)
    assert report.sound, report
    assert report.canaries == 60
    assert sum(report.verdicts.values()) == 540
    assert {"ok", "syntax_error", "runtime_error", "banned_import"} <= report.verdicts.keys()
    assert told == list(range(1, 601))
    assert _growth(report, "host_descriptors") <= 1
    assert _growth(report, "processes") <= 1
    assert await left_behind(before) == []


async def test_killed_processes_cost_no_verdict() -> None:
    before = {*descendants(os.getpid())}
    plan = SoakPlan(programs=60, seed=6, kills_per_second=1.0)
    report = await soak(LIMITS, plan, list[int]().append)
    assert report.sound, report
    assert await left_behind(before) == []


def test_what_is_held_is_seen() -> None:
    before = holdings()
    ends = os.pipe()
    assert holdings().host_descriptors == before.host_descriptors + 2
    for end in ends:
        os.close(end)
    assert before.host_memory_mib > 1


async def test_answers_come_in_the_order_of_questions_and_few_are_held() -> None:
    held: set[int] = set()
    told: list[int] = []
    gate = anyio.Event()

    async def ask(number: int) -> int:
        held.add(number)
        if number == 0:
            await gate.wait()
        return number

    def questions():
        for number in range(50):
            assert number - len(told) <= 8
            if number == 8:
                gate.set()
            yield number

    async def tell_all() -> None:
        await in_order(questions(), ask, told.append, at_once=8)

    await tell_all()
    assert told == list(range(50))
    assert held == set(range(50))


async def test_a_question_that_fails_ends_all() -> None:
    async def ask(number: int) -> int:
        if number == 3:
            raise KeyError(number)
        return number

    with pytest.raises(ExceptionGroup) as caught:
        await in_order(range(9), ask, list[int]().append, at_once=2)
    assert caught.group_contains(KeyError)


async def left_behind(before: set[int]) -> list[str]:
    """Processes below this one that are new and do not end by themselves, told in words."""
    with anyio.move_on_after(10):
        while {*descendants(os.getpid())} - before:  # noqa: ASYNC110 -- others tell nobody
            await anyio.sleep(0.05)
    return [_description(pid) for pid in {*descendants(os.getpid())} - before]


def _description(pid: int) -> str:
    """Its parent, its state and what it runs."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()[:120]
    except OSError:
        return f"{pid}: gone meanwhile"
    return f"{pid} below {status[1]}, state {status[0]}: {words}"


def _growth(report: SoakReport, number: str) -> float:
    assert report.first_tenth is not None
    assert report.last_tenth is not None
    return getattr(report.last_tenth, number) - getattr(report.first_tenth, number)
