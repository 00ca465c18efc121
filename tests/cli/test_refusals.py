"""Bad input to `azr run`: two lines, exit code 2, nothing started, nothing left behind."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from azr.cli import main
from azr.cli.errors import EXIT_REFUSED
from azr.model_path import TINY, resolve_model
from azr.run_directory import RunDirectory, locked

type Refused = Callable[..., tuple[str, str]]


@pytest.fixture
def refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Refused:
    """Run `azr` in an empty folder; returns what follows `error: ` and `hint: `."""
    folder = tmp_path / "cwd"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def run(*arguments: str) -> tuple[str, str]:
        monkeypatch.setattr(sys, "argv", ["azr", *arguments])
        with pytest.raises(SystemExit) as exit_:
            main()
        captured = capsys.readouterr()
        assert exit_.value.code == EXIT_REFUSED
        assert captured.out == ""
        error, hint = captured.err.splitlines()
        assert list(folder.iterdir()) == []
        return error.removeprefix("error: "), hint.removeprefix("hint: ")

    return run


def test_an_unknown_setting(refused: Refused):
    error, _ = refused("run", "--set", "engine.kv_cache=3")
    assert error.endswith("engine.kv_cache is not a setting; did you mean engine.kv_cache_mib?")


def test_an_unknown_preset(refused: Refused):
    error, hint = refused("run", "tiny-gpu")
    assert "tiny-gpu" in error
    assert "tiny-cpu" in hint


def test_a_missing_seed_file(refused: Refused):
    error, hint = refused("run", "--set", "selfplay.seed_file=/nowhere/seeds.jsonl")
    assert error == "/nowhere/seeds.jsonl cannot be read: No such file or directory"
    assert "seed file" in hint


def test_a_seed_file_without_tasks_of_a_type(refused: Refused, tmp_path: Path):
    file = tmp_path / "seeds.jsonl"
    file.write_text('{"snippet": "def f(a):\\n    return a", "input": "1", "output": "1"}\n{\n')
    error, hint = refused("run", "--set", f"selfplay.seed_file={file}")
    assert f"{file} has no row for induction tasks, one with `inputs`; line 2: not JSON" in error
    assert "azr tasks generate" in hint


def test_a_missing_model(refused: Refused):
    error, hint = refused("run", "--set", "run.model=/nowhere/model")
    assert "/nowhere/model" in error
    assert "run.model" in hint


@pytest.mark.parametrize("broken", ["absent", "garbage"])
def test_a_model_without_a_usable_tokenizer(refused: Refused, tmp_path: Path, broken: str):
    model = tmp_path / "model"
    shutil.copytree(resolve_model(TINY), model)
    (model / "tokenizer.json").unlink()
    if broken == "garbage":
        (model / "tokenizer.json").write_text("{}", encoding="utf-8")
    error, _ = refused("run", "--set", f"run.model={model}")
    assert "tokenizer.json" in error


def test_too_little_disk_for_the_run(refused: Refused, tmp_path: Path):
    # No disk holds the rollouts of this many steps.
    error, hint = refused("run", "--steps", "1000000000000", "--run-dir", str(tmp_path / "run"))
    assert "needs about" in error
    assert "MiB are free" in error
    assert "Free " in hint
    assert not (tmp_path / "run").exists()


def test_a_directory_that_holds_a_run(refused: Refused, tmp_path: Path):
    (tmp_path / "config.toml").write_text("", encoding="utf-8")
    error, hint = refused("run", "--run-dir", str(tmp_path))
    assert "already holds a run" in error
    assert "--resume" in hint


def test_a_directory_in_use(refused: Refused, tmp_path: Path):
    directory = RunDirectory(tmp_path / "run")
    with locked(directory):
        error, _ = refused("run", "--run-dir", str(directory.root))
    assert "in use by another run" in error


@pytest.mark.parametrize("command", ["report", "status"])
def test_looking_at_what_is_no_run(refused: Refused, tmp_path: Path, command: str):
    error, _ = refused(command, str(tmp_path))
    assert "holds no run" in error


def test_resuming_what_is_no_run(refused: Refused, tmp_path: Path):
    error, _ = refused("run", "--resume", str(tmp_path))
    assert "holds no run" in error


def test_resuming_with_another_config(refused: Refused, tmp_path: Path):
    error, hint = refused("run", "tiny-cpu", "--resume", str(tmp_path))
    assert "--resume" in error
    assert f"azr run --resume {tmp_path}" in hint


@pytest.mark.parametrize("url", ["mysql://host/db", "not a url"])
def test_a_database_that_is_not_supported(refused: Refused, url: str):
    error, hint = refused("run", "--db", url)
    assert url.partition(":")[0] in error
    assert "sqlite:///" in hint


def test_a_database_server_that_is_not_there(refused: Refused):
    error, hint = refused("run", "--db", "postgresql://me:secret@/azr?host=/nowhere")
    assert "the server cannot be reached" in error
    assert "secret" not in error
    assert "the server runs" in hint


def test_a_new_run_in_an_old_database(refused: Refused, tmp_path: Path):
    (tmp_path / "old.sqlite").touch()
    error, _ = refused("run", "--db", f"sqlite:///{tmp_path}/old.sqlite")
    assert "needs a new database" in error


def test_several_nodes_on_sqlite(refused: Refused):
    error, _ = refused("run", "--nodes", "2", "--db", "sqlite:///history.sqlite")
    assert "2 nodes need a database server" in error


def test_a_benchmark_over_an_old_one(refused: Refused, tmp_path: Path):
    error, _ = refused("bench", "pipeline", "--out", str(tmp_path))
    assert "exists already" in error


def test_a_machine_that_allows_no_jail(tmp_path: Path):
    # Namespaces cannot be nested in here, which is what some containers forbid.
    shell = "echo 0 > /proc/sys/user/max_user_namespaces && exec {python} -c '{code}' run"
    code = "from azr.cli import main; main()"
    command = shell.format(python=sys.executable, code=code)
    namespace = ["unshare", "--user", "--map-root-user"]
    if subprocess.run([*namespace, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine allows no user namespace to try it in")
    done = subprocess.run(
        [*namespace, "sh", "-c", command],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == EXIT_REFUSED
    error, hint = done.stderr.splitlines()
    assert error == "error: no jail can start: no further user namespace is allowed"
    assert hint.startswith("hint: Run: sudo sysctl")
    assert list(tmp_path.iterdir()) == []
