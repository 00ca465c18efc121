"""`azr sandbox bench` prints a figure for every way, and says what it cannot do."""

from __future__ import annotations

import json
import os
import sys

import pytest

from azr.cli import main
from azr.cli.errors import EXIT_REFUSED
from azr.sandbox.bench.measure import NAMES


def azr(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["azr", "sandbox", "bench", *arguments])
    with pytest.raises(SystemExit) as exit_:
        main()
    return int(exit_.value.code or 0)


def test_json_has_a_figure_for_every_way(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cores = os.sched_getaffinity(0)
    assert azr(monkeypatch, "--seconds", "1", "--rounds", "1", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert os.sched_getaffinity(0) == cores
    assert [way["name"] for way in found["ways"]] == list(NAMES)
    for way in found["ways"]:
        assert way["executions_per_second"]["median"] > 0
        assert 0 < way["job_milliseconds"]["p50"] <= way["job_milliseconds"]["p99"]
    assert found["pinned"]["core"] in cores
    assert len(found["scaling"]) == (2 if len(cores) > 1 else 0)
    assert all(ratio["median"] > 0 for ratio in found["ratios"])


def test_too_little_time_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert azr(monkeypatch, "--seconds", "1", "--rounds", "1000") == EXIT_REFUSED
    assert "--rounds" in capsys.readouterr().err
