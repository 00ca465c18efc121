"""The README tells the truth: its files, commands, settings and queries exist."""

from __future__ import annotations

import re
import shlex
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from typer.main import get_command

from azr import config_files
from azr.cli import app
from azr.store.migrate import upgrade
from azr.store.sqlite import write_engine

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_it_starts_with_the_two_commands():
    first_block = README.split("```")[1]
    assert [line.split("#")[0].strip() for line in first_block.strip().splitlines()] == [
        "make run",
        "make test",
    ]


def test_every_file_it_links_exists():
    links = re.findall(r"\]\((?!https?:)([^)]+)\)", README)
    assert len(links) >= 9
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_command_and_option_it_shows_exists():
    group = get_command(app)
    shown = re.findall(r"^(?:\.venv/bin/)?azr (.+)$", README, flags=re.MULTILINE)
    assert shown
    for line in shown:
        name, *words = shlex.split(line, comments=True)
        command = group.commands[name]  # ty: ignore[missing-attribute]
        inner = getattr(command, "commands", {})
        command = inner[words[0]] if words and words[0] in inner else command
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options


def test_every_setting_it_names_exists():
    known = config_files.settings()
    sections = "|".join({name.partition(".")[0] for name in known})
    named = set(re.findall(rf"(?<![\w/.])(?:{sections})\.[a-z_]+", README))
    assert named
    assert named <= set(known)


@pytest.mark.parametrize("number", range(5))
def test_every_query_it_shows_runs(tmp_path: Path, number: int):
    queries = [q for q in README.split("```sql")[1].split("```")[0].split(";") if q.strip()]
    assert len(queries) == 5
    engine = write_engine(tmp_path / "azr.sqlite")
    with engine.begin() as connection:
        upgrade(connection)
    engine.dispose()
    with closing(sqlite3.connect(tmp_path / "azr.sqlite")) as plain:
        plain.execute(queries[number]).fetchall()
