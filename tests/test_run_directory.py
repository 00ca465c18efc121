"""Laws of a run directory: who may use it, and that it is refused before it is touched."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from azr.errors import RunDirectoryError
from azr.report.build import build
from azr.run_directory import RunDirectory, check_usable, locked, told_if_removed


def started(tmp_path: Path) -> RunDirectory:
    directory = RunDirectory(tmp_path / "run")
    directory.root.mkdir()
    directory.config.write_text("", encoding="utf-8")
    return directory


def test_a_new_directory_is_usable_and_not_created(tmp_path: Path):
    directory = RunDirectory(tmp_path / "a" / "b")
    check_usable(directory, resume=False, needed_mib=1)
    assert not directory.root.exists()


def test_a_directory_with_a_run_needs_resume(tmp_path: Path):
    directory = started(tmp_path)
    with pytest.raises(RunDirectoryError, match="already holds a run") as caught:
        check_usable(directory, resume=False, needed_mib=1)
    assert f"azr run --resume {directory.root}" in caught.value.hint
    check_usable(directory, resume=True, needed_mib=1)


def test_only_a_run_can_be_resumed(tmp_path: Path):
    with pytest.raises(RunDirectoryError, match="holds no run"):
        check_usable(RunDirectory(tmp_path), resume=True, needed_mib=1)


def test_too_little_space_says_how_much_is_needed_and_how_much_is_free(tmp_path: Path):
    with pytest.raises(RunDirectoryError, match=r"needs about 999,999,999,999 MiB, and [\d,]+ MiB"):
        check_usable(RunDirectory(tmp_path / "x"), resume=False, needed_mib=999_999_999_999)


def test_a_file_in_the_place_of_the_directory_is_refused(tmp_path: Path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    for root in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(RunDirectoryError):
            check_usable(RunDirectory(root), resume=False, needed_mib=1)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user to be refused as")
def test_a_directory_without_permission_is_refused():
    code = (
        "import os, sys; from pathlib import Path; from azr.run_directory import *\n"
        "from azr.errors import RunDirectoryError\n"
        "os.setuid(65534)\n"
        "try: check_usable(RunDirectory(Path(sys.argv[1])), resume=False, needed_mib=1)\n"
        "except RunDirectoryError as error: print(error)"
    )
    with tempfile.TemporaryDirectory() as closed:
        Path(closed).chmod(0o500)
        for path in (closed, f"{closed}/below", f"{closed}/far/below"):
            done = subprocess.run(
                [sys.executable, "-c", code, path], capture_output=True, text=True, check=True
            )
            assert f"{path} cannot be written: no permission in {closed}" in done.stdout


def test_two_processes_cannot_hold_one_directory(tmp_path: Path):
    directory = RunDirectory(tmp_path / "run")
    code = (
        "import sys; from pathlib import Path; from azr.run_directory import *\n"
        "with locked(RunDirectory(Path(sys.argv[1]))): print('held', flush=True); input()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(directory.root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RunDirectoryError, match=f"process {holder.pid}"), locked(directory):
            pass
        holder.kill()
    with locked(directory):
        assert directory.lock.read_text(encoding="utf-8") == f"{os.getpid()}\n"


def report_of(directory: RunDirectory, *, removes: Path) -> None:
    """What `azr run` does in the end, after somebody removed something."""
    with told_if_removed(directory):
        shutil.rmtree(removes)
        build(directory)


def test_a_directory_that_was_removed_under_its_run_is_told_as_that(tmp_path: Path):
    directory = started(tmp_path)
    with pytest.raises(RunDirectoryError, match="was removed") as told:
        report_of(directory, removes=directory.root)
    assert "begins another run" in told.value.hint


def test_the_folder_that_a_relative_path_begins_in_may_be_removed_too(tmp_path: Path, monkeypatch):
    folder = tmp_path / "folder"
    folder.mkdir()
    monkeypatch.chdir(folder)
    with pytest.raises(RunDirectoryError, match="run was removed"):
        report_of(RunDirectory(Path("run")), removes=folder)


def test_other_failures_of_a_run_stay_what_they_are(tmp_path: Path):
    with pytest.raises(OSError, match="disk"), told_if_removed(started(tmp_path)):
        raise OSError("the disk is full")
