"""Laws of `azr tasks import` and `export`: only what the jail validated enters a buffer."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

from azr.errors import AzrError
from tests.cli.conftest import Azr

PAIR = {"snippet": "def f(a):\n    return a + 1", "input": "1", "output": "2", "imports": []}
SORTED = {
    "snippet": "def f(a):\n    return Counter(a).most_common(1)",
    "input": "'aab'",
    "output": "[('a', 2)]",
    "imports": ["from collections import Counter"],
}
FAILING = {
    "snippet": "def f(a):\n    return a[3]",
    "input": "[1]",
    "error": "IndexError",
    "imports": [],
}
MANY = {
    "snippet": "def f(a):\n    return a * 2",
    "inputs": ["1", "2", "'x'", "[3]"],
    "outputs": ["2", "4", "'xx'", "[3, 3]"],
    "message": "Double it.",
    "imports": [],
}
BAD: dict[str, Mapping[str, object] | str] = {
    "not JSON": "{",
    "not a JSON object": "[1]",
    "no program": PAIR | {"snippet": ""},
    "no values": {"snippet": "def f(): pass"},
    "2 inputs but 1 outputs": MANY | {"inputs": ["1", "2"], "outputs": ["1"]},
    "no input/output pairs": MANY | {"inputs": [], "outputs": []},
    "`message` must be text": MANY | {"message": 7},
    "runtime_error": PAIR | {"snippet": "def f(a):\n    return a / 0"},
    "banned_import": PAIR | {"snippet": "import os\ndef f(a):\n    return os.getpid()"},
    "no_error": FAILING | {"input": "'abcd'"},
    "bad_input": PAIR | {"input": "print(1)"},
    "nondeterministic": PAIR | {"snippet": "def f(a):\n    return list({'a', 'b', 'c', 'd'})"},
    "prompt would be too long": PAIR | {"snippet": "def f(a):\n" + "    a = a + 1\n" * 400
                                        + "    return a"},
}  # fmt: skip


def write(path: Path, *rows: Mapping[str, object] | str) -> Path:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def tasks(run_dir: Path, where: str) -> list[tuple]:
    query = "select task_type, origin, visible_from, program, examples, message from task where "
    with closing(sqlite3.connect(run_dir / "azr.sqlite")) as connection:
        return connection.execute(query + where).fetchall()


def test_a_seed_file_fills_the_buffers_and_says_what_was_refused(
    azr: Azr, run_dir: Path, tmp_path: Path
) -> None:
    wrong = PAIR | {"snippet": "def f(a):\n    return a - 1", "output": "5"}
    file = write(tmp_path / "seeds.jsonl", PAIR, SORTED, MANY, wrong, "", *BAD.values())
    found = json.loads(azr("tasks", "import", file, "--db", run_dir, "--json").output)
    assert (found["rows"], found["added"]) == (4 + len(BAD), 2 * 3 + 1)
    assert found["recorded_output_differs"] == 1
    reasons = {refusal["line"]: refusal["reason"] for refusal in found["refused"]}
    for line, reason in enumerate(BAD, start=6):
        assert reason in reasons[line]
    [(kind, origin, visible_from, _, examples, message)] = tasks(run_dir, "message = 'Double it.'")
    assert (kind, origin, visible_from, message) == ("induction", "seed", 0, "Double it.")
    assert json.loads(examples)[3] == ["[3]", "[3,3]"]
    imported = tasks(run_dir, "program like 'from collections%'")
    assert sorted(kind for kind, *_ in imported) == ["abduction", "deduction"]
    # The jail's value counts, not the file's.
    outputs = [json.loads(pairs) for *_, pairs, _ in tasks(run_dir, "program like '%a - 1'")]
    assert outputs == [[["1", "0"]]] * 2


def test_importing_twice_adds_nothing_and_checks_pass(
    azr: Azr, run_dir: Path, tmp_path: Path
) -> None:
    file = write(tmp_path / "seeds.jsonl", PAIR, MANY)
    azr("tasks", "import", file, "--db", run_dir, "--type", "deduction")
    again = azr("tasks", "import", file, "--db", run_dir, "--type", "deduction").output
    assert "0 tasks added, 2 known already, 0 rows refused" in again
    assert azr("db", "check", run_dir).exit_code == 0


def test_an_exported_file_imports_into_another_run(azr: Azr, run_dir: Path, tmp_path: Path) -> None:
    file = tmp_path / "induction.jsonl"
    azr("tasks", "import", write(tmp_path / "seeds.jsonl", MANY), "--db", run_dir)
    azr("tasks", "export", file, "--type", "induction", "--db", run_dir, "--seeds-only")
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    [doubling] = [row for row in rows if row["message"] == "Double it."]
    assert {key: doubling[key] for key in MANY} == MANY
    new = tmp_path / "new"
    said = azr("tasks", "import", file, "--db", new, "--config", "tiny-cpu").output
    assert f"{len(rows)} rows: {len(rows)} tasks added" in said
    assert len(tasks(new, "origin = 'seed'")) == len(rows)
    assert (new / "config.toml").is_file()


def test_error_tasks_come_and_go_as_rows_of_their_own(
    azr: Azr, run_dir: Path, tmp_path: Path
) -> None:
    stale = FAILING | {"input": "{}"}  # raises a KeyError
    file = write(tmp_path / "seeds.jsonl", FAILING, stale, PAIR)
    found = json.loads(azr("tasks", "import", file, "--db", run_dir, "--json").output)
    assert (found["recorded_output_differs"], found["refused"]) == (1, [])
    rows = tasks(run_dir, "task_type = 'error' order by ordinal")
    assert [json.loads(examples) for *_, examples, _ in rows] == [
        [["[1]", '"IndexError"']],
        [["{}", '"KeyError"']],
    ]
    out = tmp_path / "errors.jsonl"
    azr("tasks", "export", out, "--type", "error", "--db", run_dir)
    first, second = map(json.loads, out.read_text(encoding="utf-8").splitlines())
    assert first == FAILING
    assert second == stale | {"error": "KeyError"}
    assert "return a[3]" in azr("tasks", "list", "--type", "error", "--db", run_dir).output
    assert azr("db", "check", run_dir).exit_code == 0
    inspected = json.loads(azr("tasks", "inspect", file, "--json").output)["problems"]
    assert [(each["line"], each["problem"]) for each in inspected] == [(2, "other output")]


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("import", "nothing.jsonl"), "cannot be read"),
        (("import", "seeds.jsonl", "--type", "induction"), "not a choice"),
        (("import", "seeds.jsonl", "--type", "error"), "a row with `error` is one"),
        (("import", "seeds.jsonl", "--config", "tiny-cpu"), "already holds a run"),
        (("export", "seeds.jsonl", "--type", "deduction"), "exists already"),
        (("export", "no/folder.jsonl", "--type", "deduction"), "there is no folder"),
    ],
)
def test_what_cannot_be_transferred_is_refused(
    azr: Azr,
    run_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    error: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "seeds.jsonl", PAIR)
    refusal = azr("tasks", *words, "--db", run_dir).exception
    assert isinstance(refusal, AzrError)
    assert error in str(refusal)
