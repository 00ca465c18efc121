"""What a full buffer keeps."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from azr.eviction import kept_range, reservoir_slot
from azr.seeds import derive_seed


def reservoir(history: int, capacity: int, root: int) -> set[int]:
    slots: dict[int, int] = {}
    for ordinal in range(history):
        slot = reservoir_slot(ordinal, capacity, derive_seed(root, ordinal))
        if slot is not None:
            slots[slot] = ordinal
    assert sorted(slots) == list(range(min(history, capacity)))
    return set(slots.values())


def test_an_unlimited_buffer_keeps_everything():
    assert kept_range(7, 0, "oldest") == range(7)
    assert kept_range(7, 7, "newest") == range(7)


def test_a_full_buffer_keeps_the_newest_or_the_oldest():
    assert kept_range(7, 3, "newest") == range(4, 7)
    assert kept_range(7, 3, "oldest") == range(3)


def test_a_reservoir_holds_every_task_of_the_history_equally_often():
    counts = Counter(kept for root in range(3000) for kept in reservoir(12, 4, root))
    expected = 3000 * 4 / 12
    chi_squared = sum((counts[i] - expected) ** 2 / expected for i in range(12))
    assert chi_squared < 40  # 11 degrees of freedom: beyond 1 in 20,000; the seeds are fixed


def test_what_a_reservoir_evicted_never_returns():
    held = [reservoir(history, 5, root=1) for history in range(5, 60)]
    for before, after in pairwise(held):
        assert len(after - before) <= 1
        assert all(ordinal >= max(before) for ordinal in after - before)
