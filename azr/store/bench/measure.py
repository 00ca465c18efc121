"""The calls that actors make, timed one history after the other."""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, fields

import anyio

from azr.config import RunConfig
from azr.errors import StoreError
from azr.seeds import derive_seed
from azr.store import SqlStore, buffers, tasks
from azr.store.bench import fill
from azr.store.context import RunContext
from azr.store.engine import Database
from azr.store.history import open_history
from azr.store.history.statements import ask_question
from azr.store.questions import questions
from azr.task_types import MAIN_TYPES
from azr.types import (
    Admission,
    Completion,
    FinishReason,
    PolicyVersion,
    StepResult,
    TaskType,
    VersionSpan,
)

OWNER = "bench"
WORKERS = 32
"""Calls at once where throughput is measured, as many as an engine has sequences."""
READER_QUESTION = "where-everything-is"
"""What the reader beside the writer asks, over and over: it counts every rollout."""


@dataclass(frozen=True, slots=True)
class Load:
    """How often each call is made."""

    num_puts: int = 1024
    num_calls: int = 300
    """Of draws, admissions and leases."""
    num_claims: int = 7
    batch_rollouts: int = 64
    """Of each cell in a batch; the official recipe's."""


OFFICIAL = Load()


@dataclass(frozen=True, slots=True)
class Figures:
    """What one history allows. Latencies are lower quartiles, in milliseconds: what a call
    takes when the machine is not busy with something else."""

    num_tasks: int
    puts_per_second: float
    leases_per_second: float
    sample_ms: float
    """Drawing 6 references and loading them."""
    admit_ms: float
    """Admitting one proposal: lease or count, draw, insert."""
    lease_ms: float
    """Leasing one rollout with its admission, payload and references."""
    claim_ms: float
    """Claiming a batch of 6 x 64 rollouts with their tokens."""
    commit_ms: float
    """Committing its learner step, on the disk."""
    puts_beside_reader_per_second: float
    reader_ms: float
    """One such question, beside the writer."""

    @staticmethod
    def names() -> list[str]:
        return [field.name for field in fields(Figures)]


def config(load: Load = OFFICIAL) -> RunConfig:
    """Batches of the load's size, otherwise the defaults."""
    return RunConfig.model_validate({"learner": {"batch_rollouts": load.batch_rollouts}})


def prepare(url: str) -> int:
    """Begin a run in an empty database; returns its id. Raises StoreError if it has one."""

    async def begin() -> tuple[int, int]:
        async with SqlStore.open(url, run=config()) as store:
            return store.run_id, sum((await store.buffer_sizes()).values())

    run_id, num_tasks = anyio.run(begin)
    if num_tasks:
        raise StoreError(
            "the database to measure has a run in it", hint="Name an empty database in --url."
        )
    return run_id


async def measure(database: Database, url: str, load: Load = Load()) -> Figures:
    """Time every call on the history that the database has; leaves the queues empty."""
    async with SqlStore.open(url, run=config(load)) as store:
        num_tasks = sum((await store.buffer_sizes()).values())
        version = await store.learner_version()
        fill.retire(database, store.run_id)
        sample_ms = _sampling(database, store.run_id, version, load)
        granted, admit_ms = await _admitting(store, version, load)
        puts = await _putting(store, granted)
        lease_ms = await _lease_latency(store, load)
        leases = await _leasing(store, load)
        granted, _ = await _admitting(store, version, load)
        with _reading(url) as seconds:
            beside = await _putting(store, granted)
        fill.retire(database, store.run_id)
        claim_ms, commit_ms = await _claiming(database, store, version, load)
        fill.retire(database, store.run_id)
    return Figures(
        num_tasks=num_tasks,
        puts_per_second=puts,
        leases_per_second=leases,
        sample_ms=sample_ms,
        admit_ms=admit_ms,
        lease_ms=lease_ms,
        claim_ms=claim_ms,
        commit_ms=commit_ms,
        puts_beside_reader_per_second=beside,
        reader_ms=_milliseconds(seconds),
    )


def _sampling(database: Database, run_id: int, version: PolicyVersion, load: Load) -> float:
    """Draws of K references, as an admission makes them, and loading the tasks."""
    run = RunContext(run_id=run_id, config=config(load), clock=time.time)
    engine = database.read_engine()
    seconds: list[float] = []
    try:
        with engine.connect() as connection:
            for index in range(load.num_calls):
                started = time.perf_counter()
                seed = derive_seed(0, "bench", index)
                pool = buffers.reference_pool(connection, run, TaskType.DEDUCTION, version)
                chosen = buffers.draw_references(connection, run, pool, TaskType.DEDUCTION, seed)
                tasks.load(connection, chosen)
                seconds.append(time.perf_counter() - started)
    finally:
        engine.dispose()
    return _milliseconds(seconds)


