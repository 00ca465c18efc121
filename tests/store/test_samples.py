"""Laws of lengths and samples: what is summed up is all there is, and a seed fixes what is read."""

from __future__ import annotations

import random
from collections import defaultdict

from azr.store import SqlStore
from azr.store.history import open_history
from azr.store.history import samples as read
from azr.store.history.samples import PRIME, LengthPoint, Sampled
from azr.types import Cell, Judgement, PolicyVersion, Role, TaskType
from tests.store.store_play import OWNER, Clock, Player, completion, config, draft, select

VERSIONS = range(5)
PLAYED = (TaskType.DEDUCTION, TaskType.ABDUCTION, TaskType.INDUCTION)
SOLVED = {True: 12, False: 6}
"""Response tokens of attempts, by whether they solve."""


async def play(player: Player, *, each: int = 4) -> None:
    """Per version and type, `each` valid proposals with an attempt that solves and one that fails.

    Later versions write longer proposals. A rejected proposal and a seed are there as well.
    """
    store = player.store
    await store.put_seed_rollout(completion(text="seed"), TaskType.DEDUCTION, Judgement.VALID)
    for version in VERSIONS:
        for task_type in PLAYED:
            for _ in range(each):
                [admission] = await player.admit(task_type, version=version)
                made = completion(version, num_tokens=4 + version, text=f"v{version}")
                await player.accept(await store.put_rollout(admission, made), task_type)
        for index, admission in enumerate(await store.lease_attempts(owner=OWNER, at_most=1000)):
            solved = index % 2 == 0
            made = completion(version, num_tokens=SOLVED[solved], text="thus</think>so")
            await player.judge(await store.put_rollout(admission, made), solved=solved)
    await player.reject(await player.propose(version=VERSIONS[-1]))


async def test_lengths_are_those_of_every_rollout_of_an_interval(player: Player, url: str) -> None:
    await play(player)
    with open_history(url) as history:
        points = {(p.cell, p.first_version): p for p in read.lengths(history, width=2)}
    solver, proposer = (Cell(role, TaskType.INDUCTION) for role in (Role.SOLVE, Role.PROPOSE))
    assert sorted(points) == sorted(
        (Cell(role, task_type), first)
        for role in Role
        for task_type in PLAYED
        for first in (0, 2, 4)
    )
    assert points[solver, 2] == LengthPoint(
        first_version=2,
        cell=solver,
        num_rollouts=16,  # two versions, four tasks, two attempts
        mean_tokens=9,
        max_tokens=12,
        truncated_share=0,
        mean_tokens_solved=12,
    )
    assert points[proposer, 2].mean_tokens == (6 + 7) / 2
    assert points[proposer, 4].mean_tokens_solved is None
    assert sum(point.num_rollouts for point in points.values()) == 5 * len(PLAYED) * (4 + 8) + 1


def drawn(url: str, *, per_cell: int, seed: int, proposals: bool = False) -> list[Sampled]:
    draw = read.sample_proposals if proposals else read.sample_responses
    with open_history(url) as history:
        return draw(history, width=2, per_cell=per_cell, seed=seed)


def expected(url: str, *, per_cell: int, seed: int) -> list[int]:
    """The ids that the hash chooses, worked out without SQL."""
    rng = random.Random(seed)  # noqa: S311
    factor, offset = rng.randrange(1, PRIME), rng.randrange(PRIME)
    groups: dict[tuple[PolicyVersion, str, str], list[int]] = defaultdict(list)
    rows = select(
        url,
        "select rollout_id, newest_version, role, task_type from rollout"
        " where purpose <> 'seed' and judgement is not null",
    )
    for rollout_id, version, role, task_type in rows:
        groups[version // 2, role, task_type].append(rollout_id)
    return [
        rollout_id
        for key in sorted(groups)
        for rollout_id in sorted(groups[key], key=lambda i: (i % PRIME * factor + offset) % PRIME)[
            :per_cell
        ]
    ]


async def test_every_database_draws_what_the_hash_says(player: Player, url: str) -> None:
    await play(player)
    for seed in (0, 7):
        found = drawn(url, per_cell=3, seed=seed)
        assert [each.rollout_id for each in found] == expected(url, per_cell=3, seed=seed)
    assert drawn(url, per_cell=3, seed=0) != drawn(url, per_cell=3, seed=7)


async def test_a_sample_says_of_how_many_it_is_one(player: Player, url: str) -> None:
    await play(player)
    everything = drawn(url, per_cell=1000, seed=0)
    sizes: dict[tuple[Cell, PolicyVersion], int] = defaultdict(int)
    for each in everything:
        sizes[each.cell, each.first_version] += 1
    assert all(each.out_of == sizes[each.cell, each.first_version] for each in everything)
    some = drawn(url, per_cell=2, seed=0)
    assert len(some) == 2 * len(sizes)
    assert {each.out_of for each in some} == set(sizes.values())
    assert drawn(url, per_cell=0, seed=0) == []


async def test_only_valid_proposals_are_read_as_programs_and_with_what_they_were_shown(
    player: Player, url: str
) -> None:
    await play(player)
    sample = drawn(url, per_cell=1000, seed=0, proposals=True)
    with open_history(url) as history:
        found = list(read.proposals(history, sample))
    assert len(found) == len(sample) == 5 * len(PLAYED) * 4
    for proposal in found:
        shown = select(
            url,
            "select task_id from proposal_reference where admission_id = ? order by position",
            proposal.rollout.admission_id,
        )
        assert [task.task_id for task in proposal.references] == [row[0] for row in shown]
        assert proposal.task.task_type is proposal.rollout.cell.task_type


async def test_responses_come_with_their_texts(player: Player, url: str) -> None:
    await play(player)
    with open_history(url) as history:
        sample = read.sample_responses(history, width=1, per_cell=1000, seed=0)
        texts = dict(read.responses(history, sample))
    assert len(texts) == len(sample)
    for rollout, text in texts.items():
        solver = rollout.cell.role is Role.SOLVE
        assert text in (("thus</think>so",) if solver else (f"v{rollout.first_version}", "hm"))


async def test_intervals_are_as_narrow_as_the_number_of_points_allows(player: Player, url: str):
    for version in range(2):
        await player.step(version=version)
    with open_history(url) as history:  # versions 0, 1 and 2
        widths = [read.versions_per_point(history, at_most=n) for n in (1, 2, 3, 30)]
    assert widths == [3, 2, 1, 1]


async def test_a_run_of_the_same_database_is_left_out(url: str, clock: Clock) -> None:
    async with SqlStore.open(url, run=config(store={"run_name": "other"}), clock=clock) as store:
        player = Player(store)
        await player.store.add_seed_tasks([draft(TaskType.DEDUCTION, n) for n in range(3)])
        await player.propose()
    with open_history(url, run=1) as history:
        assert read.lengths(history, width=1) == []
        assert read.sample_responses(history, width=1, per_cell=5, seed=0) == []
