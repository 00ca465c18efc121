"""Whatever a jail replies becomes one outcome per run, and never an exception."""

from __future__ import annotations

import json
import signal
import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azr import values
from azr.config import SandboxSection
from azr.sandbox.guest import wire
from azr.sandbox.jobs import MAX_CALL_CHARS, agreed, next_job, settled
from azr.sandbox.protocol import Reply, Request, outcomes, packet, parse_reply, reply_bytes
from azr.types import Outcome, Value, Verdict

LIMITS = SandboxSection()
OK_ONE = Outcome(Verdict.OK, Value("1"))


def frame(content: object) -> bytes:
    text = json.dumps(content).encode()
    return wire.FRAME_MAGIC + struct.pack("<I", len(text)) + text


def reply(*frames: object, reason: int = wire.FINISHED, status: int = 0) -> Reply:
    times = tuple(range(1, len(frames) + 2))
    return Reply(reason, status, len(frames), 0.0, b"".join(map(frame, frames)), times)


def request(runs: int, *, stop_at_failure: bool = False) -> Request:
    return Request(program="", calls=("1",) * runs, stop_at_failure=stop_at_failure)


contents = st.recursive(
    st.sampled_from([*Verdict]) | st.text(max_size=4) | st.integers() | st.none(),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)


@given(
    st.lists(contents, max_size=3),
    st.sampled_from([wire.FINISHED, wire.WALL, wire.CPU, wire.TOO_LARGE, wire.PROTOCOL]),
    st.sampled_from([0, 9, 11, 256, 98 << 8]),
    st.sampled_from([request(3), request(3, stop_at_failure=True)]),
)
def test_any_reply_is_one_outcome_per_run(
    frames: list[object], reason: int, status: int, asked: Request
) -> None:
    found = outcomes(reply(*frames, reason=reason, status=status), asked)
    assert len(found) == 3
    for outcome in found:
        assert (outcome.value is not None) == (outcome.verdict is Verdict.OK)
        if outcome.value is not None:
            assert values.parse_canonical(outcome.value.canonical) == outcome.value


@pytest.mark.parametrize(
    ("got", "last"),
    [
        (reply(["ok", "1"], reason=wire.WALL, status=9), Outcome(Verdict.TIMEOUT, detail="wall")),
        (reply(["ok", "1"], reason=wire.CPU, status=9), Outcome(Verdict.TIMEOUT, detail="cpu")),
        (reply(["ok", "1"], reason=wire.TOO_LARGE, status=9), Outcome(Verdict.OUTPUT_TOO_LARGE)),
        (reply(["ok", "1"], status=signal.SIGSEGV), Outcome(Verdict.KILLED, detail="SIGSEGV")),
        (reply(["ok", "1"], status=3 << 8), Outcome(Verdict.KILLED, detail="exit 3")),
        (reply(["ok", "1"], status=0), Outcome(Verdict.KILLED, detail="exit 0")),
        (reply(["ok", "1"], ["oom", ""]), Outcome(Verdict.OUT_OF_MEMORY)),
    ],
)
def test_a_job_cut_short_says_why_and_leaves_the_rest_not_run(got: Reply, last: Outcome) -> None:
    assert outcomes(got, request(3)) == (OK_ONE, last, Outcome(Verdict.NOT_RUN))


def test_a_result_of_a_process_that_would_not_exit_cleanly_does_not_count() -> None:
    assert outcomes(reply(["ok", "1"], status=9), request(1)) == (
        Outcome(Verdict.KILLED, detail="SIGKILL"),
    )


def test_a_verdict_on_the_program_holds_for_every_call() -> None:
    found = outcomes(reply(["banned_import", "os"]), request(3))
    assert found == (Outcome(Verdict.BANNED_IMPORT, detail="os"),) * 3


def test_a_stopped_job_leaves_the_rest_not_run() -> None:
    found = outcomes(reply(["runtime_error", "KeyError"]), request(2, stop_at_failure=True))
    assert [outcome.verdict for outcome in found] == [Verdict.RUNTIME_ERROR, Verdict.NOT_RUN]


def test_calls_settle_with_all_their_repeats() -> None:
    job = Request(program="", calls=("1", "2", "3"), repeats=2)
    timeout, not_run = Outcome(Verdict.TIMEOUT, detail="cpu"), Outcome(Verdict.NOT_RUN)
    observed = (OK_ONE, OK_ONE, timeout, not_run, not_run, not_run)
    assert settled(observed, job) == [OK_ONE, OK_ONE, timeout, timeout]


@given(st.lists(st.integers(0, MAX_CALL_CHARS + 50), max_size=30), st.sampled_from([1, 2]))
def test_every_call_is_in_exactly_one_job_that_fits_a_packet(
    lengths: list[int], repeats: int
) -> None:
    whole = Request(program="p" * 30_000, calls=tuple("\x00" * n for n in lengths), repeats=repeats)
    at = 0
    while at < len(whole.calls):
        job = next_job(whole, at, LIMITS)
        if job is None:
            assert len(whole.calls[at]) > 10_000
            at += 1
            continue
        assert job.calls == whole.calls[at : at + len(job.calls)]
        assert len(packet(job, LIMITS)) <= wire.REQUEST_BYTES
        assert job.runs * LIMITS.wall_seconds <= 30
        at += len(job.calls)


def test_each_outcome_has_the_time_of_its_own_run_and_the_last_one_the_rest() -> None:
    found = outcomes(reply(["ok", "1"], ["ok", "2"]), request(2))
    assert [outcome.cpu_seconds for outcome in found] == [1e-6, 2e-6]
    cut_short = outcomes(reply(["ok", "1"], reason=wire.CPU, status=9), request(3))
    assert [outcome.cpu_seconds for outcome in cut_short] == [1e-6, 2e-6, 0.0]
    forged = outcomes(reply("x", reason=wire.PROTOCOL), request(2))
    assert [outcome.cpu_seconds for outcome in forged] == [1.5e-6, 1.5e-6]


@given(st.integers(0, 3), st.binary(max_size=50), st.lists(st.integers(0, 2**32 - 1), min_size=1))
def test_a_reply_is_read_as_it_was_put_together(reason: int, data: bytes, times: list[int]) -> None:
    packed = wire.REPLY.pack(reason, 9, len(times) - 1, len(data), 1.5) + data
    packed += b"".join(map(wire.TIME.pack, times))
    assert reply_bytes(packed[: wire.REPLY.size]) == len(packed)
    assert parse_reply(packed) == Reply(reason, 9, len(times) - 1, 1.5, data, tuple(times))


def test_an_empty_job_has_no_outcomes() -> None:
    assert outcomes(reply(), request(0)) == ()
    assert outcomes(reply(status=9), request(0)) == ()


def test_the_time_of_a_call_that_ran_twice_is_that_of_both_runs() -> None:
    one, other = replace(OK_ONE, cpu_seconds=0.25), replace(OK_ONE, cpu_seconds=0.5)
    assert agreed(one, other, "here").cpu_seconds == 0.75
    two = replace(other, value=Value("2"))
    assert agreed(one, two, "here") == Outcome(Verdict.NONDETERMINISTIC, detail="here")
    assert agreed(one, two, "here").cpu_seconds == 0.75
