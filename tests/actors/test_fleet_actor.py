"""A fleet whose process was killed goes on as it was told, not as it began."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from threading import Timer

import pytest

from actors import fleet_actor, fleet_state
from actors.fleet_actor import FleetActor
from actors.fleet_state import FleetState
from azr import config_files
from azr.placement import Machine, Plan, place
from azr.placement.resize import resize
from azr.run_directory import RunDirectory
from tests.actors.test_fleet import ScriptedLauncher

MACHINES = [Machine(name=f"m{i}", address=f"10.0.0.{i}", cpus=8) for i in range(1, 5)]
CONFIG = config_files.load("tiny-cpu", ['store.url="postgresql://azr@db.example/azr"'])
END_SECONDS = 60.0


@pytest.fixture
def launchers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[ScriptedLauncher]]:
    """Of every fleet that was begun. No Ray: nodes are scripted, and nothing lingers."""
    begun: list[ScriptedLauncher] = []

    def launcher(*_: object, is_alone: bool) -> ScriptedLauncher:
        begun.append(ScriptedLauncher(is_alone=is_alone))
        return begun[-1]

    monkeypatch.setattr(fleet_actor, "RayLauncher", launcher)
    monkeypatch.setattr(fleet_actor, "clear_away", lambda _: None)
    monkeypatch.setattr(fleet_actor, "LINGER_SECONDS", 0.0)
    loggers = [logging.getLogger(name) for name in ("azr", "actors")]
    before = [list(logger.handlers) for logger in loggers]
    yield begun
    _wait_for_threads()
    for logger, kept in zip(loggers, before, strict=True):
        for handler in set(logger.handlers) - set(kept):
            logger.removeHandler(handler)
            handler.close()


def _wait_for_threads() -> None:
    """A fleet leaves a moment after it told how it ended; the real way to leave starts a Ray."""
    for fleet in [thread for thread in threading.enumerate() if thread.name == "fleet"]:
        fleet.join(END_SECONDS)
    for leaving in [thread for thread in threading.enumerate() if isinstance(thread, Timer)]:
        leaving.join(END_SECONDS)
        assert not leaving.is_alive()


def begun(root: Path, nodes: int) -> tuple[FleetActor, Plan]:
    plan = place(CONFIG, MACHINES, nodes, run_directory_shared=True)
    fleet_state.write(RunDirectory(root), FleetState(placed=plan, now=plan))
    return FleetActor(CONFIG, root), plan


def names(fleet: FleetActor) -> set[str]:
    return {report.name for report in fleet.report()}


def end(*fleets: FleetActor) -> None:
    for fleet in fleets:
        fleet.drain()
        assert fleet.outcome(END_SECONDS) is not None


@pytest.mark.usefixtures("launchers")
def test_a_plan_that_was_scaled_outlives_its_fleet(tmp_path: Path):
    first, plan = begun(tmp_path, 2)
    scaled = resize(plan, CONFIG, MACHINES, 4, run_directory_shared=True)
    first.scale(scaled)
    second = FleetActor(CONFIG, tmp_path)
    assert second.plan() == scaled
    assert names(second) == {"node-1", "node-2", "node-3", "node-4"}
    end(first, second)


def test_a_drain_outlives_its_fleet_which_then_starts_nobody(
    tmp_path: Path, launchers: list[ScriptedLauncher]
):
    first, _ = begun(tmp_path, 2)
    end(first)
    second = FleetActor(CONFIG, tmp_path)
    assert second.outcome(END_SECONDS) is not None
    assert launchers[1].started == []


def test_only_the_first_life_of_a_single_node_has_nobody_to_spare(
    tmp_path: Path, launchers: list[ScriptedLauncher]
):
    first, _ = begun(tmp_path, 1)
    second = FleetActor(CONFIG, tmp_path)
    assert [launcher.is_alone for launcher in launchers] == [True, False]
    end(first, second)
