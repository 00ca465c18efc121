"""Laws of `azr doctor`: what it finds is true here, and what is wrong comes with a remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from azr import doctor
from azr.config import SandboxSection
from azr.doctor import Status


def test_a_working_machine_has_no_failures(tmp_path: Path):
    checks = doctor.examine(tmp_path)
    assert [check for check in checks if check.status is Status.FAIL] == []
    assert all(check.fix for check in checks if check.status is not Status.OK)
    assert len({check.name for check in checks}) == len(checks)


def test_the_database_is_written_and_nothing_is_left(tmp_path: Path):
    check = doctor.check_database(tmp_path / "runs")
    assert check.status is Status.OK
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_fails_with_a_remedy():
    check = doctor.check_database(Path("/proc/runs"))
    assert check.status is Status.FAIL
    assert "--run-dir" in check.fix


@pytest.mark.parametrize(
    ("version", "fixed"),
    [
        ((3, 40, 1), False),
        ((3, 44, 6), True),
        ((3, 45, 9), False),
        ((3, 50, 6), False),
        ((3, 50, 7), True),
        ((3, 51, 2), False),
        ((3, 51, 3), True),
        ((3, 53, 4), True),
    ],
)
def test_old_sqlite_is_told_from_new(version: tuple[int, int, int], *, fixed: bool):
    assert doctor.has_wal_reset_fix(version) is fixed


def test_missing_shared_memory_fails(tmp_path: Path):
    assert doctor.check_shared_memory(tmp_path / "none").status is Status.FAIL


def test_the_jail_is_really_tried():
    check = doctor.check_jail()
    assert (check.name, check.status) == ("jail", Status.OK)
    assert check.found.startswith("8 of 8 promises kept; ")
    assert "cgroup" in check.found


def test_a_sandbox_without_a_jail_is_a_warning_wherever_it_is_shown():
    check = doctor.check_jail(SandboxSection(isolation="process"))
    assert check.status is Status.WARN
    assert "WITHOUT a jail" in check.found
    assert "docs/sandbox.md" in check.fix
