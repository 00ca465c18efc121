"""Programs that want out: files, processes, privileges, the network, the kernel's doors."""

from __future__ import annotations

import platform

from .case import ABSENT, CONSTRUCT, DENIED, IMPORT, Theme, body, number_here, syscall

theme = Theme("escape")
case = theme.case
NO_MODULE = "runtime_error:ModuleNotFoundError"

# --- files that are not there -----------------------------------------------------------------
for path in (
    "/etc/passwd",
    "/etc/shadow",
    "/etc/hostname",
    "/root/.ssh/id_rsa",
    "/home",
    "/proc/1/environ",
    "/proc/self/mem",
    "/proc/self/maps",
    "/proc/self/fd/63",
    "/proc/sys/kernel/core_pattern",
    "/proc/sysrq-trigger",
    "/sys/fs/cgroup/cgroup.procs",
    "/dev/mem",
    "/dev/kmsg",
    "/dev/tty",
    "/dev/fd/3",
    "/dev/shm/x",  # noqa: S108 -- inside the jail there is none
    "/var/run/docker.sock",
    "/usr/lib/../../../../etc/passwd",
    "etc/passwd",
):
    case(
        f"reads {path}",
        body(f"return open({path!r}).read()"),
        off=ABSENT,
        on=CONSTRUCT,
        process=f"{ABSENT}|{DENIED}",  # there, but out of sight
    )
case(
    "lists the root",
    body(
        "return set(os.listdir('/')) <= {'usr', 'lib', 'lib64', 'srv', 'dev'}", before="import os"
    ),
    off="ok",
    on=IMPORT,
    process=DENIED,
)
case(
    "finds one device",
    body("return 1 // (os.listdir('/dev') == ['null'])", before="import os"),
    off="ok",
    on=IMPORT,
    process=DENIED,
)
case(
    "finds no set-uid file and none that it may write",
    body(
        "bad = 0\npending = ['/']\nwhile pending:\n    at = pending.pop()\n"
        "    for e in os.scandir(at):\n        m = e.stat(follow_symlinks=False)\n"
        "        if e.is_dir(follow_symlinks=False): pending.append(e.path)\n"
        "        elif e.path != '/dev/null': bad += bool(m.st_mode & 0o6022)\n"
        "return 1 // (bad == 0)",
        before="import os",
    ),
    off="ok",
    on=IMPORT,
    process=DENIED,
)
case(
    "the environment is empty",
    body("return dict(os.environ) or 1 / 0", before="import os"),
    off="runtime_error:ZeroDivisionError",
    on=IMPORT,
)
case(
    "the C library's environment holds no secret",
    body(
        "v = ctypes.POINTER(ctypes.c_char_p).in_dll(ctypes.CDLL(None), 'environ')\n"
        "names = set()\ni = 0\n"
        "while v and v[i]: names.add(v[i].split(b'=')[0].decode()); i += 1\n"
        "return 1 // (not names - {'PYTHONHOME', 'PYTHONPATH', 'PYTHONHASHSEED', "
        "'LD_LIBRARY_PATH', 'HOST_FD', 'CHILD_ID', 'HEAP_SHIFT'})",
        before="import ctypes",
    ),
    off="ok|killed:SIGSEGV",
    on=IMPORT,
)

# --- files that cannot be made or changed -----------------------------------------------------
for path in (
    "/usr/lib/x",
    "/tmp/x",  # noqa: S108
    "/dev/x",
    "/x",
    "/srv/guest/child.py",
    "/usr/bin/python",
):
    case(f"writes {path}", body(f"open({path!r}, 'a')"), off="runtime_error", on=CONSTRUCT)
