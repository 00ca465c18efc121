"""Laws of the live view: one line per step in a pipe, every number in the table."""

import io
from dataclasses import replace

from rich.console import Console

from azr.cli.live import LiveView, PlainView, dashboard, step_line, view_for
from azr.progress import Progress
from azr.task_types import MAIN_CELLS
from azr.types import Cell, DropReason, Role, TaskType

PROGRESS = Progress(
    step=12,
    total_steps=30,
    elapsed_seconds=95,
    reward=dict.fromkeys(MAIN_CELLS, 0.25) | {Cell(Role.SOLVE, TaskType.ABDUCTION): -0.75},
    validity={TaskType.DEDUCTION: 0.5, TaskType.INDUCTION: 0.7},
    solve_rate={TaskType.DEDUCTION: 0.3},
    buffer_sizes={TaskType.INDUCTION: 1234},
    mean_staleness=1.5,
    max_staleness=3,
    dropped={DropReason.STALE: 2, DropReason.SEEDING: 40},
    generated_tokens_per_second=1876.4,
    engine_busy_share=0.93,
    seconds_per_step=7.5,
)


def plain_console() -> Console:
    return Console(file=io.StringIO(), width=60, force_terminal=False)


def written(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_pipe_gets_plain_lines_and_a_terminal_a_live_table():
    assert isinstance(view_for(plain_console()), PlainView)
    assert isinstance(view_for(Console(file=io.StringIO(), force_terminal=True)), LiveView)


def test_each_step_is_one_unbroken_line_written_once():
    console = plain_console()
    with PlainView(console) as view:
        view.note("starting vLLM [cpu]")
        view.show(Progress(step=0, total_steps=30, elapsed_seconds=1))
        view.show(PROGRESS)
        view.show(PROGRESS)
    assert written(console) == f"starting vLLM [cpu]\n{step_line(PROGRESS)}\n"


def test_a_step_line_names_every_number():
    assert step_line(PROGRESS) == (
        "step 12/30 | deduction p/s +0.25/+0.25 | abduction p/s +0.25/-0.75"
        " | induction p/s +0.25/+0.25 | valid 60% | solved 30% | stale 1.5 (max 3) | dropped 42"
        " | 1,876 tok/s | engine busy 93% | 7.5 s/step | 2:15 left"
    )


def test_the_table_shows_every_number_even_before_there_are_any():
    console = Console(file=io.StringIO(), width=120)
    console.print(dashboard(PROGRESS))
    console.print(dashboard(Progress(step=0, total_steps=30, elapsed_seconds=0)))
    text = written(console)
    for shown in ("-0.75", "1,234", "93%", "1,876", "1.5 / 3", "2 stale, 40 seeding", "2:15 left"):
        assert shown in text
    assert "none" in text


def test_time_left_follows_the_recent_pace():
    assert PROGRESS.seconds_left == 18 * 7.5
    assert Progress(step=0, total_steps=30, elapsed_seconds=9).seconds_left is None


def test_where_time_ends_the_run_its_minutes_are_the_progress():
    timed = replace(PROGRESS, limit_seconds=2400, played_seconds=2340)
    assert timed.ends_by_time
    assert timed.seconds_left == 60
    assert step_line(timed).startswith("step 12, 39/40 min | ")
    console = Console(file=io.StringIO(), width=120)
    console.print(dashboard(timed))
    assert "step 12, 39 of 40 min" in written(console)
    assert not replace(timed, played_seconds=60).ends_by_time, "its steps are done before"


def test_a_live_view_leaves_its_notes_and_the_last_table_behind():
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    with LiveView(console) as view:
        view.note("seeding")
        view.show(PROGRESS)
    assert "seeding" in written(console)
    assert "1,234" in written(console)


def test_a_fourth_type_is_shown_where_there_are_tasks_of_it():
    assert " error " not in step_line(PROGRESS)
    sizes = {TaskType.INDUCTION: 1234, TaskType.ERROR: 7}
    reward = {**PROGRESS.reward, Cell(Role.SOLVE, TaskType.ERROR): -0.5}
    fourth = replace(PROGRESS, buffer_sizes=sizes, reward=reward)
    assert "induction p/s +0.25/+0.25 | error p/s -/-0.50 | valid" in step_line(fourth)
    console = Console(file=io.StringIO(), width=120)
    console.print(dashboard(fourth))
    [line] = [line for line in written(console).splitlines() if " error " in line]
    assert "-0.50" in line
    assert line.rstrip(" \u2502").endswith(" 7")
