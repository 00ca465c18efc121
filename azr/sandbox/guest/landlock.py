"""Landlock: a kernel without namespaces for us may still take the file system away.

`restrict_to` leaves this process, and all that it forks, a read-only view of one
folder: nothing outside can be opened, listed or changed, no TCP port bound or
connected, no process outside signalled and no abstract socket outside reached, as far
as the kernel's version goes. linux/landlock.h, Documentation/userspace-api/landlock.rst
"""

import ctypes
import os
import struct

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture
_VERSION_FLAG, _PATH_BENEATH = 1, 1
_WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 1, 1 << 2, 1 << 3
_TCP = 0b11
_SCOPED = 0b11
_NO_NEW_PRIVS = 38


def version() -> int:
    """Of the kernel's Landlock; 0 if it has none."""
    return max(0, _syscall(_CREATE_RULESET, None, 0, _VERSION_FLAG))


def restrict_to(folder: str) -> int:
    """Leave only a read-only view of `folder`, and /dev/null; returns the version in force.

    0 if the kernel has no Landlock: then nothing has changed. OSError if it refuses.
    """
    found = version()
    if found == 0:
        return 0
    ruleset = _checked(_CREATE_RULESET, *_buffer(_attributes(found)), 0)
    _allow(ruleset, folder, _READ_FILE | _READ_DIR)
    _allow(ruleset, "/dev/null", _READ_FILE | _WRITE_FILE)
    if ctypes.PyDLL(None).prctl(_NO_NEW_PRIVS, *[ctypes.c_ulong(n) for n in (1, 0, 0, 0)]):
        raise OSError("no_new_privs")
    _checked(_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)
    return found


def _attributes(found: int) -> bytes:
    """The kernel's landlock_ruleset_attr, as far as this version knows it."""
    rights = {1: 13, 2: 14, 3: 15, 4: 15}.get(found, 16)  # the number of file rights grew
    attributes = struct.pack("<Q", (1 << rights) - 1)
    if found >= 4:
        attributes += struct.pack("<Q", _TCP)
    if found >= 6:
        attributes += struct.pack("<Q", _SCOPED)
    return attributes


def _allow(ruleset: int, path: str, rights: int) -> None:
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rule, _ = _buffer(struct.pack("<Qi", rights, fd))
        _checked(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0)
    finally:
        os.close(fd)


def _buffer(data: bytes) -> tuple[object, int]:
    return ctypes.create_string_buffer(data, len(data)), len(data)


def _checked(number: int, *arguments: object) -> int:
    result = _syscall(number, *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), f"landlock system call {number}")
    return result


def _syscall(number: int, *arguments: object) -> int:
    syscall = ctypes.PyDLL(None, use_errno=True).syscall
    syscall.restype = ctypes.c_long
    return syscall(ctypes.c_long(number), *[_argument(argument) for argument in arguments])


def _argument(value: object) -> object:
    return ctypes.c_long(value) if isinstance(value, int) else value
