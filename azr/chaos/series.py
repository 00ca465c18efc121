"""One fault after the other: wait until all is well, break something, see what happens."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from azr.chaos import laws
from azr.chaos.faults import Kind
from azr.chaos.job import Job
from azr.chaos.record import FaultRecord, Record, said_on_the_way
from azr.chaos.strikes import Strike, strike
from azr.errors import AzrError, NodeError, StoreError

POLL_SECONDS = 1.0
CENSUS_SECONDS = 5.0
"""Between two looks at all processes, so that nothing that was started is ever forgotten."""
WHOLE_SECONDS = 900.0
"""For the first steps, and for everybody to be back after a fault: then a series gives up."""
FIRST_STEPS = 2

type Tell = Callable[[str], None]


@dataclass(kw_only=True, eq=False)
class Series:
    """Plays `schedule` on a job; what happened is in `record`, also when it was interrupted."""

    job: Job
    schedule: Sequence[Kind]
    record: Record
    rng: random.Random
    settle_seconds: float
    """Between the moment at which all is well again and the next fault."""
    tell: Tell
    _started: float = field(default_factory=time.monotonic)
    _next_census: float = 0.0

    def play(self) -> None:
        """All faults, then an end in good order. Raises nothing expected: the record says."""
        try:
            self._begin()
            for number, kind in enumerate(self.schedule, start=1):
                self._pause()
                self._one(number, kind)
            self._end()
        except AzrError as error:
            self.record.ended = str(error)
            self.tell(f"the series ends: {error}")
        finally:
            self.record.seconds = time.monotonic() - self._started

    def _begin(self) -> None:
        self.tell(f"starting {self.job.nodes} nodes; waiting for {FIRST_STEPS} learner steps")

        def plays() -> bool:
            self.job.require_going()
            with suppress(StoreError):
                return self._num_steps() >= FIRST_STEPS and not self.job.missing()
            return False

        if not self._wait(plays, WHOLE_SECONDS):
            missing = ", ".join(sorted(self.job.missing())) or "learner steps"
            raise NodeError(f"the run did not begin within {WHOLE_SECONDS:g} s: no {missing}")
        self.tell(f"all nodes play after {time.monotonic() - self._started:.0f} s")

    def _one(self, number: int, kind: Kind) -> None:
        """Break one thing, wait until it is mended, and look at every law."""
        was = laws.before(self.job.database)
        at, struck_at = time.time(), time.monotonic()
        struck = strike(kind, self.job, self.rng)
        place = f"{number} of {len(self.schedule)}"
        self.tell(f"{place}: {kind}: {struck.victim}")
        go_on_seconds, whole_seconds = self._recover(struck, at, struck_at)
        broken = tuple(self._broken(was))
        fault = FaultRecord(
            number=number,
            kind=kind,
            victim=struck.victim,
            at=at,
            go_on_seconds=go_on_seconds,
            whole_seconds=whole_seconds,
            broken=broken,
            on_the_way=self._on_the_way(at, go_on_seconds),
        )
        self.record.faults.append(fault)
        self.record.num_steps = self._num_steps()
        self.tell(f"{place}: {_said(fault)}")
        if go_on_seconds is None or whole_seconds is None:
            missing = ", ".join(sorted(self.job.missing())) or "learner steps"
            raise NodeError(f"the run did not recover from fault {number}: no {missing}")

    def _recover(
        self, struck: Strike, at: float, struck_at: float
    ) -> tuple[float | None, float | None]:
        """Seconds until the run goes on, and until it is whole; None for what never came."""
        go_on_seconds: float | None = None
        is_mended = struck.mend is None

        def is_over() -> bool:
            nonlocal go_on_seconds, is_mended
            if not is_mended and time.monotonic() - struck_at >= struck.mend_after_seconds:
                assert struck.mend is not None  # noqa: S101 -- or it were mended
                struck.mend()
                is_mended = True
            if is_mended:
                self.job.cluster.revive()
                self.job.require_going()
            if go_on_seconds is None:
                with suppress(StoreError):
                    go_on_seconds = laws.seconds_to_go_on(self.job.database, at)
            return is_mended and go_on_seconds is not None and not self.job.missing()

        is_whole = self._wait(is_over, WHOLE_SECONDS)
        return go_on_seconds, time.monotonic() - struck_at if is_whole else None

    def _broken(self, was: laws.Before) -> list[str]:
        try:
            return laws.broken(self.job.database, was)
        except StoreError as error:
            return [f"the database can be read: {error}"]

    def _on_the_way(self, at: float, go_on_seconds: float | None) -> dict[str, float]:
        """Where the time went until the run went on, as far as the database can tell."""
        if go_on_seconds is None:
            return {}
        try:
            return laws.on_the_way(self.job.database, at, until=at + go_on_seconds)
        except StoreError:
            return {}

    def _pause(self) -> None:
        self._wait(lambda: False, self.settle_seconds)
        self.job.require_going()

    def _end(self) -> None:
        self.tell("stopping the run")
        was = laws.before(self.job.database)
        if not self.job.stop():
            raise NodeError("`azr stop` did not end the run in time")
        broken = self._broken(was)
        if broken:
            raise NodeError(f"when it had ended: {broken[0]}")

    def _num_steps(self) -> int:
        return laws.num_steps(self.job.database)

    def _wait(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Poll; whether it came true in time."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                return False
            if time.monotonic() >= self._next_census:
                self.job.cluster.everything()
                self._next_census = time.monotonic() + CENSUS_SECONDS
            time.sleep(min(POLL_SECONDS, seconds))
        return True


def _said(fault: FaultRecord) -> str:
    if fault.go_on_seconds is None:
        text = "no learner step came"
    else:
        way = said_on_the_way(fault)
        text = f"goes on after {fault.go_on_seconds:.1f} s" + (f" ({way})" if way else "")
    if fault.whole_seconds is not None:
        text += f", whole after {fault.whole_seconds:.1f} s"
    return text + (f"; BROKEN: {'; '.join(fault.broken)}" if fault.broken else "; every law holds")
