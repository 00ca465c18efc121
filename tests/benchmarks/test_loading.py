"""Benchmark files: read from a folder, or refused with a reason."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from azr.benchmarks.catalogue import BENCHMARKS, SUITES, choose
from azr.benchmarks.loading import load, missing, require
from azr.benchmarks.programs import read_tests
from azr.benchmarks.questions import FunctionReference, MathReference, ProgramReference
from azr.errors import InputError


def test_every_sample_file_is_read_whole(data: Path) -> None:
    for name in ("aime24", "aime25", "amc23", "math500", "minerva", "olympiadbench", "mbpp+"):
        loaded = load(BENCHMARKS[name], data)
        assert len(loaded.questions) == 20
        assert loaded.notes == (f"20 of {loaded.spec.num_rows} rows",)
        assert len({question.question_id for question in loaded.questions}) == 20
        assert all(question.text.strip() for question in loaded.questions)


def test_a_file_is_known_by_its_digest(data: Path) -> None:
    (facts,) = load(BENCHMARKS["aime24"], data).files
    content = (data / "aime24.jsonl").read_bytes()
    assert facts.sha256 == hashlib.sha256(content).hexdigest()
    assert facts.num_bytes == len(content)


def test_references_are_what_the_rows_say(data: Path) -> None:
    minerva = load(BENCHMARKS["minerva"], data).questions[1].reference
    assert minerva == MathReference(answers=("4.5e33",))
    amc = load(BENCHMARKS["amc23"], data).questions[0].reference
    assert amc == MathReference(answers=("27",))
    mbpp = load(BENCHMARKS["mbpp+"], data).questions[0].reference
    assert isinstance(mbpp, FunctionReference)
    assert mbpp.base_inputs[0] == ((3, 4, 5, 6), (5, 7, 4, 10)), "JSON has no tuples"


def test_published_tests_are_read_packed_or_plain(data: Path) -> None:
    for question in load(BENCHMARKS["livecodebench"], data).questions:
        assert isinstance(question.reference, ProgramReference)
        assert len(read_tests(question.reference)) >= 3


def test_a_pickle_of_anything_but_text_is_refused(tmp_path: Path) -> None:
    import base64
    import json
    import pickle
    import zlib

    class Hostile:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "ran",))

    packed = base64.b64encode(zlib.compress(pickle.dumps(Hostile()))).decode()
    path = tmp_path / "row.jsonl"
    path.write_text(json.dumps({"private_test_cases": packed}))
    with pytest.raises(ValueError, match="private tests"):
        read_tests(ProgramReference(path=path, offset=0))
    assert not (tmp_path / "ran").exists()


def test_a_malformed_row_is_named(tmp_path: Path) -> None:
    (tmp_path / "aime24.jsonl").write_text('{"id": 1, "problem": "?", "answer": "1"}\n{"id": 2}\n')
    with pytest.raises(InputError, match=r"aime24\.jsonl row 2 is not a row of AIME24: \"answer\""):
        load(BENCHMARKS["aime24"], tmp_path)


def test_a_missing_file_is_named_with_its_place_and_source(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"math500\.jsonl is missing") as caught:
        require(choose("math500"), tmp_path)
    assert "math500/test.jsonl" in caught.value.hint
    assert missing(BENCHMARKS["math500"], tmp_path) == BENCHMARKS["math500"].files


def test_names_and_suites_choose_in_the_order_of_the_table() -> None:
    assert [spec.name for spec in choose("aime24,humaneval+")] == ["humaneval+", "aime24"]
    assert len(choose("paper")) == 12
    assert choose("code, math, code") == tuple(
        BENCHMARKS[n] for n in SUITES["code"] + SUITES["math"]
    )
    with pytest.raises(InputError, match="there is no benchmark 'gsm8k'"):
        choose("gsm8k")