async def _admitting(
    store: SqlStore, version: PolicyVersion, load: Load
) -> tuple[list[Admission], float]:
    """Enough admissions to put, and the latency of granting one."""
    seconds: list[float] = []
    granted: list[Admission] = []
    for index in range(load.num_calls):
        started = time.perf_counter()
        granted += await _admit(store, version, index, at_most=1)
        seconds.append(time.perf_counter() - started)
    while len(granted) < load.num_puts:
        granted += await _admit(store, version, len(granted), at_most=64)
    return granted[: load.num_puts], _milliseconds(seconds)


async def _admit(
    store: SqlStore, version: PolicyVersion, index: int, *, at_most: int
) -> list[Admission]:
    task_type = MAIN_TYPES[index % len(MAIN_TYPES)]
    return await store.admit_proposals(
        task_type,
        owner=OWNER,
        at_most=at_most,
        outstanding_limit=1_000_000,
        version=version,
    )


async def _putting(store: SqlStore, granted: list[Admission]) -> float:
    """Puts per second by as many workers as an engine has sequences."""
    waiting = list(granted)

    async def one() -> None:
        admission = waiting.pop()
        await store.put_rollout(admission, _completion(admission.version))

    return await _rate(one, len(waiting))


async def _leasing(store: SqlStore, load: Load) -> float:
    """Leases of one rollout per second."""

    async def one() -> None:
        await store.lease_rollouts(owner=OWNER, at_most=1)

    return await _rate(one, load.num_calls)


async def _lease_latency(store: SqlStore, load: Load) -> float:
    seconds: list[float] = []
    for _ in range(load.num_calls):
        started = time.perf_counter()
        await store.lease_rollouts(owner=OWNER, at_most=1)
        seconds.append(time.perf_counter() - started)
    return _milliseconds(seconds)


async def _claiming(
    database: Database, store: SqlStore, version: PolicyVersion, load: Load
) -> tuple[float, float]:
    """Latencies of claiming a batch and of committing its step."""
    claims: list[float] = []
    commits: list[float] = []
    for index in range(load.num_claims):
        # Two batches wait, as when the pipeline keeps up.
        rows = load.batch_rollouts * (1 if index else 2)
        fill.add_ready(database, store.run_id, rows_per_cell=rows, version=version + index)
        started = time.perf_counter()
        batch = await store.claim_batch(version=version + index)
        claims.append(time.perf_counter() - started)
        if batch is None:
            raise AssertionError("rows of every cell were ready")
        result = StepResult(version=batch.version + 1, loss=0.5, metrics={"loss/kl": 0.1})
        started = time.perf_counter()
        await store.commit_step(batch, result, [0.5] * len(batch.trajectories))
        commits.append(time.perf_counter() - started)
    return _milliseconds(claims), _milliseconds(commits)


@contextmanager
def _reading(url: str) -> Generator[list[float]]:
    """Somebody who asks one question after the other meanwhile; seconds of each."""
    seconds: list[float] = []
    stop = threading.Event()

    def read() -> None:
        question = questions()[READER_QUESTION]
        while not stop.is_set() or not seconds:
            started = time.perf_counter()
            with open_history(url) as history:
                ask_question(history, question, max_rows=1000, timeout_seconds=600)
            seconds.append(time.perf_counter() - started)

    reader = threading.Thread(target=read, name="azr-bench-reader")
    reader.start()
    try:
        yield seconds
    finally:
        stop.set()
        reader.join()


def _milliseconds(seconds: list[float]) -> float:
    """The lower quartile."""
    return 1000 * sorted(seconds)[len(seconds) // 4]


async def _rate(call: Callable[[], Awaitable[None]], count: int) -> float:
    """Calls per second when `WORKERS` make them."""
    left = iter(range(count))

    async def worker() -> None:
        for _ in left:
            await call()

    started = time.perf_counter()
    async with anyio.create_task_group() as workers:
        for _ in range(WORKERS):
            workers.start_soon(worker)
    return count / (time.perf_counter() - started)


def _completion(version: PolicyVersion) -> Completion:
    tokens = tuple(range(fill.TOKENS))
    return Completion(
        prompt_token_ids=tokens,
        token_ids=tokens,
        behaviour_logprobs=tuple(-0.001 * token for token in tokens),
        version_spans=(VersionSpan(version, 0, fill.TOKENS),),
        text="x" * fill.TOKENS,
        finish_reason=FinishReason.STOP,
    )
