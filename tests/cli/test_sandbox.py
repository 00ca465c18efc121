"""`azr sandbox run` and `check`: what they print, in which shape, and what they refuse."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from azr.cli import main
from azr.cli.errors import EXIT_REFUSED
from azr.cli.sandbox import EXIT_DISAGREES

type Azr = Callable[..., str]

ECHO = "def f(a, b=0):\n    return [a, b]"
SETS = "def f():\n    return list({'alpha', 'beta', 'gamma', 'delta', 'epsilon', 'zeta'})"


@pytest.fixture
def azr(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Azr:
    """Run `azr sandbox` with these arguments; returns what it printed."""

    def run(*arguments: object, code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["azr", "sandbox", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            main()
        captured = capsys.readouterr()
        assert (exit_.value.code or 0) == code, captured.err
        return captured.err if code == EXIT_REFUSED else captured.out

    return run


def lines(path: Path, *rows: Mapping[str, object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def program(folder: Path, source: str) -> Path:
    path = folder / "program.py"
    path.write_text(source, encoding="utf-8")
    return path


def test_one_program_is_called_once(azr: Azr, tmp_path: Path):
    path = program(tmp_path, ECHO)
    assert azr("run", path, "--call", "1, b=(2,)") == "ok [1, (2,)]\n"
    assert json.loads(azr("run", path, "--call", "1, b=(2,)", "--json")) == {
        "verdict": "ok",
        "detail": "",
        "value": "[1, (2,)]",
    }


def test_a_failure_is_a_verdict_and_no_error(azr: Azr, tmp_path: Path):
    path = program(tmp_path, "def f():\n    return {}['x']")
    assert azr("run", path) == "runtime_error: KeyError\n"


def test_the_policy_can_be_left_out(azr: Azr, tmp_path: Path):
    path = program(tmp_path, "import os\ndef f():\n    return os.sep")
    assert azr("run", path) == "banned_import: os\n"
    assert azr("run", path, "--no-policy") == "ok '/'\n"


def test_rows_are_judged_in_order_under_the_determinism_check(azr: Azr, tmp_path: Path):
    rows = [{"name": f"n{i}", "source": ECHO, "call": str(i)} for i in range(20)]
    rows.insert(3, {"name": "sets", "source": SETS, "call": ""})
    rows.insert(7, {"name": "slow", "source": "def f():\n    while True: pass", "call": ""})
    file = lines(tmp_path / "rows.jsonl", *rows)
    out = azr("run", "--jsonl", file, "--json", "--set", "sandbox.cpu_seconds=1")
    judged = [json.loads(line) for line in out.splitlines()]
    assert [row["name"] for row in judged] == [row["name"] for row in rows]
    assert [row["verdict"] for row in judged if row["name"][0] == "n"] == ["ok"] * 20
    assert judged[3] == {
        "name": "sets",
        "verdict": "nondeterministic",
        "detail": "other hash seed",
        "value": None,
    }
    assert judged[7]["verdict"] == "timeout"


def test_a_replay_says_which_rows_agree_and_why_the_others_do_not(azr: Azr, tmp_path: Path):
    long = "'" + "x" * 500 + "'"
    rows = [
        {"snippet": ECHO, "input": "1", "output": "[1.0, 0]"},
        {"snippet": ECHO, "input": "1", "output": "[2, 0]"},
        {"snippet": ECHO, "input": "1", "output": "<object>"},
        {"snippet": ECHO, "input": "dict(a=1)", "output": "[{'a': 1}, 0]"},
        {"snippet": SETS, "input": "", "output": "[]"},
        {"snippet": ECHO, "inputs": ["1", "2"], "outputs": ["[1, 0]", "[2, 0]"]},
        {"snippet": ECHO, "inputs": ["1", "2"], "outputs": ["[1, 0]", "[3, 0]"]},
        {
            "snippet": "def f(a):\n    return a",
            "input": long,
            "output": long[:200] + "..." + long[-200:],
        },
    ]
    report = json.loads(azr("check", lines(tmp_path / "seeds.jsonl", *rows), "--json"))
    assert {key: report[key] for key in ("rows", "agree", "verdicts")} == {
        "rows": 8,
        "agree": 2,
        "verdicts": {"ok": 6, "bad_input": 1, "nondeterministic": 1},
    }
    found = [(row["row"], row["agrees"], row["reason"]) for row in report["per_row"]]
    assert found == [
        (0, True, ""),
        (1, False, "returned [1, 0], recorded [2, 0]"),
        (2, None, "the recorded output is no literal: <object>"),
        (3, None, "the input is no literal: dict(a=1)"),
        (4, None, "nondeterministic: other hash seed"),
        (5, True, ""),
        (6, False, "input 2 of 2: returned [2, 0], recorded [3, 0]"),
        (7, False, "the recorded output was cut to 400 characters"),
    ]
    assert azr("check", tmp_path / "seeds.jsonl").splitlines()[-3:-1] == ["rows: 8", "agree: 2"]


def test_a_disagreement_can_be_an_exit_code(azr: Azr, tmp_path: Path):
    file = lines(tmp_path / "one.jsonl", {"snippet": ECHO, "input": "1", "output": "2"})
    azr("check", file)
    azr("check", file, "--exit-code", code=EXIT_DISAGREES)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('{"name": "a", "source": "", "call": ""}\n{oops\n', "line 2 is not JSON"),
        ("[]\n", "line 1 is not a JSON object"),
        ('\n{"name": "a", "source": ""}\n', 'line 2: "call" is missing'),
        ('{"name": "a", "source": 3, "call": ""}\n', 'line 1: "source" is not a string'),
        ("[" * 100_000, "line 1 is not JSON"),
    ],
)
def test_a_bad_row_is_refused_by_line_before_anything_runs(
    azr: Azr, tmp_path: Path, text: str, error: str
):
    (tmp_path / "rows.jsonl").write_text(text, encoding="utf-8")
    assert error in azr("run", "--jsonl", tmp_path / "rows.jsonl", "--json", code=EXIT_REFUSED)


@pytest.mark.parametrize(
    ("row", "error"),
    [
        ({"snippet": "", "input": "1"}, '"output" is missing'),
        ({"snippet": "", "inputs": ["1"], "outputs": []}, "1 inputs but 0 outputs"),
        ({"snippet": "", "inputs": [1], "outputs": ["1"]}, "not a list of strings"),
    ],
)
def test_a_bad_seed_row_is_refused(azr: Azr, tmp_path: Path, row: dict[str, object], error: str):
    file = lines(tmp_path / "seeds.jsonl", row)
    assert error in azr("check", file, code=EXIT_REFUSED)


def test_files_that_cannot_be_read_are_named(azr: Azr, tmp_path: Path):
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    absent = tmp_path / "absent"
    assert "absent cannot be read: No such file" in azr("run", absent, code=EXIT_REFUSED)
    assert "absent cannot be read" in azr("check", absent, code=EXIT_REFUSED)
    assert "cannot be read: Is a directory" in azr("check", tmp_path, code=EXIT_REFUSED)
    assert "is not UTF-8 text" in azr("run", tmp_path / "binary", code=EXIT_REFUSED)
    assert "is not UTF-8 text" in azr("check", tmp_path / "binary", code=EXIT_REFUSED)


def test_arguments_that_exclude_each_other_are_refused(azr: Azr, tmp_path: Path):
    path = program(tmp_path, ECHO)
    assert "either PROGRAM or --jsonl" in azr("run", code=EXIT_REFUSED)
    assert "either PROGRAM or --jsonl" in azr("run", path, "--jsonl", path, code=EXIT_REFUSED)
    assert "--call belongs to" in azr("run", "--jsonl", path, "--call", "1", code=EXIT_REFUSED)
    assert "No such option" in azr("check", path, "--strictly", code=EXIT_REFUSED)
    error = azr("run", path, "--set", "sandbox.wall=1", code=EXIT_REFUSED)
    assert "sandbox.wall is not a setting" in error


def test_a_short_soak_says_what_it_found(azr: Azr, tmp_path: Path):
    seeds = lines(tmp_path / "seeds.jsonl", {"snippet": ECHO, "input": "1", "output": "[1, 0]"})
    report = json.loads(azr("soak", seeds, "--programs", "40", "--json"))
    assert report["sound"] is True
    assert report["canaries"] == 4
    assert sum(report["verdicts"].values()) == 36
    assert report["last_tenth"]["processes"] > 0
    said = azr("soak", "--programs", "11")
    assert "canaries: 2, wrong: 0" in said


def test_a_soak_needs_rows(azr: Azr, tmp_path: Path):
    empty = lines(tmp_path / "empty.jsonl")
    assert "holds no rows" in azr("soak", empty, code=EXIT_REFUSED)


@pytest.mark.parametrize("command", ["run", "check", "soak"])
def test_help_shows_examples(azr: Azr, command: str):
    assert f"azr sandbox {command} " in azr(command, "--help").partition("Examples:")[2]
