"""What `azr bench serve-live` makes of what it saw."""

from __future__ import annotations

import json

import pytest

from azr.serve.live_load import seen
from azr.serve.live_record import (
    Answer,
    LiveRecord,
    Phase,
    Step,
    Window,
    failures,
    falls,
    together,
    window,
)

SPAN = {"choice": 0, "lineage": 0}


def answer(sent_at: float, ended_at: float, *versions: int, replica: str = "a") -> Answer:
    return Answer(
        sent_at=sent_at, ended_at=ended_at, status=200, replica=replica, versions=versions
    )


def step(committed_at: float, *, rollouts: int = 10, tokens: float = 0, cpu: float = 0) -> Step:
    return Step(committed_at, rollouts, tokens, cpu)


def side(rollouts: int, *, is_loaded: bool, minutes: int = 1) -> Window:
    return Window(
        is_loaded=is_loaded,
        seconds=60 * minutes,
        num_steps=4 * minutes,
        num_rollouts=rollouts,
        sampled_tokens=600 * minutes,
        cpu_seconds=100 * minutes,
    )


def record(*windows: Window, answers: tuple[Answer, ...] = (), ended: str = "") -> LiveRecord:
    return LiveRecord(
        command="azr bench serve-live",
        machine="a machine",
        other_load=0.5,
        answers=answers or (answer(0, 1, 3),),
        windows=windows or (side(100, is_loaded=False), side(90, is_loaded=True)),
        max_share=0.25,
        run_ended=ended,
    )


def test_a_window_goes_from_the_first_commit_of_its_phase_to_the_last():
    steps = [step(at, tokens=100 * at, cpu=2 * at) for at in (1, 5, 8, 12, 20)]
    found = window(Phase(is_loaded=True, began_at=4, ended_at=13), steps)
    assert found == Window(
        is_loaded=True,
        seconds=7,
        num_steps=2,
        num_rollouts=20,
        sampled_tokens=700,
        cpu_seconds=14,
    )


def test_a_phase_with_one_commit_has_no_window():
    with pytest.raises(ValueError, match="two learner steps"):
        window(Phase(is_loaded=False, began_at=0, ended_at=4), [step(3), step(5)])


def test_a_side_is_all_its_windows_however_long_they_were():
    windows = [
        side(5, is_loaded=True, minutes=2),
        side(99, is_loaded=False),
        side(4, is_loaded=True),
    ]
    assert together(windows, is_loaded=True) == side(9, is_loaded=True, minutes=3)


def test_versions_that_grow_fall_nowhere():
    assert not falls([answer(0, 2, 3, 4), answer(1, 3, 4), answer(2, 5, 4, 5)])


def test_a_version_that_falls_after_an_answer_had_ended_is_found():
    [told] = falls([answer(0, 2, 5), answer(2, 3, 4)])
    assert told == "a: version 4 after 5"


def test_answers_that_overlap_may_end_in_any_order():
    assert not falls([answer(0, 2, 5), answer(1, 3, 4)])


def test_a_version_that_falls_inside_an_answer_is_found():
    assert len(falls([answer(0, 2, 5, 4)])) == 1


def test_each_replica_has_versions_of_its_own():
    assert not falls([answer(0, 2, 5, replica="a"), answer(3, 4, 4, replica="b")])


def test_an_answer_that_names_no_policy_is_a_failure():
    refused = Answer(sent_at=0, ended_at=1, status=503, error="the engine is gone")
    assert failures([answer(0, 1, 3), answer(0, 1), refused, refused]) == [
        "2 x status 503: the engine is gone",
        "1 x status 200: no policy version",
    ]


def test_a_fall_within_the_share_keeps_every_law():
    kept = record()
    assert kept.fall == pytest.approx(0.1)
    assert not kept.broken
    assert "fell by 10.0%" in kept.verdict()
    assert "0.90x" in kept.page()


def test_each_broken_law_is_told():
    slow = (side(100, is_loaded=False), side(70, is_loaded=True))
    failed = Answer(sent_at=0, ended_at=1, status=0, error="ReadError")
    fallen = (answer(0, 1, 3), answer(2, 3, 2), failed)
    told = record(*slow, answers=fallen, ended="exit code 1").broken
    assert [law.split(":")[0] for law in told] == [
        "requests failed",
        "a version fell",
        "training fell by 30%, more than serve.max_share = 0.25",
        "the run did not end well",
    ]


def test_a_whole_answer_names_who_sampled_its_tokens():
    spans = [
        {**SPAN, "version": 4, "start": 7, "end": 9},
        {**SPAN, "version": 3, "start": 0, "end": 7},
    ]
    text = json.dumps({"choices": [], "policy_version": 4, "policy_spans": spans})
    headers = {"x-azr-replica": "replica-1", "content-type": "application/json"}
    found = seen(200, headers, text, at=(1.0, 2.0))
    assert (found.replica, found.versions, found.is_good) == ("replica-1", (3, 4, 4), True)


def stream(*documents: dict, end: str = "data: [DONE]\n\n") -> Answer:
    text = "".join(f"data: {json.dumps(document)}\n\n" for document in documents) + end
    return seen(200, {"content-type": "text/event-stream; charset=utf-8"}, text, at=(1.0, 2.0))


def test_a_stream_names_its_policy_in_its_last_event():
    found = stream({"policy_version": 3}, {"policy_version": 4, "policy_spans": []})
    assert (found.versions, found.is_good) == ((4,), True)


def test_a_stream_that_breaks_off_is_a_failure():
    assert stream({"policy_version": 3}, end="").error == "a stream that broke off"
    assert stream({"policy_version": 3}, {"error": {"message": "gone"}}).error == "gone"


def test_an_answer_that_cannot_be_read_is_a_failure():
    found = seen(502, {"content-type": "text/html"}, "<html>", at=(1.0, 2.0))
    assert not found.is_good
    assert found.error.startswith("an answer that cannot be read")
