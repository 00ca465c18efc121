"""Starts the processes of a crash test, kills them at random, and checks the laws.

    python -m azr.store.crash.world postgresql 300 1

A kill comes after a random number of acknowledged transactions, so a slow machine
runs the same test as a fast one. The processes are forked from this one, which
therefore has no threads. On a PostgreSQL server of its own, some of the kills hit
the server: the postmaster, with all its processes, or the one behind a connection.
"""

from __future__ import annotations

import asyncio
import os
import random
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import psycopg

from azr.errors import StoreError
from azr.store.crash.laws import acknowledged, asked, require
from azr.store.crash.play import CONFIG, LEASE_SECONDS, play, seed
from azr.store.engine import open_database
from azr.store.history import open_history
from azr.store.private_server import PrivateServer, private_server
from azr.store.sql_store import SqlStore

PLAYERS = ("learner-1", "learner-2", "sampler-1", "sampler-2", "examiner-1", "examiner-2")
KILL_WITHIN = 60
"""Transactions between two kills, at most."""
CHECK_EVERY = 20
"""Kills between two looks at the laws."""
STUCK_SECONDS = 120.0
"""Longer without any transaction means that something is stuck."""
CAREFUL_KILLS = 50
"""From so many on, our server writes each commit to the disk, as a user's does."""
SERVER_SHARE = 0.2
"""Of the kills, where there is a server to kill."""

type Tell = Callable[[str], None]


