"""The two ways a terminal watches a run: a live table, or one line per step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from azr.cli.output import duration
from azr.cli.roster import ALARM_STYLE, roster_tables
from azr.play_time import SECONDS_PER_MINUTE
from azr.progress import Progress, RunView
from azr.task_types import types_shown
from azr.types import Cell, Role, TaskType

REFRESHES_PER_SECOND = 2
WARNING_STYLE = "yellow"
LIVE_ROWS = 16
"""Of nodes and of replicas in the live view; a terminal has no room for all of a big run."""


def view_for(console: Console) -> RunView:
    """A live table where the terminal can redraw, plain lines elsewhere."""
    return LiveView(console) if console.is_terminal else PlainView(console)


class LiveView:
    """Redraws one table in place; notes scroll above it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=REFRESHES_PER_SECOND)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._live.stop()

    def note(self, text: str) -> None:
        self._console.print(Text(text, style="dim"))

    def show(self, progress: Progress) -> None:
        self._live.update(dashboard(progress))


class PlainView:
    """One line per learner step, for pipes and log files."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        return None

    def note(self, text: str) -> None:
        self._write(text)

    def show(self, progress: Progress) -> None:
        if progress.step and progress.step != self._shown:
            self._shown = progress.step
            self._write(step_line(progress))

    def _write(self, text: str) -> None:
        self._console.print(text, soft_wrap=True, markup=False, highlight=False)


def step_line(progress: Progress) -> str:
    """A learner step in one line; `p/s` is proposer and solver reward."""
    parts = [_place(progress, "/")]
    for task_type in types_shown(progress.buffer_sizes):
        rewards = "/".join(
            _signed(progress.reward.get(Cell(role, task_type)))
            for role in (Role.PROPOSE, Role.SOLVE)
        )
        parts.append(f"{task_type} p/s {rewards}")
    parts.append(f"valid {_percent(_mean(progress.validity))}")
    parts.append(f"solved {_percent(_mean(progress.solve_rate))}")
    parts.append(f"stale {_number(progress.mean_staleness)} (max {progress.max_staleness or 0})")
    parts.append(f"dropped {sum(progress.dropped.values())}")
    parts.append(f"{_number(progress.generated_tokens_per_second, 0)} tok/s")
    parts.append(f"engine busy {_percent(progress.engine_busy_share)}")
    parts.append(f"{_number(progress.seconds_per_step)} s/step")
    parts.append(f"{duration(progress.seconds_left)} left")
    return " | ".join(parts)


def dashboard(progress: Progress) -> RenderableType:
    """The live table: a bar, what each task type earns, how the machinery runs, who plays
    where that is more than one node, and what should catch the eye."""
    roster = progress.roster
    tables = roster_tables(roster, at_most=LIVE_ROWS) if len(roster.nodes) > 1 else []
    alarms = [Text(alarm, style=ALARM_STYLE) for alarm in roster.alarms]
    return Group(learning_view(progress), *tables, *alarms)


def learning_view(progress: Progress) -> RenderableType:
    """A bar, what each task type earns, how the machinery runs, and findings."""
    bar = Table.grid(padding=(0, 1))
    if progress.ends_by_time:
        total, completed = progress.limit_seconds, progress.played_seconds
    else:
        total, completed = float(progress.total_steps), float(progress.step)
    bar.add_row(
        _place(progress, " of "),
        ProgressBar(total=total, completed=completed, width=40),
        f"{duration(progress.elapsed_seconds)} elapsed, {duration(progress.seconds_left)} left",
    )
    findings = [Text(finding, style=WARNING_STYLE) for finding in progress.findings]
    return Group(bar, _learning_table(progress), _machinery_table(progress), *findings)


def _place(progress: Progress, of: str) -> str:
    """How far the run is, in steps, or in minutes where those end it."""
    if not progress.ends_by_time:
        return f"step {progress.step}{of}{progress.total_steps}"
    played, limit = (
        seconds / SECONDS_PER_MINUTE
        for seconds in (progress.played_seconds, progress.limit_seconds)
    )
    digits = 0 if limit >= 10 else 1
    return f"step {progress.step}, {played:.{digits}f}{of}{limit:g} min"


def _learning_table(progress: Progress) -> Table:
    table = Table(title="Learning", title_justify="left", expand=False)
    table.add_column("task type")
    for heading in ("proposer reward", "valid", "solve rate", "solver reward", "buffer"):
        table.add_column(heading, justify="right")
    for task_type in types_shown(progress.buffer_sizes):
        table.add_row(
            str(task_type),
            _signed(progress.reward.get(Cell(Role.PROPOSE, task_type))),
            _percent(progress.validity.get(task_type)),
            _percent(progress.solve_rate.get(task_type)),
            _signed(progress.reward.get(Cell(Role.SOLVE, task_type))),
            f"{progress.buffer_sizes.get(task_type, 0):,}",
        )
    return table


def _machinery_table(progress: Progress) -> Table:
    table = Table(title="Machinery", title_justify="left", expand=False)
    headings = ("tokens/s", "engine busy", "s/step", "staleness mean / max", "dropped")
    for heading in headings:
        table.add_column(heading, justify="right")
    table.add_row(
        _number(progress.generated_tokens_per_second, 0),
        _percent(progress.engine_busy_share),
        _number(progress.seconds_per_step),
        f"{_number(progress.mean_staleness)} / {progress.max_staleness or 0}",
        ", ".join(f"{count:,} {reason}" for reason, count in progress.dropped.items()) or "none",
    )
    return table


def _mean(shares: Mapping[TaskType, float]) -> float | None:
    return sum(shares.values()) / len(shares) if shares else None


def _number(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.2f}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"
