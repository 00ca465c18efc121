"""Which file system a path is on: SQLite's write-ahead log needs a local one.

The log's index is memory that processes share, and locks that the kernel keeps; over
a network both may seem to work and then lose commits. So known network file systems
are refused, and those that may be either are warned about.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from azr.errors import StoreError

log = logging.getLogger(__name__)

MOUNTS = Path("/proc/self/mountinfo")
NETWORK = frozenset(
    (
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "lustre"),
        *("glusterfs", "beegfs", "gpfs", "orangefs"),
        *("fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.ceph-fuse", "fuse.s3fs"),
        *("fuse.gcsfuse", "fuse.rclone", "fuse.juicefs", "fuse.blobfuse2", "fuse.mount-s3"),
    )
)
LOCAL_FUSE = frozenset({"fuse.fuse-overlayfs", "fuse.mergerfs", "fuse.lxcfs"})


def check_local(path: Path) -> None:
    """Raise StoreError for a path on a network file system; log a doubt about FUSE."""
    kind = kind_of(path)
    if kind in NETWORK:
        raise StoreError(
            f"{path} is on a network file system ({kind}), where SQLite can lose commits",
            hint="Choose a --run-dir on a local disk, or --db postgresql://USER@HOST/NAME.",
        )
    if kind.startswith("fuse.") and kind not in LOCAL_FUSE:
        log.warning(
            "the database may be on a network file system; SQLite needs a local disk",
            extra={"path": str(path), "file_system": kind},
        )


def kind_of(path: Path) -> str:
    """The kernel's name of the file system, or "" where it does not say.

    A line of MOUNTS (proc(5), mountinfo): id, parent, device, root, mount point,
    options, optional fields, "-", type, source, options.
    """
    try:
        lines = MOUNTS.read_text().splitlines()
    except OSError:
        return ""
    place = Path(os.path.realpath(path))
    found, depth = "", -1
    for line in lines:
        before, _, after = line.partition(" - ")
        mount_point = Path(_unescaped(before.split(" ")[4]))
        # The last of equally deep mounts covers the earlier ones.
        if place.is_relative_to(mount_point) and len(mount_point.parts) >= depth:
            found, depth = after.split(" ")[0], len(mount_point.parts)
    return found


def _unescaped(text: str) -> str:
    """Blanks and backslashes are octal escapes there."""
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text
