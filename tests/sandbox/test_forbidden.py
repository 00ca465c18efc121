"""Where namespaces are really forbidden: refused with the fix, and only on request done without."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from .ordinary_user import REPOSITORY, environment, home_folder, identity

# What a container runtime's default profile does: no new namespaces, no mounts, no clone3.
FORBID = """
import ctypes, struct
def forbid():
    load, equal, any_bit, give = 0x20, 0x15, 0x45, 0x06
    eperm, enosys, allow = 0x00050001, 0x00050026, 0x7FFF0000
    steps = [
        (load, 0, 0, 0),
        (equal, 0, 4, 56), (load, 0, 0, 16), (any_bit, 0, 1, 0x7E020000), (give, 0, 0, eperm),
        (give, 0, 0, allow),
        (equal, 0, 1, 435), (give, 0, 0, enosys),
        (equal, 0, 1, 272), (give, 0, 0, eperm),
        (equal, 0, 1, 165), (give, 0, 0, eperm),
        (give, 0, 0, allow),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *s) for s in steps))
    program = struct.pack("HxxxxxxQ", len(steps), ctypes.addressof(code))
    prctl = ctypes.CDLL(None).prctl
    prctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_ulong]
    assert prctl(38, 1, None, 0, 0) == 0 and prctl(22, 2, program, 0, 0) == 0
"""
TRY_BOTH = """
import sys
import anyio
from azr.config import SandboxSection
from azr.errors import SandboxUnavailableError
from azr.sandbox import probe

forbid()
try:
    anyio.run(probe, SandboxSection())
    print("a jail started")
except SandboxUnavailableError as error:
    print(f"{error} | {error.hint}")
report = anyio.run(probe, SandboxSection(isolation="process"))
print([check for check in report.checks if not check.kept] or "kept without a jail")
"""
x86_only = pytest.mark.skipif(platform.machine() != "x86_64", reason="the filter is for x86_64")
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


@x86_only
@pytest.mark.parametrize("who", ["ourselves", pytest.param("ordinary user", marks=root_only)])
def test_a_container_that_forbids_namespaces_is_told_what_to_allow(who: str) -> None:
    prefix = identity() if who == "ordinary user" else []
    refused, chosen = _tried(prefix, FORBID)
    assert refused.startswith("no jail can start: namespaces may not be created here")
    assert "--privileged" in refused
    assert 'sandbox.isolation="process"' in refused
    assert chosen == "kept without a jail"


def test_a_quota_of_no_user_namespaces_is_named() -> None:
    """`unshare` makes a namespace of our own, in which the sysctl is ours to set."""
    no_more = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
    nested = ["unshare", "--user", "--map-root-user", "sh", "-c", no_more, "sh"]
    refused, chosen = _tried(nested, "def forbid(): pass\n")
    assert refused.startswith("no jail can start: no further user namespace is allowed")
    assert "user.max_user_namespaces" in refused
    assert chosen == "kept without a jail"


def _tried(prefix: list[str], forbid: str) -> tuple[str, str]:
    """What a jail, and then a process without one, came to under these circumstances."""
    with home_folder() as home:
        done = subprocess.run(
            [*prefix, sys.executable, "-W", "ignore", "-c", forbid + TRY_BOTH],
            env=environment(home) if prefix == identity() else None,
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-3000:]
    refused, chosen = done.stdout.splitlines()
    assert "WITHOUT a jail" in done.stderr
    return refused, chosen
