"""The bench compares like with like: same programs, same answers, taking turns."""

from __future__ import annotations

from contextlib import closing

import pytest

from azr import values
from azr.config import SandboxSection
from azr.errors import InputError, SandboxError
from azr.sandbox import Request, SandboxPool
from azr.sandbox.bench import figures, measure
from azr.sandbox.bench.measure import NAMES, Measured, Way, take_turns
from azr.sandbox.bench.programs import INPUTS_PER_JOB, SAMPLES, BenchProgram, chosen, read_seeds
from azr.sandbox.bench.rivals import FRESH_PROCESS, REUSED_PROCESS, run_in_fresh_jail, started
from azr.sandbox.bench.scaling import Scaling
from azr.sandbox.jail import JailStarter
from azr.sandbox.rootfs import prepare_root
from azr.types import Outcome, Verdict

COUNTING = "import math\ndef f(a):\n    math.calls = getattr(math, 'calls', 0) + 1\n"
COUNTING += "    return [a, math.calls]"
OK = Outcome(Verdict.OK, values.from_python(1))


def counting(*calls: str) -> Request:
    return Request(program=COUNTING, calls=calls, policy=False)


async def test_every_sample_is_chosen_and_returns_what_is_recorded(pool: SandboxPool) -> None:
    rows = read_seeds(SAMPLES)
    for row in rows:
        recorded = await pool.parse_literals(row.outputs)
        assert await pool.validate(row.program, row.inputs) == recorded
    programs = await chosen(pool, rows)
    assert {program.source for program in programs} == {row.program for row in rows}
    assert {len(program.inputs) for program in programs} == {INPUTS_PER_JOB}


async def test_what_does_not_validate_is_not_chosen(pool: SandboxPool) -> None:
    (good, *_) = read_seeds(SAMPLES)
    bad = type(good)("def f(a):\n    return id(a)", ("1",), ("1",))
    assert [program.source for program in await chosen(pool, [bad, good])] == [good.program]
    with pytest.raises(InputError, match="none of the programs"):
        await chosen(pool, [bad])


async def test_the_rivals_execute_the_same_and_only_the_reused_process_keeps_state(
    limits: SandboxSection,
) -> None:
    root = prepare_root()
    first = (Outcome(Verdict.OK, values.from_python([7, 1])),)
    second = (Outcome(Verdict.OK, values.from_python([7, 2])),)
    async with started(root, limits) as warm:
        assert [await warm.call(counting("7")) for _ in range(2)] == [first, first]
        assert await warm.call(Request(calls=())) == ()
    async with started(root, limits, main=REUSED_PROCESS) as reused:
        assert [await reused.call(counting("7")) for _ in range(2)] == [first, second]
    with closing(JailStarter(root, limits, main=FRESH_PROCESS)) as starter:
        assert [await run_in_fresh_jail(starter, counting("7")) for _ in range(2)] == [first] * 2


async def test_ways_take_turns() -> None:
    turns: list[str] = []
    rounds: list[int] = []

    def way(name: str, runs: int) -> Way:
        async def execute(program: BenchProgram) -> tuple[Outcome, ...]:
            if turns[-1:] != [name]:
                turns.append(name)
            assert program.source == "p"
            return (OK,) * runs

        return Way(name, runs, execute)

    measured = await take_turns(
        [way("a", 1), way("b", 10)],
        [BenchProgram("p", ("1",))],
        rounds=3,
        turn_seconds=0.001,
        on_round=rounds.append,
    )
    assert turns == ["a", "b"] * 3
    assert rounds == [1, 2, 3]
    assert [len(each.executions_per_second) for each in measured] == [3, 3]
    assert all(len(each.latencies_seconds) >= 3 for each in measured)


async def test_an_execution_that_fails_is_no_measurement() -> None:
    async def execute(_: BenchProgram) -> tuple[Outcome, ...]:
        return (Outcome(Verdict.TIMEOUT, detail="wall"),)

    with pytest.raises(SandboxError, match="timeout wall"):
        await take_turns(
            [Way("a", 1, execute)], [BenchProgram("", ())], rounds=1, turn_seconds=0.001
        )


def test_ratios_are_of_the_same_round() -> None:
    rates = {name: [1.0, 1.0, 1.0] for name in NAMES}
    rates[measure.ONE_RUN] = [100.0, 50.0, 300.0]
    rates[measure.FRESH_JAIL] = [10.0, 2.0, 10.0]
    bench = figures.Bench(
        num_programs=1,
        rounds=3,
        turn_seconds=1.0,
        core=0,
        measured=[Measured(name, 1, found, [0.001, 0.002]) for name, found in rates.items()],
        scaling=[Scaling("jail", (1.0, 2.0, 3.0), (3.0, 3.0, 3.0))],
    )
    label, found, least = bench.ratios()[0]
    assert (label, found, least) == ("one run a job / one jail per program", [10, 25, 30], 12)
    shown = figures.table(bench)
    assert "25.00" in shown
    assert ">= 12" in shown
    assert "1.50" in shown
    assert all(name in shown for name in NAMES)


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_a_file_without_programs_is_refused(
    tmp_path_factory: pytest.TempPathFactory, content: str
) -> None:
    folder = tmp_path_factory.mktemp("seeds")
    (folder / "empty.jsonl").write_text(content)
    for path in (folder, folder / "empty.jsonl"):
        with pytest.raises(InputError, match="no programs"):
            read_seeds(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_seeds(folder / "absent.jsonl")