for name, lines in {
    "makes a folder": "os.mkdir('/d')",
    "removes a file": "os.remove('/srv/guest/child.py')",
    "renames a file": "os.rename('/srv/guest/child.py', '/srv/guest/x.py')",
    "links a file": "os.link('/srv/guest/child.py', '/x')",
    "makes a symbolic link": "os.symlink('/etc', '/x')",
    "changes a mode": "os.chmod('/usr/bin/python', 0o6777)",
    "changes an owner": "os.chown('/usr/bin/python', 1, 1)",
    "makes a device": "os.mknod('/x', 0o60666, os.makedev(8, 0))",
    "makes a fifo": "os.mkfifo('/x')",
    "truncates": "os.truncate('/dev/null', 0)",
    "leaves the root": "os.chroot('/usr')",
    "changes the folder": "os.chdir('/usr')",
    "makes a file in memory": "os.memfd_create('x')",
    "makes a pipe": "os.pipe()",
}.items():
    case(name, body(lines, before="import os"), off=DENIED, on=IMPORT)
case(
    "makes a nameless file",
    body("os.open('/', os.O_TMPFILE | os.O_RDWR)", before="import os"),
    off="runtime_error:OSError|runtime_error:PermissionError",
    on=IMPORT,
)
case(
    "opens from an inherited folder",
    body(
        "for fd in range(64):\n    try: return os.open('../../../etc/passwd', 0, dir_fd=fd)\n"
        "    except OSError: pass\nraise KeyError",
        before="import os",
    ),
    off="runtime_error:KeyError",
    on=IMPORT,
)
case(
    "inherits nothing but null and the result pipe",
    body(
        "def there(fd):\n    try: os.fstat(fd)\n    except OSError: return False\n    return True\n"
        "return 1 // ([fd for fd in range(256) if there(fd)] == [0, 1, 2, 9])",
        before="import os",
    ),
    off="ok",
    on=IMPORT,
)
case(
    "reads the result pipe",
    body("return os.read(9, 10)", before="import os"),
    off="runtime_error:OSError",
    on=IMPORT,
)

# --- other processes --------------------------------------------------------------------------
for name, lines in {
    "forks": "os.fork()",
    "executes": "os.execv('/usr/bin/python', ['x'])",
    "executes a descriptor": "os.execve(os.open('/usr/bin/python', 0), ['x'], {})",
    "spawns": "os.posix_spawn('/usr/bin/python', ['x'], {})",
    "kills process 1": "os.kill(1, 9)",
    "stops process 1": "os.kill(1, 19)",
    "kills everything": "os.kill(-1, 9)",
    "kills its group": "os.killpg(0, 9)",
    "stops itself": "os.kill(os.getpid(), 19)",
    "asks for its parent": "1 // 0 if os.getppid() > 0 else os.kill(1, 0)",
    "leaves its session": "os.setsid()",
    "raises its priority": "os.setpriority(0, 0, -20)",
    "moves to another core": "os.sched_setaffinity(0, {0})",
    "becomes root": "os.setuid(0)",
    "takes root's group": "os.setgid(0)",
    "takes root's groups": "os.setgroups([0])",
    "reads its groups": "os.getgroups()",
    "unshares": "os.unshare(0x10000000)",
    "enters a namespace": "os.setns(0)",
    "opens a process": "os.pidfd_open(1)",
}.items():
    case(
        name,
        body(lines, before="import os"),
        off=f"{DENIED}|runtime_error:OSError",
        on=IMPORT,
        process=f"{DENIED}|{ABSENT}|runtime_error:OSError",
    )
case(
    "runs a shell",
    body("return os.system('id')", before="import os"),
    off="ok|runtime_error",
    on=IMPORT,
)
case(
    "opens a process's output",
    body("os.popen('id').read()", before="import os"),
    off="runtime_error",
    on=IMPORT,
)
for module, lines in {
    "subprocess": "subprocess.run(['/usr/bin/python', '-c', '1'])",
    "multiprocessing": "multiprocessing.Process(target=print).start()",
    "concurrent.futures": "concurrent.futures.ProcessPoolExecutor().submit(print).result()",
    "pty": "pty.spawn('/usr/bin/python')",
    "asyncio": "asyncio.run(asyncio.sleep(0))",
}.items():
    case(f"uses {module}", body(lines, before=f"import {module}"), off="runtime_error", on=IMPORT)
