"""Laws of `azr prompts`: it shows what the model gets, and starts a folder of templates."""

from __future__ import annotations

from pathlib import Path

import pytest

from azr.errors import ConfigError
from azr.prompts.templates import TEMPLATES
from azr.task_types import MAIN_TYPES
from azr.types import Role
from tests.cli.conftest import Azr


def test_it_shows_one_prompt_as_the_model_gets_it_and_by_default_all_six(azr: Azr) -> None:
    one = azr("prompts", "show", "--family", "r1", "--type", "abduction", "--role", "solve")
    assert one.exit_code == 0
    assert one.output.startswith("A user puts a question")
    assert one.output.endswith("Assistant: <think>\n")
    every = azr("prompts", "show").output
    assert all(f"==== {role} {kind} ====" in every for role in Role for kind in MAIN_TYPES)
    assert every.count("<think>\n") == 6


def test_a_copied_template_can_be_changed_and_is_shown(azr: Azr, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    assert azr("prompts", "templates", "--copy", mine).exit_code == 0
    assert {path.stem for path in mine.iterdir()} == set(TEMPLATES)
    (mine / "outer.txt").write_text("Q: $question\nA: <think>\n", encoding="utf-8")
    shown = azr("prompts", "show", "--family", "r1", "--set", f"prompts.templates={mine}")
    assert shown.output.count("Q: ## Your task") == 6


def test_a_folder_with_templates_is_not_written_over(azr: Azr, tmp_path: Path) -> None:
    (tmp_path / "outer.txt").write_text("mine", encoding="utf-8")
    refused = azr("prompts", "templates", "--copy", tmp_path)
    assert isinstance(refused.exception, ConfigError)
    assert (tmp_path / "outer.txt").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("text", ["Q: $qestion <think>", "Q: $question"])
def test_a_broken_template_is_refused_before_anything_starts(
    azr: Azr, tmp_path: Path, text: str
) -> None:
    (tmp_path / "outer.txt").write_text(text, encoding="utf-8")
    for words in (["prompts", "show"], ["run"]):
        overrides = ["--set", "prompts.family=r1", "--set", f"prompts.templates={tmp_path}"]
        own = ["--run-dir", str(tmp_path / "run")] if words == ["run"] else []
        refused = azr(*words, *overrides, *own)
        assert isinstance(refused.exception, ConfigError)
        assert "outer.txt" in str(refused.exception)
    assert not (tmp_path / "run").exists()
