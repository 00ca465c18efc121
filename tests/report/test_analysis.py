"""Laws of the analysis: its numbers are those of the responses, on a store that holds them."""

from __future__ import annotations

import asyncio
import csv
import json
import statistics
from itertools import combinations
from pathlib import Path

import pytest

from azr.program_measures import cyclomatic_complexity, halstead, parsed
from azr.report import analysis_files, pages
from azr.report.analysis import Analysis, Sampling, analyse, pairs_that_differ
from azr.report.analysis_figures import ANALYSIS_PLOTS, analysis_tables
from azr.report.behaviours import load
from azr.report.figures import Plot
from azr.store import SqlStore
from azr.store.history import open_history
from azr.types import Cell, Example, Role, TaskDraft, TaskType, Value
from tests.store.store_play import OWNER, Player, completion, config

PNG = b"\x89PNG\r\n\x1a\n"
PLAYED = (TaskType.DEDUCTION, TaskType.ABDUCTION, TaskType.INDUCTION)
EACH = 3
"""Proposals of each type."""
PROGRAM = "def f(x):\n    # a plan\n    return x + {number} if x else [y for y in (x, x) if y]"
THOUGHT = "Wait. Let me verify this: step by step. Wait."
"""Backtracking twice, verification and steps once each."""


def task(task_type: TaskType, number: int) -> TaskDraft:
    """Programs of one shape; two of three have the same answer."""
    answer = Value(f'["int","{number % 2}"]')
    return TaskDraft(
        task_type=task_type,
        program=PROGRAM.format(number=number),
        examples=(Example(f"[{number},  {number}]", answer),),
        message="m" if task_type is TaskType.INDUCTION else "",
    )


async def play(url: str, thought: str) -> None:
    """One version; every response thinks the same."""
    async with SqlStore.open(url, run=config()) as store:
        player = Player(store)
        await player.seed()
        for task_type in PLAYED:
            for number in range(EACH):
                [admission] = await player.admit(task_type)
                rollout_id = await store.put_rollout(
                    admission, completion(text=f"{thought}</think># step 1")
                )
                assert await store.accept_proposal(rollout_id, task(task_type, number))
        for admission in await store.lease_attempts(owner=OWNER, at_most=1000):
            await player.judge(
                await store.put_rollout(admission, completion(text=f"{thought}</think>3"))
            )


def analysed(folder: Path, thought: str, sampling: Sampling | None = None) -> Analysis:
    url = f"sqlite:///{folder / 'azr.sqlite'}"
    asyncio.run(play(url, thought))
    with open_history(url) as history:
        return analyse(history, sampling)


@pytest.fixture(scope="module")
def analysis(tmp_path_factory: pytest.TempPathFactory) -> Analysis:
    return analysed(tmp_path_factory.mktemp("thinks"), THOUGHT)


@pytest.fixture(scope="module")
def thoughtless(tmp_path_factory: pytest.TempPathFactory) -> Analysis:
    return analysed(tmp_path_factory.mktemp("thoughtless"), " ", Sampling(per_cell=2, seed=3))


def empty() -> Analysis:
    """Of a run that has only begun."""
    kinds = load().kinds
    return Analysis(
        versions_per_point=1, per_cell=20, seed=0, kinds=kinds, lengths=(), programs=(),
        behaviours=(),
    )  # fmt: skip


def test_every_response_with_a_thought_is_counted_once_for_each_behaviour(analysis: Analysis):
    found = {(p.cell, p.behaviour): p for p in analysis.behaviours}
    assert len(found) == len(analysis.behaviours) == len(Role) * len(PLAYED) * len(analysis.kinds)
    num_matches = {"backtracking": 2, "verification": 1, "step_by_step": 1}
    for (cell, name), point in found.items():
        # Two attempts at each proposal.
        responses = EACH if cell.role is Role.PROPOSE else 2 * EACH
        matches = num_matches.get(name, 0)
        if name == "comments_as_plans":
            matches = int(cell.role is Role.PROPOSE)
        assert point.num_responses == responses
        assert (point.num_showing, point.num_matches) == (
            responses * (matches > 0),
            responses * matches,
        )