case(
    "starts a thread",
    body("t = threading.Thread(target=print)\nt.start()", before="import threading"),
    off="runtime_error:RuntimeError",
    on=IMPORT,
)
case(
    "signals itself",
    body("signal.raise_signal(9)", before="import signal"),
    off="runtime_error|killed",
    on=IMPORT,
)
case(
    "lifts its limits",
    body("resource.setrlimit(resource.RLIMIT_AS, (-1, -1))", before="import resource"),
    off="runtime_error",
    on=IMPORT,
)
case("aborts", body("os.abort()", before="import os"), off="killed", on=IMPORT)
case(
    "reads address 0",
    body("ctypes.string_at(0)", before="import ctypes"),
    off="killed:SIGSEGV",
    on=IMPORT,
)
case(
    "jumps into its own data",
    body(
        "ctypes.CFUNCTYPE(None)(ctypes.addressof(ctypes.create_string_buffer(9)))()",
        before="import ctypes",
    ),
    off="killed",
    on=IMPORT,
)
for code in (0, 3, 98, 109, 137, 255):
    case(
        f"leaves with {code}",
        body(f"os._exit({code})", before="import os"),
        off=f"killed:exit {code}",
        on=IMPORT,
    )

# --- the network ------------------------------------------------------------------------------
for name, arguments in {
    "tcp": "2, 1",
    "udp over IPv6": "10, 2",
    "unix": "1, 1",
    "netlink": "16, 3",
    "packet": "17, 3",
    "vsock": "40, 1",
    "the kernel's ciphers": "38, 5",
    "raw": "2, 3",
}.items():
    case(
        f"opens a socket: {name}",
        body(f"socket.socket({arguments})", before="import socket"),
        off=DENIED,
        on=IMPORT,
    )
case(
    "opens a pair of sockets",
    body("socket.socketpair()", before="import socket"),
    off=DENIED,
    on=IMPORT,
)
case(
    "asks for a name",
    body("return socket.getaddrinfo('example.org', 80)", before="import socket"),
    off="runtime_error|killed",
    on=IMPORT,
)
case(
    "fetches a page",
    body("urllib.request.urlopen('http://1.1.1.1')", before="import urllib.request"),
    off="runtime_error",
    on=IMPORT,
)

# --- the kernel's doors -----------------------------------------------------------------------
CALLS = {  # x86_64, aarch64
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "kcmp": (312, 272), "tgkill": (234, 131), "tkill": (200, 130), "rt_sigqueueinfo": (129, 138),
    "pidfd_open": (434, 434), "pidfd_getfd": (438, 438), "pidfd_send_signal": (424, 424),
    "process_madvise": (440, 440), "clone": (56, 220), "clone3": (435, 435), "vfork": (58, -1),
    "execveat": (322, 281), "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40),
    "umount2": (166, 39), "pivot_root": (155, 41), "open_tree": (428, 428),
    "move_mount": (429, 429), "fsopen": (430, 430), "fsmount": (432, 432),
    "mount_setattr": (442, 442), "chroot": (161, 51), "setresuid": (117, 147),
    "setresgid": (119, 149), "setfsuid": (122, 151), "setgroups": (116, 159),
    "capset": (126, 91), "prctl": (157, 167), "seccomp": (317, 277), "personality": (135, 92),
    "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "io_setup": (206, 0), "bpf": (321, 280), "perf_event_open": (298, 241),
    "userfaultfd": (323, 282), "memfd_create": (319, 279), "memfd_secret": (447, 447),
    "shmget": (29, 194), "semget": (64, 190), "msgget": (68, 186), "mq_open": (240, 180),
    "inotify_init1": (294, 26), "fanotify_init": (300, 262), "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264), "init_module": (175, 105), "finit_module": (313, 273),
    "kexec_load": (246, 104), "reboot": (169, 142), "swapon": (167, 224), "syslog": (103, 116),
    "acct": (163, 89), "quotactl": (179, 60), "sethostname": (170, 161),
    "clock_settime": (227, 112), "adjtimex": (159, 171), "iopl": (172, -1), "ioperm": (173, -1),
    "modify_ldt": (154, -1), "arch_prctl": (158, -1), "ioctl": (16, 29), "fcntl": (72, 25),
    "dup": (32, 23), "socket": (41, 198), "sendmsg": (46, 211), "recvmsg": (47, 212),
    "vmsplice": (278, 75), "splice": (275, 76), "sendfile": (40, 71), "eventfd2": (290, 19),
    "timerfd_create": (283, 85), "signalfd4": (289, 74), "epoll_create1": (291, 20),
    "setitimer": (38, 103), "timer_create": (222, 107), "rt_sigaction": (13, 134),
    "sigaltstack": (131, 132), "prlimit64": (302, 261), "setrlimit": (160, 164),
    "sched_setscheduler": (144, 119), "mlockall": (151, 230), "mbind": (237, 235),
    "move_pages": (279, 239), "pkey_mprotect": (329, 288), "rseq": (334, 293),
    "landlock_create_ruleset": (444, 444), "ustat": (136, -1), "uselib": (134, -1),
}  # fmt: skip
for name, numbers in CALLS.items():
    number = number_here(*numbers)
    if number >= 0:
        case(f"system call {name}", syscall(number, "0", "0", "0", "0", "0"), off=DENIED, on=IMPORT)
