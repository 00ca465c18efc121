"""The start-up self-test: does this machine's jail hold what it promises?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from azr.config import SandboxSection
from azr.sandbox.pool import SandboxPool
from azr.sandbox.protocol import Request
from azr.types import Outcome, Verdict


@dataclass(frozen=True, slots=True)
class ProbeCheck:
    """One promise, and what the jail did."""

    promise: str
    observed: str
    """Verdict and detail."""
    kept: bool


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """What `azr doctor` shows of the sandbox."""

    root_key: str
    """Interpreter and guest, part of a run's environment."""
    checks: tuple[ProbeCheck, ...]
    facts: Mapping[str, str]
    """What separates programs from this machine: isolation, landlock, cgroup."""

    @property
    def ok(self) -> bool:
        return all(check.kept for check in self.checks)


_FORGE = """
import json, os, struct
def f(a):
    text = json.dumps(["ok", "42"]).encode()
    os.write(9, b"\\x01R" + struct.pack("<I", len(text)) + text)
    return a
"""

# (promise, program, policy, accepted outcomes as "verdict" or "verdict:detail")
_PROBES: tuple[tuple[str, str, bool, frozenset[str]], ...] = (
    ("a value comes back", "def f(a):\n    return [a, 'x']", True, frozenset({"ok"})),
    (
        "the host's files cannot be read",
        "def f(a):\n    return open('/etc/hostname').read()",
        False,
        frozenset({"runtime_error:FileNotFoundError", "runtime_error:PermissionError"}),
    ),
    (
        "no process can be started",
        "import os\ndef f(a):\n    return os.fork()",
        False,
        frozenset({"runtime_error:PermissionError"}),
    ),
    (
        "no socket can be opened",
        "import _socket\ndef f(a):\n    _socket.socket()",
        False,
        frozenset({"runtime_error:PermissionError"}),
    ),
    (
        "an endless loop is killed",
        "def f(a):\n    while True:\n        pass",
        True,
        frozenset({"timeout:cpu", "timeout:wall"}),
    ),
    (
        "memory is bounded",
        "def f(a):\n    return len(bytearray(1 << 36))",
        True,
        frozenset({"oom:MemoryError"}),
    ),
    ("a forged result is refused", _FORGE, False, frozenset({"killed:protocol"})),
    (
        "the task policy is applied",
        "import os\ndef f(a):\n    return a",
        True,
        frozenset({"banned_import:os"}),
    ),
)


async def probe(config: SandboxSection) -> ProbeReport:
    """Start jails as a run would and try to break out of them, within about two seconds.

    Raises:
        SandboxUnavailableError: no jail can start on this machine; the hint says why.
    """
    quick = config.model_copy(update={"workers": 1, "wall_seconds": 1.0, "cpu_seconds": 1})
    async with SandboxPool.open(quick) as pool:
        checks: list[ProbeCheck] = []
        for promise, program, policy, accepted in _PROBES:
            request = Request(program=program, calls=("1",), policy=policy)
            (outcome,) = await pool.examine(request)
            shown = _shown(outcome)
            checks.append(ProbeCheck(promise, shown, shown in accepted))
        return ProbeReport(pool.root_key, tuple(checks), pool.facts)


def _shown(outcome: Outcome) -> str:
    if outcome.verdict is Verdict.OK:
        return str(outcome.verdict)
    return f"{outcome.verdict}:{outcome.detail}"
