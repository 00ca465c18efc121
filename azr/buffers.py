"""The task buffers in memory, for the synchronous telling. `azr.store.buffers` says it in SQL."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from azr.composition import num_composites, usable
from azr.config import SelfPlaySection
from azr.config_extensions import CompositesSection
from azr.eviction import kept_range, reservoir_slot
from azr.normal_form import arguments_form, task_key
from azr.seeds import derive_seed, draw_by_weight, draw_without_replacement
from azr.task_types import PAIR_TYPES
from azr.types import PolicyVersion, ProposedTask, Task, TaskDraft, TaskType

type _Entry = tuple[PolicyVersion, Task]
"""A task with the first version that may see it."""


@dataclass(kw_only=True)
class Buffers:
    """The tasks of each type, oldest first; a step's own become visible after it."""

    play: SelfPlaySection
    root_seed: int
    _tasks: dict[TaskType, list[_Entry]] = field(default_factory=lambda: defaultdict(list))
    _keys: set[tuple[str, ...]] = field(default_factory=set)
    _num_added: Counter[TaskType] = field(default_factory=Counter)
    _texts: Counter[tuple[TaskType, str, str]] = field(default_factory=Counter)
    """How often each input and output occurred."""
    _proposed: dict[int, ProposedTask] = field(default_factory=dict)
    """By task id: what the buffer had seen of a task before it came."""

    def add(self, draft: TaskDraft, *, visible_from: PolicyVersion) -> Task | None:
        """The stored task, or None if it repeats one of its buffer."""
        play = self.play
        key = (draft.task_type, *task_key(draft, play.same_program, play.duplicate_by))
        if self.play.reject_duplicates and key in self._keys:
            return None
        self._keys.add(key)
        task = draft.with_id(self._num_added.total() + 1)
        self._note(task)
        self._tasks[draft.task_type].append((visible_from, task))
        return task

    def proposed(self, task: Task, references: Sequence[Task]) -> ProposedTask:
        """A task of the buffers as its proposer's rewards look at it."""
        return replace(self._proposed[task.task_id], references=tuple(references))

    def withdraw(self, task: Task) -> None:
        """Never draw this task again; one that repeats it is a repetition all the same."""
        entries = self._tasks[task.task_type]
        entries[:] = [entry for entry in entries if entry[1].task_id != task.task_id]

    def drawable(self, task_type: TaskType, version: PolicyVersion) -> list[Task]:
        """What `version` may draw, in the order that draws index."""
        return [task for _, task in self._drawable(task_type, version)]

    def newest(self, task_type: TaskType, version: PolicyVersion) -> list[Task]:
        """What became visible with `version`: the tasks of the step that made it, or seeds."""
        return [task for since, task in self._tasks[task_type] if since == version]

    def references(
        self, task_type: TaskType, count: int, seed: int, version: PolicyVersion
    ) -> tuple[Task, ...]:
        """K tasks of the type; for induction, one program of the other two buffers."""
        if task_type is TaskType.INDUCTION:
            pool = self._drawable(TaskType.DEDUCTION, version)
            pool += self._drawable(TaskType.ABDUCTION, version)
            count = 1
        else:
            pool = self._drawable(task_type, version)
        if self.play.reference_sampling == "recency":
            drawn = draw_by_weight([(1, since + 1) for since, _ in pool], count, seed)
        else:
            drawn = draw_without_replacement(len(pool), count, seed)
        return tuple(pool[i][1] for i in drawn)

    def composites(
        self, task_type: TaskType, section: CompositesSection, seed: int, version: PolicyVersion
    ) -> tuple[Task, ...]:
        """The tasks that a proposal must build on; most often none."""
        if task_type not in PAIR_TYPES:
            return ()
        count = num_composites(section, version, seed)
        pool = self.drawable(task_type, version) if count else []
        return usable([pool[i] for i in draw_without_replacement(len(pool), count, seed)])

    def _note(self, task: Task) -> None:
        kind, earlier = task.task_type, self._num_added[task.task_type]
        inputs = [(kind, "input", arguments_form(each.arguments)) for each in task.examples]
        outputs = [(kind, "output", each.output.canonical) for each in task.examples]
        self._proposed[task.task_id] = ProposedTask(
            task=task,
            seen_inputs=tuple(self._texts[text] for text in inputs),
            seen_outputs=tuple(self._texts[text] for text in outputs),
            seen=earlier * len(task.examples),
        )
        self._texts.update([*inputs, *outputs])
        self._num_added[kind] += 1

    def _drawable(self, task_type: TaskType, version: PolicyVersion) -> list[_Entry]:
        visible = [entry for entry in self._tasks[task_type] if entry[0] <= version]
        capacity, eviction = self.play.buffer_capacity, self.play.eviction
        if eviction == "reservoir" and 0 < capacity < len(visible):
            return self._reservoir(task_type, visible)
        return [visible[i] for i in kept_range(len(visible), capacity, eviction)]

    def _reservoir(self, task_type: TaskType, visible: list[_Entry]) -> list[_Entry]:
        """The holders of the slots. Synchronous: ordinals are positions among the visible."""
        slots: dict[int, _Entry] = {}
        for ordinal, entry in enumerate(visible):
            seed = derive_seed(self.root_seed, "reservoir", task_type, ordinal)
            slot = reservoir_slot(ordinal, self.play.buffer_capacity, seed)
            if slot is not None:
                slots[slot] = entry
        return [slots[slot] for slot in range(self.play.buffer_capacity)]