case(
    "system call unshare of users",
    syscall(number_here(272, 97), "0x10000000"),
    off=DENIED,
    on=IMPORT,
)
case(
    "system call clone into a user namespace",
    syscall(number_here(56, 220), "0x10000011", "0", "0", "0", "0"),
    off=DENIED,
    on=IMPORT,
)
case("system call that does not exist", syscall(9999), off="runtime_error", on=IMPORT)
if platform.machine() == "x86_64":
    case("system call of the x32 interface", syscall(0x40000000 + 39), off=DENIED, on=IMPORT)
    MACHINE_CODE = (
        "import ctypes, mmap\nm = mmap.mmap(-1, 4096, prot=7)\nm.write({code!r})\n"
        "g = ctypes.CFUNCTYPE(ctypes.c_long)("
        "ctypes.addressof(ctypes.c_char.from_buffer(m)))"
    )
    case(  # mov eax, 20 (getpid of i386); int 0x80; ret
        "system call of the i386 interface",
        body("return g()", before=MACHINE_CODE.format(code=b"\xb8\x14\0\0\0\xcd\x80\xc3")),
        off="killed",
        on=IMPORT,
    )
    case(  # mov eax, 57 (fork); syscall; ret
        "forks in machine code",
        body(
            "return 1 // (g() == -1)",
            before=MACHINE_CODE.format(code=b"\xb8\x39\0\0\0\x0f\x05\xc3"),
        ),
        off="ok",
        on=IMPORT,
    )

# --- the guest itself -------------------------------------------------------------------------
case("imports the guest", body("import guest.zygote"), off=NO_MODULE, on=IMPORT)
case("knows no packages of the host", body("import numpy"), off=NO_MODULE, on=IMPORT)
case(
    "speaks to the host's socket",
    body("s = socket.socket(fileno=63); s.send(b'x')", before="import socket"),
    off=f"{DENIED}|runtime_error:OSError",
    on=IMPORT,
)
case(
    "walks the frames to process 1's loop and speaks to the host",
    body(
        "frame = sys._getframe()\nwhile frame:\n    me = frame.f_locals.get('self')\n"
        "    if hasattr(me, '_host'): me._host.send(b'ready')\n    frame = frame.f_back\n"
        "raise LookupError",
        before="import sys",
    ),
    off=f"{DENIED}|runtime_error:OSError|runtime_error:LookupError",
    on=IMPORT,
)
case(
    "serves jobs in process 1's stead",
    body(
        "frame = sys._getframe()\nwhile frame:\n    me = frame.f_locals.get('self')\n"
        "    if hasattr(me, 'serve'): me.serve()\n    frame = frame.f_back\nraise LookupError",
        before="import sys",
    ),
    off=f"{DENIED}|runtime_error:OSError|runtime_error:LookupError",
    on=IMPORT,
)
