"""How calls become jobs, and how a job's runs become one outcome per call. Pure."""

from __future__ import annotations

from dataclasses import replace

from azr import values
from azr.config import SandboxSection
from azr.sandbox.guest import wire
from azr.sandbox.protocol import Request
from azr.types import Outcome, Verdict

JOB_SECONDS = 30.0
"""A job's calls may take at most this much wall time together, and ..."""
JOB_BYTES = wire.REQUEST_BYTES - 4096
"""... at most this much text, so that it fits in one packet."""
MAX_CALL_CHARS = 16_384


def refused(request: Request, limits: SandboxSection) -> Outcome | None:
    """The outcome of every call of a program that is not worth a job."""
    if len(request.program) <= limits.max_program_chars:
        return None
    return Outcome(Verdict.BANNED_CONSTRUCT, detail="program too long")


def next_job(request: Request, start: int, limits: SandboxSection) -> Request | None:
    """As many calls from `start` on as one job takes; None if not even the first fits."""
    most = max(1, int(JOB_SECONDS // (limits.wall_seconds * request.repeats)))
    room = JOB_BYTES - _wire_bytes(request.program)
    calls: list[str] = []
    for text in request.calls[start : start + most]:
        room -= _wire_bytes(text)
        if room < 0 or len(text) > MAX_CALL_CHARS:
            break
        calls.append(text)
    return replace(request, calls=tuple(calls)) if calls else None


def too_long(request: Request) -> Outcome:
    """The outcome of a call that no job takes."""
    literal = request.operation == "parse_literals"
    return Outcome(Verdict.BAD_LITERAL if literal else Verdict.BAD_INPUT, detail="too long")


def settled(observed: tuple[Outcome, ...], job: Request) -> list[Outcome]:
    """Outcomes of a job's leading calls that came to a verdict, all repeats of each.

    The calls behind them never ran, because an earlier one ended the process.
    """
    found: list[Outcome] = []
    for start in range(0, job.runs, job.repeats):
        runs = observed[start : start + job.repeats]
        if runs[0].verdict is Verdict.NOT_RUN:
            break
        # A call that ended the process in an early repeat ended that way in all of them.
        found += [runs[0] if run.verdict is Verdict.NOT_RUN else run for run in runs]
    return found


def agreed(one: Outcome, other: Outcome, where: str) -> Outcome:
    """The outcome of a call whose two runs ended alike, else NONDETERMINISTIC(`where`).

    The time used is that of both.
    """
    cpu_seconds = one.cpu_seconds + other.cpu_seconds
    if _alike(one, other):
        return replace(one, cpu_seconds=cpu_seconds)
    return Outcome(Verdict.NONDETERMINISTIC, detail=where, cpu_seconds=cpu_seconds)


def _alike(one: Outcome, other: Outcome) -> bool:
    if one.verdict is not other.verdict:
        return False
    if one.value is None or other.value is None:
        return one.detail == other.detail
    return values.equal(one.value, other.value)


def _wire_bytes(text: str) -> int:
    """At most what `marshal` makes of it."""
    return len(text.encode("utf-8", "surrogatepass")) + 5
