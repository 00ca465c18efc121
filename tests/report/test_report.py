"""Laws of the report: what it says is what the history holds, and it draws any history."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from azr.progress import BUSY_SECONDS_METRIC
from azr.report import pages
from azr.report.figures import PLOTS, smoothed, trained_rates
from azr.report.figures import reward as reward_figure
from azr.report.figures import staleness as staleness_figure
from azr.report.history import History
from azr.report.standing import EngineFigures
from azr.report.summary import Table, busy_share, seconds_per_step, tables
from azr.store.points import StepPoint
from azr.task_types import MAIN_TYPES
from azr.types import Cell, Role, TaskType

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize("name", ["learned", "begun"])
def test_every_plot_draws_any_history(name: str, tmp_path: Path, request: pytest.FixtureRequest):
    for plot in PLOTS:
        assert plot.save(request.getfixturevalue(name), tmp_path).read_bytes().startswith(PNG)


def test_every_axis_is_named(learned: History):
    for plot in PLOTS:
        for axes in plot.draw(learned).axes:
            assert axes.get_xlabel()
        assert plot.draw(learned).axes[0].get_ylabel() or plot.file_name == "drops.png"


def test_the_reward_plot_shows_each_cells_own_values(learned: History):
    for axes, role in zip(reward_figure(learned).axes, Role, strict=True):
        drawn = {tuple(np.asarray(line.get_ydata())) for line in axes.lines}
        for task_type in MAIN_TYPES:
            values = tuple(
                row.mean_reward
                for row in learned.cells
                if row.cell.role is role and row.cell.task_type is task_type
            )
            assert values in drawn
            assert tuple(smoothed(values)) in drawn


def test_the_staleness_plot_shows_shares_of_all_rows(learned: History):
    bars = staleness_figure(learned).axes[0].patches
    assert sum(bar.get_height() for bar in bars) == pytest.approx(1)  # ty: ignore[missing-attribute]
    assert bars[2].get_height() == pytest.approx(1300 / 2880)  # ty: ignore[missing-attribute]


def test_trained_tokens_are_spread_over_the_time_since_the_step_before(learned: History):
    (_, first), (second_at, second), *_ = trained_rates(learned)
    assert math.isnan(first)
    tokens = sum(row.num_rollouts * row.mean_tokens for row in learned.cells if row.step == 2)
    assert (second_at, second) == (36, pytest.approx(tokens / 8))


def test_a_trailing_mean_uses_only_what_came_before():
    assert smoothed([1, 2, 6], window=2) == [1, 1.5, 4]


def steps(*totals: tuple[float, float]) -> list[StepPoint]:
    return [
        StepPoint(step=index, committed_at=at, loss=None, metrics={BUSY_SECONDS_METRIC: busy})
        for index, (at, busy) in enumerate(totals, 1)
    ]


def test_busy_share_counts_from_the_first_step_to_the_last():
    assert busy_share(steps((100, 50), (110, 59), (120, 68))) == pytest.approx(0.9)


def test_busy_share_leaves_a_restart_out():
    assert busy_share(steps((100, 50), (110, 60), (500, 3), (510, 8))) == pytest.approx(0.75)


def test_nothing_is_claimed_of_too_few_steps():
    assert busy_share(steps((100, 50))) is None
    assert seconds_per_step(steps((100, 50))) is None


def test_the_summary_says_what_the_history_holds(learned: History):
    text = pages.text(tables(learned))
    for shown in ("30 of 30", "95.0%", "4 / 4", "2,880 trained", "12 stale", "3,503"):
        assert shown in text


def test_the_page_needs_no_other_file_and_escapes_what_it_shows(learned: History, tmp_path: Path):
    drawn = [(plot, plot.save(learned, tmp_path)) for plot in PLOTS]
    table = Table("A <b>", ("", "value"), (("a & b", "<script>"),))
    page = pages.html("Run <1>", "about", [table], drawn)
    assert page.count("data:image/png;base64,") == len(PLOTS)
    assert "<script>" not in page
    assert "Run &lt;1&gt;" in page


def test_markdown_tables_keep_their_columns_whatever_a_cell_holds(tmp_path: Path):
    table = Table("T", ("", "value"), (("a|b", "c"),))
    page = pages.markdown("Run", "about", [table], [(PLOTS[0], tmp_path / "reward.png")])
    assert "| a\\|b | c |" in page
    assert "![Reward per cell](reward.png)" in page


def test_a_run_of_several_nodes_shows_each_engine_and_all_together(learned: History):
    engines = (
        EngineFigures(replica="replica-1", busy_share=0.5, tokens=2320),
        EngineFigures(replica="replica-2", busy_share=0.9, tokens=4640),
    )
    found = tables(replace(learned, engines=engines))
    assert found[-1].rows == (
        ("replica-1", "50.0%", "2,320", "10"),
        ("replica-2", "90.0%", "4,640", "20"),
        ("all", "70.0%", "6,960", "30"),
    )
    [running] = [table for table in found if table.title == "How it ran"]
    assert ("engine busy between first and last step", "70.0%") in running.rows
    assert tables(learned)[-1].title == "How it ran"


def test_a_fourth_type_has_lines_and_rows_where_it_was_played(learned: History):
    def shown(history: History) -> tuple[set[str], str]:
        labels = {str(line.get_label()) for line in reward_figure(history).axes[0].lines}
        return labels, pages.text(tables(history))

    labels, text = shown(learned)
    assert "error" not in labels
    assert "propose/error" not in text
    cells = tuple(
        replace(row, cell=Cell(row.cell.role, TaskType.ERROR))
        for row in learned.cells
        if row.cell.task_type is TaskType.DEDUCTION
    )
    labels, text = shown(replace(learned, cells=(*learned.cells, *cells)))
    assert "error" in labels
    assert "propose/error" in text