def test_programs_are_measured_as_everywhere_else(analysis: Analysis):
    [point] = [p for p in analysis.programs if p.task_type is TaskType.DEDUCTION]
    texts = [PROGRAM.format(number=number) for number in range(EACH)]
    trees = [tree for text in texts if (tree := parsed(text)) is not None]
    counts = [found for text in texts if (found := halstead(text)) is not None]
    assert (point.num_proposals, point.num_sampled) == (EACH, EACH)
    assert point.cyclomatic == statistics.fmean(map(cyclomatic_complexity, trees)) == 4
    assert point.halstead_volume == pytest.approx(statistics.fmean(c.volume for c in counts))
    assert point.halstead_effort == pytest.approx(statistics.fmean(c.effort for c in counts))
    assert point.program_lines == 3
    assert point.comment_share == pytest.approx(6 / len(PROGRAM.format(number=1)))
    # Seeds are `return x + n`: another shape.
    assert point.reference_distance is not None
    assert 0 < point.reference_distance <= 1
    assert point.nearest_reference == point.reference_distance


def test_diversity_is_of_programs_and_of_what_a_solver_has_to_find(analysis: Analysis):
    deduction, abduction, induction = (
        next(p for p in analysis.programs if p.task_type is task_type) for task_type in PLAYED
    )
    # Outputs 0, 1, 0: two of three pairs differ. Inputs and programs are all different.
    assert deduction.answers_differ == induction.answers_differ == pytest.approx(2 / 3)
    assert deduction.distinct_answers == pytest.approx(2 / 3)
    assert abduction.answers_differ == abduction.distinct_answers == 1
    assert deduction.programs_differ == deduction.distinct_programs == 1
    assert induction.cyclomatic is induction.reference_distance is None


def test_the_chance_that_two_differ_does_not_depend_on_how_many_are_drawn():
    population = "aaabbc"
    whole = pairs_that_differ(population)
    assert whole == pytest.approx(1 - (3 * 2 + 2 * 1) / (6 * 5))
    for size in range(2, 6):
        samples = [pairs_that_differ(drawn) for drawn in combinations(population, size)]
        assert statistics.fmean(s for s in samples if s is not None) == pytest.approx(whole)
    assert pairs_that_differ("a") is pairs_that_differ("") is None


def test_a_run_without_thoughts_is_analysed_all_the_same(thoughtless: Analysis):
    of_thoughts = [p for p in thoughtless.behaviours if p.behaviour == "backtracking"]
    assert {(p.num_responses, p.num_showing) for p in of_thoughts} == {(0, 0)}
    assert {p.num_sampled for p in thoughtless.programs} == {2}
    assert sum(p.num_rollouts for p in thoughtless.lengths) == len(PLAYED) * EACH * 3
    text = pages.text(analysis_tables(thoughtless))
    [line] = [line for line in text.splitlines() if "backtracking" in line]
    assert line.split()[1:7] == ["-"] * 6
    assert "6 read of 9, seed 3" in text


def test_tables_say_what_share_shows_a_behaviour(analysis: Analysis):
    text = pages.text(analysis_tables(analysis))
    assert f"100% ({EACH})" in text
    assert "9 read of 9" in text


@pytest.mark.parametrize("name", ["analysis", "thoughtless", "empty"])
def test_every_plot_names_its_axes(name: str, request: pytest.FixtureRequest):
    drawn = empty() if name == "empty" else request.getfixturevalue(name)
    for plot in ANALYSIS_PLOTS:
        figure = plot.draw(drawn)
        assert figure.axes[0].get_ylabel()
        assert all(axes.get_xlabel() for axes in figure.axes)


@pytest.mark.parametrize("plot", ANALYSIS_PLOTS, ids=lambda plot: plot.file_name)
def test_a_run_that_has_only_begun_is_drawn(plot: Plot[Analysis], tmp_path: Path):
    """`test_history` draws one that has more."""
    assert plot.save(empty(), tmp_path).read_bytes().startswith(PNG)


def test_the_data_beside_the_plots_are_the_points_that_they_draw(
    analysis: Analysis, tmp_path: Path
):
    whole, *tables = analysis_files.write(analysis, tmp_path)
    data = json.loads(whole.read_text(encoding="utf-8"))
    assert (data["sample_seed"], data["sampled_per_cell_and_point"]) == (0, 20)
    for table in tables:
        with table.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == len(data[table.stem])
        for row, point in zip(rows, data[table.stem], strict=True):
            assert row == {k: "" if v is None else str(v) for k, v in point.items()}
    solver = Cell(Role.SOLVE, TaskType.DEDUCTION)
    [length] = [p for p in analysis.lengths if p.cell == solver]
    [shown] = [p for p in data["lengths"] if (p["role"], p["task_type"]) == ("solve", "deduction")]
    assert (shown["num_rollouts"], shown["mean_tokens"]) == (length.num_rollouts, 4.0)


def test_data_of_nothing_have_their_columns(tmp_path: Path):
    _, *tables = analysis_files.write(empty(), tmp_path)
    assert [table.read_text().startswith("first_version,") for table in tables] == [True] * 3
