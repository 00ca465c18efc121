"""Laws of watching a run that plays: measured once, told once, and the same afterwards."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from actors.sentinel import Sentinel
from actors.watch import RunWatch
from azr import config_files
from azr.cli import app
from azr.diagnosis.follow import Follower
from azr.diagnosis.series import Series, read_series
from azr.diagnosis.told import still_open
from azr.progress import Progress, SilentView
from azr.report import pages
from azr.report.build import Report, terminal_summary
from azr.report.history import read_history
from azr.report.moment import read_progress
from azr.report.watch import WATCH_PLOTS, watch_table
from azr.run_directory import RunDirectory
from azr.store import SqlStore, queries
from azr.store.history import open_history
from azr.store.points import EventPoint
from tests.diagnosis.conftest import STEPS, RunThat
from tests.diagnosis.story import HEALTHY, STORY, Story

pytestmark = pytest.mark.timeout(300)
SILENCE = "copies in silence"
ENTROPY = ("entropy_collapse", "run")


class Notes(SilentView):
    """A view that keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.findings: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def show(self, progress: Progress) -> None:
        self.findings = list(progress.findings)


@pytest.fixture
def path(run_that: RunThat, tmp_path: Path) -> Path:
    """A copy of a run that failed."""
    return Path(shutil.copy(run_that(SILENCE), tmp_path / "azr.sqlite"))


def events(path: Path) -> list[EventPoint]:
    with open_history(path) as history:
        return queries.events(history)


def places(path: Path, kind: str) -> list[tuple[str, str]]:
    return [(e.facts["name"], e.facts["scope"]) for e in events(path) if e.kind == kind]


async def look(path: Path, times: int = 1) -> None:
    """What a node does, as often; each time by a sentinel that was just started."""
    url = f"sqlite:///{path}"
    for _ in range(times):
        async with SqlStore.open(url, run=STORY) as store:
            sentinel = Sentinel(store=store, look=Follower(url, store.run_id).look)
            while await sentinel.catch_up():
                pass


async def test_a_finding_is_told_once_whatever_is_started_again(path: Path):
    await look(path, times=2)
    told = places(path, "finding")
    assert ENTROPY in told
    assert len(told) == len(set(told))
    assert places(path, "finding_over") == []


async def test_a_finding_that_is_over_is_told_once(path: Path):
    await look(path)
    async with SqlStore.open(f"sqlite:///{path}", run=STORY) as store:
        story = Story(store, version=2 * STEPS)
        for _ in range(20_000):
            next(story.numbers)
        await story.play(STEPS, HEALTHY)
    await look(path, times=2)
    assert places(path, "finding_over").count(ENTROPY) == 1
    assert ENTROPY not in still_open(events(path))


async def test_what_was_recorded_is_what_would_be_computed(path: Path):
    with open_history(path) as history:
        computed = read_series(history)
    await look(path)
    with open_history(path) as history:
        series = Series()
        assert series.catch_up(history) == []
    assert [s.step for s in series.steps] == [s.step for s in computed]
    for recorded, again in zip(series.steps, computed, strict=True):
        assert recorded.values == pytest.approx(dict(again.values))


def test_steps_measured_one_by_one_are_those_measured_at_once(path: Path):
    with open_history(path) as history:
        whole, parts = Series(), Series()
        whole.catch_up(history)
        while parts.catch_up(history, at_most=3):
            pass
    assert parts.steps == whole.steps


def test_a_series_taken_up_in_its_middle_remembers_older_programs(path: Path):
    with open_history(path) as history:
        whole = read_series(history)
        later = Series(steps=whole[:STEPS])
        later.catch_up(history)
    assert later.steps == whole


async def test_the_views_of_a_run_show_what_lasts(path: Path):
    view = Notes()
    watch = RunWatch(database=path, view=view)
    watch.begin()
    await look(path)
    watch.refresh(now=True)
    [told] = [note for note in view.notes if "entropy_collapse" in note]
    assert told.startswith("warning: entropy_collapse in run since step 9 (entropy 0.01 nats")
    assert told in view.findings
    assert told in read_progress(path).findings


@pytest.fixture
def run_dir(path: Path) -> RunDirectory:
    directory = RunDirectory(path.parent)
    config_files.write(STORY, directory.config)
    return directory


def test_diagnose_prints_measures_and_findings_and_succeeds(run_dir: RunDirectory):
    result = CliRunner().invoke(app, ["diagnose", str(run_dir.root)])
    assert result.exit_code == 0
    assert "entropy_collapse in run since step 9" in result.output
    assert "try: raise learner.entropy_coefficient" in result.output
    assert "solved_by_none" in result.output


def test_diagnose_has_a_form_for_programs(run_dir: RunDirectory):
    result = CliRunner().invoke(app, ["diagnose", str(run_dir.root), "--json"])
    found = json.loads(result.stdout)
    assert found["steps"] == 2 * STEPS
    [entropy] = [each for each in found["findings"] if each["name"] == "entropy_collapse"]
    assert (entropy["severity"], entropy["since_step"]) == ("warning", 9)
    [measured] = [each for each in found["measures"] if each["measure"] == "entropy"]
    assert (measured["beginning"], measured["now"]) == pytest.approx((0.5, 0.01))


def test_diagnose_lists_every_value_as_csv(run_dir: RunDirectory):
    result = CliRunner().invoke(app, ["diagnose", str(run_dir.root), "--csv", "--last", "2"])
    lines = result.stdout.splitlines()
    assert lines[0] == "step,scope,measure,value"
    assert {line.split(",")[0] for line in lines[1:]} == {"1", "2"}


def test_diagnose_says_so_when_there_is_nothing_yet(tmp_path: Path):
    path = tmp_path / "azr.sqlite"

    async def begin() -> None:
        async with SqlStore.open(f"sqlite:///{path}", run=STORY):
            pass

    asyncio.run(begin())
    result = CliRunner().invoke(app, ["diagnose", str(path)])
    assert (result.exit_code, "no learner step yet" in result.output) == (0, True)


def test_the_report_has_a_watch_section_and_the_summary_names_what_lasts(run_dir: RunDirectory):
    history = read_history(run_dir.database)
    page = pages.markdown("Run", "about", [watch_table(history)], [])
    assert "## Watch: signs of collapse" in page
    assert "| warning: entropy_collapse | run | 9 | lasts |" in page
    summary = terminal_summary(Report(history, run_dir.report / "index.html"))
    assert "entropy_collapse in run since step 9" in summary


def test_a_plot_of_the_watch_shades_the_steps_of_a_finding(run_dir: RunDirectory):
    [policy] = [plot for plot in WATCH_PLOTS if plot.file_name == "watch_policy.png"]
    entropy, *_ = policy.draw(read_history(run_dir.database)).axes
    [shade] = entropy.patches
    assert shade.get_extents().transformed(entropy.transData.inverted()).x0 == pytest.approx(9)
