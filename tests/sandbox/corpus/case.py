"""What one program of the corpus is, and shorthands to write many."""

from __future__ import annotations

import platform
from dataclasses import dataclass, field

IMPORT, CONSTRUCT = "banned_import", "banned_construct"
DENIED = "runtime_error:PermissionError"
ABSENT = "runtime_error:FileNotFoundError"
PROTOCOL = "killed:protocol"


@dataclass(frozen=True, slots=True)
class Case:
    """A program, one call of it, and what the jail may make of them.

    An outcome is `verdict`, or `verdict:detail` where the detail matters; several are
    separated by `|`.
    """

    name: str
    program: str
    call: str
    off: str
    """Accepted without the task policy, when only the jail stands in the way."""
    on: str
    """Accepted with it."""
    process: str
    """Accepted without the policy where there are no namespaces, only limits and filters."""
    validated: bool
    """Judged by the determinism check (three runs) instead of one run."""


@dataclass(slots=True)
class Theme:
    """The cases of one file."""

    name: str
    cases: list[Case] = field(default_factory=list)

    def case(
        self,
        name: str,
        program: str,
        call: str = "1",
        *,
        off: str,
        on: str = "",
        process: str = "",
        validated: bool = False,
    ) -> None:
        """Add a case; `on` and `process` are as `off` unless they differ."""
        self.cases.append(Case(name, program, call, off, on or off, process or off, validated))


def body(lines: str, *, before: str = "") -> str:
    """A program whose `f(a)` has these lines, after the lines `before` it."""
    indented = "\n".join("    " + line for line in lines.splitlines())
    return f"{before}\ndef f(a=0, **k):\n{indented}\n"


LIBC = "import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)"


def syscall(number: int, *arguments: str) -> str:
    """A program that makes a raw system call and raises the errno it got."""
    listed = ", ".join(map(str, (number, *arguments)))
    return body(
        f"r = libc.syscall({listed})\nif r < 0: raise OSError(ctypes.get_errno(), '')\nreturn r",
        before=LIBC,
    )


def number_here(x86_64: int, aarch64: int) -> int:
    """The number of a system call on this machine; -1 if it has none there."""
    return aarch64 if platform.machine() == "aarch64" else x86_64
