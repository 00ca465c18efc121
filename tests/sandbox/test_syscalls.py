"""The seccomp filters: what they let through, call by call and argument by argument."""

from __future__ import annotations

import struct

import pytest

from azr.sandbox.guest import syscalls
from azr.sandbox.guest.syscalls import FORK_FLAGS, JOB, MACHINES, SERVER, filter_program

ALLOW, EPERM, KILL = 0x7FFF0000, 0x00050001, 0x80000000
ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
CLONE_NEWUSER, CLONE_VM = 0x10000000, 0x100


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("calls", [JOB, SERVER])
def test_the_filter_allows_listed_calls_only(machine: str, calls: frozenset[str]) -> None:
    execve, write = {"x86_64": (59, 1), "aarch64": (221, 64)}[machine]
    program = filter_program(calls, machine)
    assert _bpf(program, number=write, arch=ARCH[machine]) == ALLOW
    assert _bpf(program, number=execve, arch=ARCH[machine]) == EPERM
    assert _bpf(program, number=write | 0x40000000, arch=ARCH[machine]) == EPERM  # x32
    assert _bpf(program, number=write, arch=0x40000003) == KILL  # i386


@pytest.mark.parametrize("machine", MACHINES)
def test_every_call_that_is_listed_is_allowed_and_no_other(machine: str) -> None:
    program = filter_program(SERVER, machine)
    column = MACHINES.index(machine)
    allowed = {
        syscalls._NUMBERS[name][column]
        for name in syscalls.available(SERVER, machine)
        if name not in syscalls.ARGUMENTS
    }
    for number in range(500):
        found = _bpf(program, number=number, arch=ARCH[machine], argument=999)
        assert found == (ALLOW if number in allowed else EPERM)


@pytest.mark.parametrize(
    ("name", "arguments", "allowed"),
    [
        ("clone", (FORK_FLAGS,), True),
        ("clone", (FORK_FLAGS | CLONE_NEWUSER,), False),
        ("clone", (FORK_FLAGS | CLONE_VM,), False),
        ("ioctl", (0, 0x5401), True),
        ("ioctl", (0, 0x5412), False),  # TIOCSTI types into a terminal
        ("kill", (5, 9), True),
        ("kill", (5, 15), False),
        ("prctl", (38,), True),
        ("prctl", (24,), False),  # PR_CAPBSET_DROP
        ("prlimit64", (0,), True),
        ("prlimit64", (1,), False),
    ],
)
def test_process_1_may_use_some_calls_in_one_way_only(
    name: str, arguments: tuple[int, ...], allowed: object
) -> None:
    for machine in MACHINES:
        number = syscalls._NUMBERS[name][MACHINES.index(machine)]
        assert number is not None
        found = _bpf(
            filter_program(SERVER, machine),
            number=number,
            arch=ARCH[machine],
            argument=arguments[-1],
        )
        assert found == (ALLOW if allowed else EPERM)


def test_jobs_have_none_of_the_calls_that_need_their_arguments_watched() -> None:
    assert not JOB & syscalls.ARGUMENTS.keys()
    assert JOB < SERVER


def _bpf(program: bytes, *, number: int, arch: int, argument: int = 0) -> int:
    """Interpret a seccomp filter for one system call; `argument` stands for each of its own."""
    steps = list(struct.iter_unpack("HBBI", program))
    accumulator = at = 0
    while True:
        code, if_true, if_false, k = steps[at]
        at += 1
        if code == 0x20:
            accumulator = {0: number, 4: arch}.get(k, argument)
        elif code == 0x15:
            at += if_true if accumulator == k else if_false
        else:
            return k
