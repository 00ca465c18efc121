"""The fleet's laws over scripted nodes: who is started, replaced, drained and given up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import anyio
import pytest

from actors import fleet as module
from actors.fleet import Fleet
from azr.config import ClusterSection
from azr.errors import ConfigError, LearnerError, NodeError
from azr.placement import Duty, Machine, NodePlan

HERE = Machine(name="here", address="127.0.0.1", cpus=2)
QUICK = ClusterSection(
    restart_pause_seconds=0.001,
    longest_pause_seconds=0.01,
    restart_limit=2,
    silent_seconds=0.3,
    drain_seconds=0.5,
)


def plan(number: int) -> NodePlan:
    learns = (Duty.LEARN, Duty.SEED) if number == 1 else ()
    duties = (*learns, Duty.SAMPLE, Duty.EXAMINE)
    return NodePlan(name=f"node-{number}", machine=HERE, duties=duties, jails=2)


@dataclass(eq=False)
class ScriptedNode:
    """Runs until told how to end."""

    owner: str
    launcher: ScriptedLauncher
    ending: anyio.Event = field(default_factory=anyio.Event)
    error: Exception | None = None
    version: int = 0
    is_stuck: bool = False
    drained: bool = False
    heard: anyio.Event = field(default_factory=anyio.Event)
    killed: bool = False
    ends_on_drain: bool = True

    async def run(self) -> int:
        await self.ending.wait()
        if self.error is not None:
            raise self.error
        return self.version

    async def ping(self) -> None:
        if self.is_stuck:
            await anyio.sleep_forever()

    async def drain(self) -> None:
        self.drained = True
        self.heard.set()
        if self.ends_on_drain:
            self.ending.set()

    async def fence(self, owner: str, cause: str) -> None:
        self.launcher.fenced.append((self.owner, owner, cause))

    async def kill(self) -> None:
        self.killed = True

    def end(self, *, version: int = 0, error: Exception | None = None) -> None:
        self.version, self.error = version, error
        self.ending.set()


@dataclass(eq=False)
class ScriptedLauncher:
    """Remembers what it started; `node` waits for an incarnation to be there."""

    is_alone: bool = False
    started: list[ScriptedNode] = field(default_factory=list)
    causes: list[str] = field(default_factory=list)
    adopted: dict[str, ScriptedNode] = field(default_factory=dict)
    fenced: list[tuple[str, str, str]] = field(default_factory=list)

    async def start(self, plan: NodePlan, *, cause: str) -> ScriptedNode:
        count = sum(node.owner.startswith(plan.name) for node in self.started)
        node = ScriptedNode(f"{plan.name}-{count}", self)
        self.started.append(node)
        self.causes.append(cause)
        return node

    async def living(self) -> Mapping[str, ScriptedNode]:
        return self.adopted

    async def node(self, owner: str) -> ScriptedNode:
        with anyio.fail_after(10):
            while True:
                for node in self.started:
                    if node.owner == owner:
                        return node
                await anyio.sleep(0.001)


def fleet(launcher: ScriptedLauncher, *numbers: int) -> Fleet:
    return Fleet(plans=[plan(number) for number in numbers], launcher=launcher, settings=QUICK)


async def test_the_run_ends_with_the_learners_node_and_the_others_are_drained() -> None:
    launcher = ScriptedLauncher()
    of = fleet(launcher, 1, 2, 3)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(of.run)
        others = [await launcher.node("node-2-0"), await launcher.node("node-3-0")]
        (await launcher.node("node-1-0")).end(version=7)
    assert of.version == 7
    assert all(node.drained for node in others)
    assert len(launcher.started) == 3


async def test_a_lost_node_is_given_up_killed_and_replaced_with_its_cause() -> None:
    launcher = ScriptedLauncher()
    of = fleet(launcher, 1, 2)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(of.run)
        lost = await launcher.node("node-2-0")
        lost.end(error=NodeError("its process is gone"))
        await launcher.node("node-2-1")
        (await launcher.node("node-1-0")).end(version=3)
    assert lost.killed
    assert launcher.fenced == [("node-1-0", "node-2-0", "its process is gone")]
    assert launcher.causes == ["", "", "its process is gone"]


async def test_the_learners_node_is_replaced_too() -> None:
    launcher = ScriptedLauncher()
    of = fleet(launcher, 1, 2)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(of.run)
        (await launcher.node("node-1-0")).end(error=LearnerError("out of memory"))
        (await launcher.node("node-1-1")).end(version=9)
    assert of.version == 9
    assert launcher.fenced == []


async def test_a_silent_node_is_replaced() -> None:
    launcher = ScriptedLauncher()
    of = fleet(launcher, 1, 2)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(of.run)
        stuck = await launcher.node("node-2-0")
        await anyio.sleep(0.1)  # its first answer
        stuck.is_stuck = True
        await launcher.node("node-2-1")
        (await launcher.node("node-1-0")).end()
    assert stuck.killed
    assert "has not answered for 0.3 s" in launcher.causes[-1]


async def test_a_storm_of_restarts_ends_the_run_with_the_last_error() -> None:
    launcher = ScriptedLauncher()
    of = fleet(launcher, 1, 2)

    async def fail_again_and_again() -> None:
        for count in range(3):
            (await launcher.node(f"node-2-{count}")).end(error=NodeError("no memory"))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(fail_again_and_again)
        with pytest.raises(NodeError, match=r"node-2 failed 3 times .* no memory"):
            await of.run()
    assert (await launcher.node("node-1-0")).killed


async def test_what_no_restart_mends_ends_the_run_at_once() -> None:
    launcher = ScriptedLauncher()
    of = fleet(launcher, 1)

    async def fail() -> None:
        (await launcher.node("node-1-0")).end(error=ConfigError("no such model"))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(fail)
        with pytest.raises(ConfigError, match="no such model"):
            await of.run()
    assert len(launcher.started) == 1


async def test_a_drain_reaches_everybody_and_starts_nobody() -> None:
    launcher = ScriptedLauncher()
    of = fleet(launcher, 1, 2)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(of.run)
        nodes = [await launcher.node("node-1-0"), await launcher.node("node-2-0")]
        of.drain.request()
    assert all(node.drained for node in nodes)
    assert len(launcher.started) == 2


async def test_who_does_not_heed_a_drain_is_killed_in_the_end() -> None:
    launcher = ScriptedLauncher()
    of = fleet(launcher, 1, 2)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(of.run)
        deaf = await launcher.node("node-2-0")
        deaf.ends_on_drain = False
        of.drain.request()
    assert deaf.killed


async def test_a_fleet_that_starts_again_adopts_the_nodes_that_play() -> None:
    launcher = ScriptedLauncher()
    learner = ScriptedNode("node-1-9", launcher)
    launcher.adopted = {"node-1": learner}
    of = fleet(launcher, 1, 2)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(of.run)
        await launcher.node("node-2-0")
        learner.end(version=4)
    assert of.version == 4
    assert [node.owner for node in launcher.started] == ["node-2-0"]


async def test_scaling_starts_and_drains_nodes_while_the_others_play() -> None:
    launcher = ScriptedLauncher()
    of = fleet(launcher, 1, 2)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(of.run)
        leaver = await launcher.node("node-2-0")
        of.scale([plan(1), plan(3)])
        newcomer = await launcher.node("node-3-0")
        with anyio.fail_after(10):
            await leaver.ending.wait()
        assert {node.name for node in of.report() if not node.is_leaving} == {"node-1", "node-3"}
        (await launcher.node("node-1-0")).end(version=2)
    assert newcomer.drained
    assert len(launcher.started) == 3


async def test_who_is_scaled_away_and_back_plays_again() -> None:
    launcher = ScriptedLauncher()
    of = fleet(launcher, 1, 2)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(of.run)
        leaver = await launcher.node("node-2-0")
        leaver.ends_on_drain = False
        of.scale([plan(1)])
        of.scale([plan(1), plan(2)])
        leaver.end()
        back = await launcher.node("node-2-1")
        (await launcher.node("node-1-0")).end(version=2)
    assert back.drained


async def test_a_node_that_had_to_leave_when_its_fleet_died_is_seen_out() -> None:
    launcher = ScriptedLauncher()
    learner, stray = ScriptedNode("node-1-9", launcher), ScriptedNode("node-3-9", launcher)
    launcher.adopted = {"node-1": learner, "node-3": stray}
    of = fleet(launcher, 1)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(of.run)
        with anyio.fail_after(10):
            await stray.ending.wait()
        learner.end(version=4)
    assert stray.drained
    assert stray.killed
    assert launcher.started == []


async def test_a_fleet_that_starts_again_in_a_drain_waits_for_who_plays_and_starts_nobody() -> None:
    launcher = ScriptedLauncher()
    learner = ScriptedNode("node-1-9", launcher)
    learner.ends_on_drain = False
    launcher.adopted = {"node-1": learner}
    of = fleet(launcher, 1, 2)
    of.drain.request()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(of.run)
        with anyio.fail_after(10):
            await learner.heard.wait()
        learner.end(version=6)
    assert of.version == 6
    assert launcher.started == []


async def test_a_node_that_cannot_be_reached_holds_up_nobodys_drain_nor_end(monkeypatch) -> None:
    monkeypatch.setattr(module, "FAREWELL_SECONDS", 60.0)
    launcher = ScriptedLauncher()
    of = fleet(launcher, 1, 2, 3)
    told, killed = anyio.Event(), anyio.Event()

    def tells(event: anyio.Event) -> Callable[[], Awaitable[None]]:
        async def tell() -> None:
            event.set()

        return tell

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(of.run)
        first, last = await launcher.node("node-2-0"), await launcher.node("node-3-0")
        for name, event in (("drain", told), ("kill", killed)):
            monkeypatch.setattr(first, name, event.wait)
            monkeypatch.setattr(last, name, tells(event))
        (await launcher.node("node-1-0")).end()
        with anyio.fail_after(30):
            await told.wait()
            await killed.wait()