@dataclass(kw_only=True, eq=False)
class World:
    """The living processes, the database, and what was done to them."""

    url: str
    folder: Path
    rng: random.Random
    server: PrivateServer | None = None
    kills: Counter[str] = field(default_factory=Counter)
    _living: dict[str, int] = field(default_factory=dict)
    _pipe: tuple[int, int] = field(default_factory=os.pipe)

    def start(self, name: str) -> None:
        """Fork a process that plays."""
        playing = partial(play, self.url, self.folder, name, self._pipe[1])
        self._living[name] = self._forked(name, playing)

    def seed(self) -> None:
        """Make the database, in a process of its own: an event loop leaves threads."""
        os.waitpid(self._forked("seed", partial(seed, self.url)), 0)
        self._notice_deaths()

    def start_all(self) -> None:
        for name in PLAYERS:
            self.start(name)

    def stop_all(self) -> None:
        """Kill every process: that, too, is a crash."""
        for name in list(self._living):
            self._end(name)

    def await_transactions(self, number: int) -> None:
        """Wait until the processes had so many acknowledged."""
        heard = 0
        while heard < number:
            ready, _, _ = select.select([self._pipe[0]], [], [], STUCK_SECONDS)
            if not ready:
                raise StoreError(f"nothing was committed for {STUCK_SECONDS:.0f} s")
            heard += len(os.read(self._pipe[0], number - heard))
            self._notice_deaths()

    def kill_something(self) -> None:
        """A process, or a part of the server if it is ours."""
        if self.server is not None and self.rng.random() < SERVER_SHARE:
            self.rng.choice([self._crash_server, self._kill_backend])(self.server)
            return
        name = self.rng.choice(PLAYERS)
        self.kills[name.split("-")[0]] += 1
        self._end(name)
        self.start(name)

    def _forked(self, name: str, life: Callable[[], Coroutine[None, None, None]]) -> int:
        """The id of a new process; whatever it fails with is written down."""
        process = os.fork()
        if process:
            return process
        try:
            random.seed()
            asyncio.run(life())
        except BaseException:  # noqa: BLE001 -- the edge of a process
            (self.folder / f"{name}.error").write_text(traceback.format_exc())
        finally:
            os._exit(0)

    def _end(self, name: str) -> None:
        process = self._living.pop(name)
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)

    def _notice_deaths(self) -> None:
        """No process may die by itself."""
        for error in self.folder.glob("*.error"):
            raise StoreError(f"{error.stem} died by itself:\n{error.read_text()}")

    def _crash_server(self, server: PrivateServer) -> None:
        self.kills["server"] += 1
        server.stop(signal.SIGKILL)
        server.start_after_crash()

    def _kill_backend(self, server: PrivateServer) -> None:
        """The server then ends all its connections and recovers by itself."""
        self.kills["connection's process"] += 1
        query = (
            "select pid from pg_stat_activity"
            " where datname is not null and pid <> pg_backend_pid() and backend_type like 'client%'"
        )
        pids: list[int] = []
        while not pids:  # it may still recover from the last kill
            server.await_answer()
            with (
                suppress(psycopg.OperationalError),
                psycopg.connect(server.url()) as connection,
            ):
                pids = [pid for (pid,) in connection.execute(query)]
        with suppress(ProcessLookupError):
            os.kill(self.rng.choice(pids), signal.SIGKILL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What happened; every law held."""

    kills: dict[str, int]
    num_put: int
    num_steps: int
    num_undone: int
    seconds: float

    def __str__(self) -> str:
        hit = ", ".join(f"{name} {number}" for name, number in sorted(self.kills.items()))
        return (
            f"{sum(self.kills.values())} kills ({hit}) in {self.seconds:.0f} s:"
            f" {self.num_put} acknowledged puts, {self.num_steps} acknowledged steps of which"
            f" {self.num_undone} were undone by recoveries; every law held"
        )


def run(where: str, *, kills: int, seed_number: int, tell: Tell = lambda _: None) -> Result:
    """Play and kill. `where` is `sqlite`, `postgresql` (a server of our own) or the URL
    of an empty database, whose server is then left alone.

    Raises StoreError if a law breaks, if a process dies by itself, or if all stand still.
    """
    started = time.monotonic()
    with _world(where, random.Random(seed_number), careful=kills >= CAREFUL_KILLS) as world:  # noqa: S311
        world.seed()
        world.start_all()
        for number in range(1, kills + 1):
            world.await_transactions(world.rng.randrange(1, KILL_WITHIN))
            world.kill_something()
            if number % CHECK_EVERY == 0 or number == kills:
                world.stop_all()
                require(world.url, world.folder)
                tell(f"{number} of {kills} kills: every law holds")
                world.start_all()
        world.await_transactions(KILL_WITHIN)  # the survivors go on
        world.stop_all()
        require(world.url, world.folder)
        asyncio.run(_require_no_stuck_lease(world.url))
        return _result(world, time.monotonic() - started)


@contextmanager
def _world(where: str, rng: random.Random, *, careful: bool) -> Generator[World]:
    folder = Path(tempfile.mkdtemp(prefix="azr-crash-"))
    try:
        if where == "postgresql":
            with private_server(careful=careful) as server:
                yield from _players(
                    World(url=server.create("crash"), folder=folder, rng=rng, server=server)
                )
        else:
            url = f"sqlite:///{folder / 'azr.sqlite'}" if where == "sqlite" else _empty(where)
            yield from _players(World(url=url, folder=folder, rng=rng))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _empty(url: str) -> str:
    """The URL of a database without a run. StoreError for any other: it would be spoilt."""
    database = open_database(url)
    if database.exists():
        with open_history(url) as history:
            if history.run_id is not None:
                raise StoreError(
                    f"{database.name} holds a run, which the crash test would spoil",
                    hint="Give it an empty database, `sqlite` or `postgresql`.",
                )
    return url


def _players(world: World) -> Generator[World]:
    try:
        yield world
    finally:
        world.stop_all()


async def _require_no_stuck_lease(url: str) -> None:
    """Once the last lease has run out, everything that waits can be leased."""
    await asyncio.sleep(2 * LEASE_SECONDS)
    everything = 1_000_000
    async with SqlStore.open(url, run=CONFIG) as store:
        leased = {
            "attempts": len(await store.lease_attempts(owner="last", at_most=everything)),
            "rollouts": len(await store.lease_rollouts(owner="last", at_most=everything)),
        }
    waiting = {
        "attempts": "select count(*) from admission where role = 'solve' and state <> 'done'",
        "rollouts": "select count(*) from rollout where state = 'generated'",
    }
    for kind, query in waiting.items():
        if _count(url, query) != leased[kind]:
            raise StoreError(f"a lease of {kind} is stuck past its end")


def _result(world: World, seconds: float) -> Result:
    kinds = Counter(kind for kind, _ in acknowledged(world.folder))
    undone = "select count(*) from learner_step where state = 'rolled_back'"
    return Result(
        kills=dict(world.kills),
        num_put=kinds["put"],
        num_steps=kinds["step"],
        num_undone=_count(world.url, undone),
        seconds=seconds,
    )


def _count(url: str, query: str) -> int:
    return asked(url, lambda connection: connection.exec_driver_sql(query).scalar_one())


def main(arguments: list[str]) -> None:
    """`python -m azr.store.crash.world sqlite|postgresql|URL KILLS SEED`."""
    where, kills, seed_number = arguments
    result = run(where, kills=int(kills), seed_number=int(seed_number), tell=_say)
    _say(f"{where}: {result}")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
