"""`sandbox.isolation = "process"`: weaker, never silent, and the corpus still gets nowhere."""

from __future__ import annotations

import logging
import os
import signal

import anyio
import pytest

from azr import values
from azr.config import SandboxSection
from azr.sandbox import Request, SandboxPool, launch, probe
from azr.sandbox.launch import landlock_version
from azr.types import Outcome, Verdict

from .corpus import CASES, Case
from .processes import PATIENCE_SECONDS, family, gone, has_job, status

PROCESS = SandboxSection(
    isolation="process", workers=2, wall_seconds=8.0, cpu_seconds=1, memory_mib=256
)
ECHO = "def f(a):\n    return a"
ENDLESS = "def f(a):\n    while True: pass"
REFUSED = {"PermissionError", "FileNotFoundError", "ModuleNotFoundError", "ImportError", "OSError"}
"""What a program meets where files exist, but are not to be opened."""


@pytest.fixture(params=["landlock", "no landlock"])
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A machine with Landlock, and one whose kernel has none."""
    if request.param == "no landlock":
        monkeypatch.setattr(launch, "landlock_version", lambda: 0)
    elif landlock_version() == 0:
        pytest.skip("this kernel has no Landlock")
    return str(request.param)


@pytest.mark.timeout(300)
async def test_every_case_of_the_corpus_gets_a_safe_verdict(kernel: str) -> None:
    found: dict[str, Outcome] = {}
    # Who takes too long is told by the same zygote as in a jail: once is enough to wait for.
    cases = [case for case in CASES if "timeout" not in case.process]

    async def judge(pool: SandboxPool, case: Case) -> None:
        request = Request(program=case.program, calls=(case.call,), policy=False)
        examine = pool.examine_twice if case.validated else pool.examine
        (found[case.name],) = await examine(request)

    async with SandboxPool.open(PROCESS) as pool, anyio.create_task_group() as callers:
        for case in cases:
            callers.start_soon(judge, pool, case)
    wrong = {
        case.name: found[case.name]
        for case in cases
        if not _is_safe(found[case.name], case, kernel)
    }
    assert wrong == {}, kernel
    assert len(cases) > 500


async def test_the_probe_finds_every_promise_kept(kernel: str) -> None:
    report = await probe(PROCESS)
    assert report.ok, [check for check in report.checks if not check.kept]
    assert report.facts["isolation"] == "process"
    assert (report.facts["landlock"] == "none") == (kernel == "no landlock")


async def test_it_says_so_at_every_start(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "azr.sandbox"):
        async with SandboxPool.open(PROCESS) as pool:
            assert pool.facts["isolation"] == "process"
    assert any("WITHOUT a jail" in record.message for record in caplog.records)


async def test_its_processes_have_no_privilege_and_both_filters(kernel: str) -> None:
    assert kernel
    async with SandboxPool.open(PROCESS) as pool, anyio.create_task_group() as callers:
        callers.start_soon(pool.run, ENDLESS, ["1"])
        members = await _busy(pool)
        filters = [int(status(pid)["Seccomp_filters"]) for pid in members]
        assert filters[1] == filters[0] + 1 >= 2
        for pid in members:
            found = status(pid)
            assert "0" not in found["Uid"].split()
            assert found["NoNewPrivs"] == "1"
            assert {int(found[name], 16) for name in ("CapPrm", "CapEff", "CapAmb")} == {0}
        callers.cancel_scope.cancel()
    await gone(members)


async def test_a_job_dies_with_its_zygote() -> None:
    """No namespace ends it: it has to watch its parent."""
    async with SandboxPool.open(PROCESS) as pool, anyio.create_task_group() as callers:
        callers.start_soon(pool.run, ENDLESS, ["1"])
        zygote, job = await _busy(pool)
        os.kill(zygote, signal.SIGKILL)
        await gone([job])
        callers.cancel_scope.cancel()


HUNT = """
import os
def f(path):
    fd = os.open(path, os.O_RDONLY)
    return len(os.read(fd, 100))
"""


async def test_nothing_outside_the_root_can_be_read(kernel: str) -> None:
    paths = ["/etc/passwd", "/proc/self/status", "/proc/1/cmdline", "/sys/kernel/mm", "/", __file__]
    async with SandboxPool.open(PROCESS) as pool:
        request = Request(program=HUNT, calls=tuple(map(repr, paths)), policy=False)
        outcomes = await pool.examine(request)
        assert {outcome.verdict for outcome in outcomes} == {Verdict.RUNTIME_ERROR}, kernel
        assert await pool.validate(ECHO, ["1"]) == (Outcome(Verdict.OK, values.from_python(1)),)


def _is_safe(outcome: Outcome, case: Case, kernel: str) -> bool:
    """Whether this is an accepted verdict, or the exception that a refusal raises.

    Without Landlock no file can be looked at, and a program that tries fails in its own way.
    """
    shown = (str(outcome.verdict), f"{outcome.verdict}:{outcome.detail}")
    if any(one in shown for one in case.process.split("|")):
        return True
    refused = kernel == "no landlock" or outcome.detail in REFUSED
    return outcome.verdict is Verdict.RUNTIME_ERROR and refused


async def _busy(pool: SandboxPool) -> list[int]:
    """A zygote and its job."""
    with anyio.fail_after(PATIENCE_SECONDS):
        while True:
            for zygote in filter(has_job, pool.pids):
                return family(zygote)
            await anyio.sleep(0.005)
