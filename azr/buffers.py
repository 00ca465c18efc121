"""The task buffers in memory, for the synchronous telling. `azr.store.buffers` says it in SQL."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from azr.config import SelfPlaySection
from azr.eviction import kept_range, reservoir_slot
from azr.normal_form import task_key
from azr.seeds import derive_seed, draw_without_replacement
from azr.types import PolicyVersion, Task, TaskDraft, TaskType


@dataclass(kw_only=True)
class Buffers:
    """The tasks of each type, oldest first; a step's own become visible after it."""

    play: SelfPlaySection
    root_seed: int
    _tasks: dict[TaskType, list[tuple[PolicyVersion, Task]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    _keys: set[tuple[str, ...]] = field(default_factory=set)

    def add(self, draft: TaskDraft, *, visible_from: PolicyVersion) -> Task | None:
        """The stored task, or None if it repeats one of its buffer."""
        play = self.play
        key = (draft.task_type, *task_key(draft, play.same_program, play.duplicate_by))
        if self.play.reject_duplicates and key in self._keys:
            return None
        self._keys.add(key)
        task = draft.with_id(sum(map(len, self._tasks.values())) + 1)
        self._tasks[draft.task_type].append((visible_from, task))
        return task

    def drawable(self, task_type: TaskType, version: PolicyVersion) -> list[Task]:
        """What `version` may draw, in the order that draws index."""
        visible = [task for since, task in self._tasks[task_type] if since <= version]
        capacity, eviction = self.play.buffer_capacity, self.play.eviction
        if eviction == "reservoir" and 0 < capacity < len(visible):
            return self._reservoir(task_type, visible)
        return [visible[i] for i in kept_range(len(visible), capacity, eviction)]

    def references(
        self, task_type: TaskType, count: int, seed: int, version: PolicyVersion
    ) -> tuple[Task, ...]:
        """K tasks of the type; for induction, one program of the other two buffers."""
        if task_type is TaskType.INDUCTION:
            pool = self.drawable(TaskType.DEDUCTION, version)
            pool += self.drawable(TaskType.ABDUCTION, version)
            count = 1
        else:
            pool = self.drawable(task_type, version)
        return tuple(pool[i] for i in draw_without_replacement(len(pool), count, seed))

    def _reservoir(self, task_type: TaskType, visible: list[Task]) -> list[Task]:
        """The holders of the slots. Synchronous: ordinals are positions among the visible."""
        slots: dict[int, Task] = {}
        for ordinal, task in enumerate(visible):
            seed = derive_seed(self.root_seed, "reservoir", task_type, ordinal)
            slot = reservoir_slot(ordinal, self.play.buffer_capacity, seed)
            if slot is not None:
                slots[slot] = task
        return [slots[slot] for slot in range(self.play.buffer_capacity)]
