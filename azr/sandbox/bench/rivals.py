"""Other ways to execute a program, inside jails of their own and on the same wire.

The same root, the same limits of the jail around them, the same code for parsing,
compiling, calling and encoding: only what separates one program from the next differs.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing

from azr.config import SandboxSection
from azr.sandbox.jail import Jail, JailStarter
from azr.sandbox.nsjail_config import MAIN
from azr.sandbox.protocol import Request
from azr.sandbox.rootfs import JailRoot
from azr.types import Outcome

_PROLOGUE = """
import os
from guest import child, wire
fd, frames = int(os.environ["HOST_FD"]), []
child._emit = lambda frame: frames.append(child.framed(frame))
def serve(job, confinement):
    frames.clear()
    child.run_job(memoryview(job)[wire.HEADER.size:], confinement)
    data = b"".join(frames)
    reply = wire.REPLY.pack(wire.FINISHED, 0, len(frames), len(data), 0.0)
    os.write(fd, reply + data + bytes(wire.TIME.size * (len(frames) + 1)))
os.write(fd, wire.READY)
"""

REUSED_PROCESS = (
    _PROLOGUE
    + """
from guest import warmup
class Unconfined:
    def enter(self, **limits): pass
warmup.preload()
while job := os.read(fd, wire.REQUEST_BYTES):
    serve(job, Unconfined())
"""
)
"""Executes every program in itself, one after the other: nothing between them."""

FRESH_PROCESS = (
    _PROLOGUE
    + """
from guest.confine import Confinement
confinement = Confinement(int(os.environ["CHILD_ID"]))
job = os.read(fd, wire.REQUEST_BYTES)
serve(job, confinement)
os._exit(0)
"""
)
"""Executes one program under a job's limits, and ends."""


@asynccontextmanager
async def started(
    root: JailRoot, limits: SandboxSection, *, main: str = MAIN
) -> AsyncGenerator[Jail]:
    """A jail that is ready, by default as the pool starts it.

    Only programs that are trusted may run in one with REUSED_PROCESS as its `main`.
    """
    with closing(JailStarter(root, limits, main=main)) as starter:
        async with _jail(starter) as jail:
            yield jail


async def run_in_fresh_jail(starter: JailStarter, request: Request) -> tuple[Outcome, ...]:
    """Start a jail, run one job and end the jail; `starter` has FRESH_PROCESS as its main."""
    async with _jail(starter) as jail:
        return await jail.call(request)


@asynccontextmanager
async def _jail(starter: JailStarter) -> AsyncGenerator[Jail]:
    jail = await starter.start(hash_seed=0, heap_shift=0)
    try:
        await jail.ready()
        yield jail
    finally:
        await jail.aclose()
