"""One job as packets, and a jail's reply as outcomes. Pure: no sockets here.

Everything in a reply may be forged by the program that ran. So a reply is read
strictly (known verdicts, canonical values, no more frames than runs) and anything
else is KILLED("protocol"); a forged result is worth no more than a returned one,
because no expected value ever enters the jail.
"""

from __future__ import annotations

import json
import marshal
import math
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from azr import values
from azr.config import SandboxSection
from azr.sandbox.guest import wire
from azr.types import Outcome, Verdict

type Operation = Literal["run", "parse_literals"]

_GUEST_VERDICTS = {
    str(verdict): verdict
    for verdict in (
        Verdict.OK,
        Verdict.SYNTAX_ERROR,
        Verdict.RUNTIME_ERROR,
        Verdict.OUT_OF_MEMORY,
        Verdict.BANNED_IMPORT,
        Verdict.BANNED_CONSTRUCT,
        Verdict.OUTPUT_TOO_LARGE,
        Verdict.UNSERIALISABLE,
        Verdict.BAD_INPUT,
        Verdict.BAD_LITERAL,
    )
}
PROGRAM_VERDICTS = frozenset(
    {Verdict.SYNTAX_ERROR, Verdict.BANNED_IMPORT, Verdict.BANNED_CONSTRUCT}
)
"""Verdicts on the program itself: they hold for every call."""
NOT_RUN = Outcome(Verdict.NOT_RUN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One job: one program with its calls, or literals to parse."""

    operation: Operation = "run"
    program: str = ""
    calls: tuple[str, ...]
    """Argument texts, or literals."""
    repeats: int = 1
    """Runs of each call, one after the other in the same process."""
    policy: bool = True
    stop_at_failure: bool = False

    @property
    def runs(self) -> int:
        return len(self.calls) * self.repeats


@dataclass(frozen=True, slots=True)
class Reply:
    """What process 1 of a jail reports of one job."""

    stop_reason: int
    wait_status: int
    frames: int
    memory_mib: float
    data: bytes
    """The frames."""
    cpu_microseconds: tuple[int, ...]
    """CPU time of each frame's run, and at last of what came after them."""


def packet(request: Request, limits: SandboxSection) -> bytes:
    """The request as one packet, or ValueError if it is larger than a packet may be."""
    body = marshal.dumps(
        {
            "operation": request.operation,
            "program": request.program,
            "calls": request.calls,
            "repeats": request.repeats,
            "policy": request.policy,
            "stop_at_failure": request.stop_at_failure,
            "memory_mib": limits.memory_mib,
            "cpu_seconds": math.ceil(limits.cpu_seconds * request.runs) + 1,
            "output_chars": limits.max_output_chars,
        }
    )
    if len(body) + wire.HEADER.size > wire.REQUEST_BYTES:
        raise ValueError(f"request of {len(body)} bytes")
    # A character of a value takes at most four bytes in a frame.
    max_bytes = min(wire.RESULT_BYTES, request.runs * (4 * limits.max_output_chars + 128) + 1)
    header = wire.HEADER.pack(request.runs, max_bytes, limits.wall_seconds, limits.cpu_seconds)
    return header + body


def reply_bytes(first_packet: bytes) -> int:
    """The length of a reply whose first packet is this one."""
    _, _, frames, num_bytes, _ = wire.REPLY.unpack_from(first_packet)
    return wire.REPLY.size + num_bytes + wire.TIME.size * (frames + 1)


def parse_reply(data: bytes) -> Reply:
    """The reply that these packets, put together, are."""
    reason, status, frames, num_bytes, memory_mib = wire.REPLY.unpack_from(data)
    end = wire.REPLY.size + num_bytes
    times = tuple(time for (time,) in wire.TIME.iter_unpack(data[end:]))
    return Reply(reason, status, frames, memory_mib, data[wire.REPLY.size : end], times)


def outcomes(reply: Reply, request: Request) -> tuple[Outcome, ...]:
    """One outcome per run, in order; runs after one that ended the job are NOT_RUN."""
    seconds = [microseconds / 1e6 for microseconds in reply.cpu_microseconds]
    try:
        observed = _frames(reply, seconds)
    except ValueError:
        used = sum(seconds) / max(1, request.runs)
        return (Outcome(Verdict.KILLED, detail="protocol", cpu_seconds=used),) * request.runs
    if len(observed) == 1 and observed[0].verdict in PROGRAM_VERDICTS:
        return (observed[0],) * request.runs
    if len(observed) < request.runs and not _ended_early(reply, request, observed):
        observed.append(_end_of_job(reply, seconds[-1]))
    elif observed and (reply.stop_reason != wire.FINISHED or reply.wait_status != 0):
        # It reported a result, but then would not exit cleanly.
        observed[-1] = _end_of_job(reply, observed[-1].cpu_seconds + seconds[-1])
    return (*observed, *[NOT_RUN] * (request.runs - len(observed)))


def _frames(reply: Reply, seconds: Sequence[float]) -> list[Outcome]:
    if reply.stop_reason == wire.PROTOCOL:
        raise ValueError("not frames")
    found: list[Outcome] = []
    start = 0
    for frame in range(reply.frames):
        text = start + wire.FRAME_PREFIX_BYTES
        length = reply.data[start + len(wire.FRAME_MAGIC) : text]
        start = text + int.from_bytes(length, "little")
        found.append(_outcome(reply.data[text:start], seconds[frame]))
    return found


def _outcome(text: bytes, cpu_seconds: float) -> Outcome:
    """One frame as an outcome; ValueError if a correct child would not have written it."""
    match _loads(text):
        case [str(name), str(payload)] if name in _GUEST_VERDICTS:
            verdict = _GUEST_VERDICTS[name]
        case _:
            raise ValueError("unknown frame")
    if verdict is Verdict.OK:
        return Outcome(verdict, values.parse_canonical(payload), cpu_seconds=cpu_seconds)
    if len(payload) > 80 or not payload.isprintable():
        raise ValueError("not a detail")
    return Outcome(verdict, detail=payload, cpu_seconds=cpu_seconds)


def _loads(text: bytes) -> object:
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _ended_early(reply: Reply, request: Request, observed: list[Outcome]) -> bool:
    """Whether the child itself chose to leave the remaining runs out."""
    if not observed or reply.stop_reason != wire.FINISHED or reply.wait_status != 0:
        return False
    last = observed[-1].verdict
    return last is Verdict.OUT_OF_MEMORY or (request.stop_at_failure and last is not Verdict.OK)


def _end_of_job(reply: Reply, cpu_seconds: float) -> Outcome:
    """Why the run in progress has no result."""
    verdict, detail = Verdict.KILLED, ""
    match reply.stop_reason:
        case wire.WALL:
            verdict, detail = Verdict.TIMEOUT, "wall"
        case wire.CPU:
            verdict, detail = Verdict.TIMEOUT, "cpu"
        case wire.TOO_LARGE:
            verdict = Verdict.OUTPUT_TOO_LARGE
        case _ if os.WIFSIGNALED(reply.wait_status):
            detail = _signal_name(os.WTERMSIG(reply.wait_status))
        case _:
            detail = f"exit {os.waitstatus_to_exitcode(reply.wait_status)}"
    return Outcome(verdict, detail=detail, cpu_seconds=cpu_seconds)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
