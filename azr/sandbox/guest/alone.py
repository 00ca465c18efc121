"""A zygote without a jail around it: `sandbox.isolation = "process"`.

It takes away from itself what it can: the file system but for the jail's root
(Landlock), system calls (seccomp), and resources. A kernel without Landlock cannot
hide files; then jobs may open none at all, and what they may import is loaded before.
"""

import contextlib
import importlib
import os
import resource
import signal

from . import landlock, policy, syscalls, zygote
from .confine import install_filter, set_option

MIB = 1 << 20


def main() -> None:
    """Confine this process to the folder named by ROOT_FOLDER, then serve."""
    root = os.environ["ROOT_FOLDER"]
    os.chdir(root)
    _limit_resources(int(os.environ["MEMORY_MIB"]))
    hidden = landlock.restrict_to(root) if os.environ["LANDLOCK"] == "1" else 0
    if not hidden:
        os.environ["JOB_FILES"] = "none"
        for module in sorted(policy.ALLOWED_MODULES):
            with contextlib.suppress(ImportError):
                importlib.import_module(module)
    _end_children_with_us()
    set_option(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    install_filter(syscalls.SERVER)
    zygote.main()


def _end_children_with_us() -> None:
    """No namespace ends what is forked here when this process is killed: the kernel has to."""
    parent = os.getpid()

    def in_child() -> None:
        set_option(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(0)

    os.register_at_fork(after_in_child=in_child)


def _limit_resources(memory_mib: int) -> None:
    """What nsjail would have set."""
    limits = {
        resource.RLIMIT_AS: max(1024, 2 * memory_mib) * MIB,
        resource.RLIMIT_FSIZE: MIB,  # its last words, should it fail to start; jobs have 0
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 64,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
        resource.RLIMIT_RTPRIO: 0,
    }
    for limit, value in limits.items():
        resource.setrlimit(limit, (value, value))
