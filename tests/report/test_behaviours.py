"""Laws of behaviours: each has its words, and a file that cannot be used says why."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from azr.cli import app
from azr.errors import ConfigError
from azr.monitor import Part
from azr.report.behaviours import MAX_CHARS, SHIPPED, load

THOUGHTS = {
    "step_by_step": "Let me go through it step by step",
    "enumeration": "There are two ways: 1. add them. 2. multiply them.",
    "trial_and_error": "If x is 3 it doesn't work, so let's try 4",
    "verification": "I get 7; let me verify the result",
    "backtracking": "It returns 4. Wait, the list is reversed",
    "planning": "I need to find the inverse of the loop",
    "state_tracking": "After the loop x = 12 and a becomes the list",
    "mixed_scripts": "so the answer is \u7b54\u6848",
}
ANSWERS = {
    "comments_as_plans": "def f(x):\n    # now reverse the list\n    return x[::-1]",
}
PLAIN = "The function multiplies both numbers, so f(2, 3) gives six."


def test_each_shipped_behaviour_is_found_in_its_words_and_not_in_others():
    behaviours = load()
    assert {kind.name for kind in behaviours.kinds} == {*THOUGHTS, *ANSWERS}
    assert behaviours.shown_by(f"{PLAIN}</think>{PLAIN}").matches == {}
    for name, text in THOUGHTS.items():
        assert set(behaviours.shown_by(f"{text}</think>{PLAIN}").matches) == {name}, name
    for name, text in ANSWERS.items():
        assert set(behaviours.shown_by(f"{PLAIN}</think>{text}").matches) == {name}, name


def test_a_part_is_read_by_its_own_patterns_only():
    behaviours = load()
    elsewhere = f"{ANSWERS['comments_as_plans']}</think>{THOUGHTS['backtracking']}"
    assert behaviours.shown_by(elsewhere).matches == {}


@pytest.mark.parametrize(
    ("response", "parts"),
    [
        ("", set()),
        ("  </think>\n", set()),
        ("</think>42", {Part.ANSWER}),
        ("hm", {Part.THINK}),
        ("hm</think>42", set(Part)),
    ],
)
def test_empty_parts_do_not_count(response: str, parts: set[Part]):
    assert load().shown_by(response).parts == parts


def test_matches_are_counted_up_to_the_limit():
    words = "wait " * MAX_CHARS
    assert load().shown_by(words).matches == {"backtracking": MAX_CHARS // len("wait ")}


def test_a_file_of_ones_own_replaces_all_of_the_shipped_one(tmp_path: Path):
    file = tmp_path / "mine.toml"
    file.write_text('[doubt]\nmeaning = "is not sure"\npatterns = ["\\\\bmaybe\\\\b", "perhaps"]\n')
    behaviours = load(file)
    assert [kind.name for kind in behaviours.kinds] == ["doubt"]
    assert behaviours.shown_by("Maybe 3, perhaps 4. Wait.").matches == {"doubt": 2}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[doubt", "is no TOML"),
        ('[doubt]\npatterns = ["maybe"]', "doubt.meaning: Field required"),
        ('[doubt]\nmeaning = "?"\npattern = "maybe"', "doubt.patterns: Field required"),
        ('[doubt]\nmeaning = "?"\npatterns = []', "doubt has no patterns"),
        ('[doubt]\nmeaning = "?"\npatterns = ["maybe("]', "doubt: missing"),
        ('[doubt]\nmeaning = "?"\npatterns = ["x"]\npart = "code"', "doubt.part: Input should be"),
        ('[doubt]\nmeaning = "?"\npatterns = ["(a+)+b"]', "may take for ever"),
        ('[Doubt]\nmeaning = "?"\npatterns = ["a"]', "small letters"),
        ("doubt = 3", "doubt: Input should be"),
    ],
)
def test_a_file_that_cannot_be_used_is_an_error_that_names_the_place(
    tmp_path: Path, text: str, complaint: str
):
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"mine\.toml") as refusal:
        load(file)
    assert complaint in str(refusal.value)


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path):
    with pytest.raises(ConfigError, match="No such file"):
        load(tmp_path / "none.toml")


def test_the_shipped_file_can_be_printed_to_begin_ones_own_with():
    result = CliRunner().invoke(app, ["report", "--show-behaviours"])
    assert (result.exit_code, result.stdout) == (0, SHIPPED.read_text(encoding="utf-8"))
