"""Laws of reading a run: what the database holds is what report and status say."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Connection
from sqlalchemy.orm import Session

from azr import config_files
from azr.config import RunConfig
from azr.errors import RunDirectoryError
from azr.progress import BUSY_SECONDS_METRIC
from azr.report.analysis_figures import ANALYSIS_PLOTS
from azr.report.build import build, terminal_summary
from azr.report.figures import PLOTS
from azr.report.history import read_history
from azr.report.moment import RATE_WINDOW_SECONDS, read_progress
from azr.report.watch import WATCH_PLOTS
from azr.run_directory import RunDirectory
from azr.store.locate import of_directory
from azr.store.migrate import upgrade
from azr.store.models import (
    BatchMemberRow,
    BatchRow,
    LearnerStepRow,
    RolloutRow,
    RunRow,
)
from azr.store.sqlite import write_engine
from azr.store.states import BatchState, LineageState, RolloutState
from azr.task_types import MAIN_CELLS, MAIN_TYPES
from azr.types import (
    Cell,
    DropReason,
    FinishReason,
    Judgement,
    Purpose,
    Role,
)

START = 1_000_000.0
SECONDS_PER_STEP = 10.0
NUM_STEPS = 3
TOKENS = 30


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """Three steps of one row a cell; step 2 was trained twice, and rolled back once."""
    directory = RunDirectory(tmp_path / "run")
    directory.root.mkdir()
    config = config_files.load("tiny-cpu", ["run.steps=5", "learner.max_staleness=4"])
    directory.config.write_text(config_files.to_toml(config), encoding="utf-8")
    engine = write_engine(directory.database)
    with engine.begin() as connection:
        upgrade(connection)
        fill(connection, config)
    engine.dispose()
    return directory


def fill(connection: Connection, config: RunConfig) -> None:
    with Session(connection) as session:
        run = RunRow(
            config=config.model_dump(mode="json"), learner_version=NUM_STEPS, created_at=START
        )
        session.add(run)
        session.flush()
        for step in range(1, NUM_STEPS + 1):
            add_step(session, run.run_id, step, LineageState.LIVE)
        add_step(session, run.run_id, 2, LineageState.ROLLED_BACK)
        session.add(rollout(run.run_id, MAIN_CELLS[-1], 0, drop_reason=DropReason.STALE))
        session.commit()


def add_step(session: Session, run_id: int, step: int, state: LineageState) -> None:
    at = START + step * SECONDS_PER_STEP
    live = state is LineageState.LIVE
    batch = BatchRow(
        run_id=run_id,
        version=step - 1,
        state=BatchState.TRAINED if live else BatchState.ROLLED_BACK,
        claimed_at=at,
    )
    rows = [rollout(run_id, cell, step, drop_reason=None) for cell in MAIN_CELLS] if live else []
    session.add_all([batch, *rows])
    session.flush()
    session.add_all(
        BatchMemberRow(
            batch_id=batch.batch_id,
            rollout_id=row.rollout_id,
            position=position,
            advantage=0.0,
            staleness=step - 1,
            live=True,
        )
        for position, row in enumerate(rows)
    )
    session.add(
        LearnerStepRow(
            run_id=run_id,
            batch_id=batch.batch_id,
            version=step,
            state=state,
            loss=0.5,
            metrics={BUSY_SECONDS_METRIC: 9.0 * step},
            committed_at=at,
        )
    )


def rollout(run_id: int, cell: Cell, step: int, *, drop_reason: DropReason | None) -> RolloutRow:
    """A trained row of a step, whose reward says which; or a dropped one."""
    proposes = cell.role is Role.PROPOSE
    return RolloutRow(
        run_id=run_id,
        role=cell.role,
        task_type=cell.task_type,
        purpose=Purpose.TRAIN,
        state=RolloutState.TRAINED if drop_reason is None else RolloutState.DROPPED,
        drop_reason=drop_reason,
        judgement=Judgement.VALID if proposes else Judgement.CORRECT,
        reward=step / 10,
        solved=None if proposes else True,
        solve_rate=0.25 if proposes else None,
        num_prompt_tokens=5,
        num_tokens=TOKENS,
        finish_reason=FinishReason.STOP,
        oldest_version=0,
        newest_version=max(0, step - 1),
        staleness_version=0,
        failures=0,
        generated_at=START + max(0, step - 1) * SECONDS_PER_STEP,
        trained_at=None if drop_reason else START + step * SECONDS_PER_STEP,
    )


def test_the_report_counts_surviving_steps_only(run: RunDirectory):
    history = read_history(run.database)
    assert [step.step for step in history.steps] == [1, 2, 3]
    assert (history.total_steps, history.max_staleness) == (5, 4)
    rewards = [row.mean_reward for row in history.cells if row.cell == MAIN_CELLS[0]]
    assert rewards == pytest.approx([0.1, 0.2, 0.3])
    assert history.staleness == {0: 6, 1: 6, 2: 6}


def test_every_generated_rollout_is_accounted_for(run: RunDirectory):
    history = read_history(run.database)
    assert history.states == {"trained": 18, "dropped": 1}
    assert history.drops == {(DropReason.STALE, MAIN_CELLS[-1]): 1}
    assert history.num_generated == 19


def test_throughput_windows_hold_every_token(run: RunDirectory):
    windows = read_history(run.database).throughput
    assert sum(window.generated_tokens for window in windows) == 19 * TOKENS
    assert sum(window.trained_tokens for window in windows) == 18 * TOKENS


def test_progress_is_the_newest_step(run: RunDirectory):
    progress = read_progress(run.database)
    assert (progress.step, progress.total_steps) == (3, 5)
    assert progress.reward == pytest.approx(dict.fromkeys(MAIN_CELLS, 0.3))
    assert (progress.mean_staleness, progress.max_staleness) == (2, 2)
    assert progress.validity == dict.fromkeys(MAIN_TYPES, 1.0)
    assert progress.solve_rate == dict.fromkeys(MAIN_TYPES, 0.25)
    assert progress.dropped == {DropReason.STALE: 1}
    assert progress.seconds_per_step == SECONDS_PER_STEP
    assert progress.seconds_left == 2 * SECONDS_PER_STEP
    assert progress.engine_busy_share == pytest.approx(0.9)
    assert progress.elapsed_seconds == NUM_STEPS * SECONDS_PER_STEP
    # The newest window that is over is 15 to 30 s: the rows of step 3.
    assert progress.generated_tokens_per_second == len(MAIN_CELLS) * TOKENS / RATE_WINDOW_SECONDS


def test_a_written_report_has_every_plot_and_a_summary(run: RunDirectory):
    report = build(run)
    pngs = sorted(path.name for path in run.report.glob("*.png"))
    assert len(pngs) == len(PLOTS) + len(WATCH_PLOTS) + len(ANALYSIS_PLOTS)
    markdown = (run.report / "report.md").read_text(encoding="utf-8")
    assert all(name in markdown for name in pngs)
    text = terminal_summary(report)
    assert "3 of 5" in text
    assert str(run.report / "index.html") in text


def test_a_run_with_a_database_elsewhere_is_found(run: RunDirectory, tmp_path: Path):
    elsewhere = run.database.rename(tmp_path / "elsewhere.sqlite")
    url = f"sqlite:///{elsewhere}"
    config = config_files.load(run.config, [f'store.url="{url}"'])
    run.config.write_text(config_files.to_toml(config), encoding="utf-8")
    assert of_directory(run).database == elsewhere


def test_what_is_no_run_is_refused(tmp_path: Path):
    with pytest.raises(RunDirectoryError, match="holds no run"):
        build(RunDirectory(tmp_path))
