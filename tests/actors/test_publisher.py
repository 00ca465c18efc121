"""The publisher's laws over a scripted channel: who is brought up to date, and when."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import anyio
import pytest

from actors import publisher as module
from actors.actor import Drain, PolicyClock, Wakeups
from actors.publisher import Publisher
from azr.errors import WeightSyncError


@dataclass
class ScriptedChannel:
    """Notes publications; `fails` makes the next one fail, and `losses` so many lose everybody."""

    names: set[str] = field(default_factory=set)
    published: list[tuple[int, frozenset[str]]] = field(default_factory=list)
    fails: bool = False
    losses: int = 0

    async def publish(self, version: int, *, only: Collection[str] = ()) -> Mapping[str, float]:
        if self.losses:
            self.losses -= 1
            self.names.clear()
            raise WeightSyncError("no replica is left to update")
        if self.fails:
            self.fails = False
            raise WeightSyncError("nobody received it")
        self.published.append((version, frozenset(only)))
        return {"seconds": 0.1}


@dataclass
class ScriptedRoll:
    """Admits the arrivals of each call in turn."""

    channel: ScriptedChannel
    arrivals: list[set[str]] = field(default_factory=list)
    recorded: list[int] = field(default_factory=list)

    async def reconcile(self) -> set[str]:
        new = self.arrivals.pop(0) if self.arrivals else set()
        self.channel.names |= new
        return new

    async def record(self, version: int) -> None:
        self.recorded.append(version)


@dataclass
class Notes:
    """The part of a store that a publisher writes to."""

    metrics: list[int] = field(default_factory=list)
    events: list[str] = field(default_factory=list)

    async def record_metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        assert metrics == {"publish/seconds": 0.1}
        self.metrics.append(step)

    async def record_event(self, kind: str, **facts: object) -> None:
        assert facts
        self.events.append(kind)


@dataclass
class Made:
    publisher: Publisher
    channel: ScriptedChannel
    roll: ScriptedRoll
    notes: Notes


def make(*arrivals: set[str]) -> Made:
    channel, notes = ScriptedChannel(), Notes()
    roll = ScriptedRoll(channel, list(arrivals))
    publisher = Publisher(
        store=notes,  # ty: ignore[invalid-argument-type]
        channel=channel,
        roll=roll,
        clock=PolicyClock(learner=4, serving=3),
        wakeups=Wakeups(),
        drain=Drain(),
    )
    return Made(publisher, channel, roll, notes)


async def test_a_publication_goes_to_all_and_moves_the_clock_only_then() -> None:
    m = make({"replica-1"})
    m.channel.fails = True
    with pytest.raises(WeightSyncError):
        await m.publisher.publish(5)
    assert m.publisher.clock.serving == 3
    await m.publisher.publish(5)
    assert m.channel.published == [(5, frozenset())]
    assert m.publisher.clock.serving == 5
    assert m.notes.metrics == m.roll.recorded == [5]


async def test_it_waits_for_somebody_to_publish_to(monkeypatch) -> None:
    monkeypatch.setattr(module, "ROLL_SECONDS", 0.001)
    m = make(set(), set(), {"replica-2"})
    with anyio.fail_after(10):
        await m.publisher.publish(5)
    assert m.channel.published == [(5, frozenset())]
    assert m.notes.events == ["waiting_for_replicas"]


async def test_newcomers_alone_are_brought_to_the_learners_version() -> None:
    m = make({"replica-2"})
    await m.publisher.attend()
    assert m.channel.published == [(4, frozenset({"replica-2"}))]
    assert m.publisher.clock.serving == 3
    assert m.roll.recorded == [4]
    await m.publisher.attend()
    assert len(m.channel.published) == 1


async def test_a_newcomer_that_fails_does_not_stop_the_learner() -> None:
    m = make({"replica-2"})
    m.channel.fails = True
    await m.publisher.attend()
    assert not m.channel.published
    assert m.roll.recorded == [4]


async def test_who_loses_every_replica_waits_for_another(monkeypatch) -> None:
    monkeypatch.setattr(module, "ROLL_SECONDS", 0.001)
    m = make({"replica-2"}, set(), set(), {"replica-3"})
    m.channel.losses = 1
    with anyio.fail_after(10):
        await m.publisher.publish(5)
    assert m.channel.published == [(5, frozenset())]
    assert m.channel.names == {"replica-3"}
    assert m.notes.events == ["waiting_for_replicas"]


async def test_replicas_that_are_lost_again_and_again_are_an_error_in_the_end(monkeypatch) -> None:
    monkeypatch.setattr(module, "ROLL_SECONDS", 0.001)
    m = make(*({"replica-2"} for _ in range(10)))
    m.channel.losses = 10
    with anyio.fail_after(10), pytest.raises(WeightSyncError):
        await m.publisher.publish(5)
    assert m.publisher.clock.serving == 3


async def test_a_node_that_is_drained_does_not_wait_for_who_has_left() -> None:
    m = make()
    m.publisher.drain.request()
    with anyio.fail_after(10):
        await m.publisher.publish(5)
    assert m.channel.published == m.notes.metrics == []
    assert m.publisher.clock.serving == 3
