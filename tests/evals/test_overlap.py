"""What self-play met of the suite."""

from pathlib import Path

from azr.config import RunConfig
from azr.evals.overlap import overlap, overlap_of_run
from azr.evals.problems import Split, Suite
from azr.seeding import identity_draft
from azr.store import SqlStore
from azr.task_types import MAIN_TYPES
from azr.types import TaskDraft, TaskType


def test_a_program_is_met_whatever_its_names_and_its_type(suite: Suite):
    problem = next(item for item in suite.problems if item.structure == "accumulate")
    renamed = problem.task.program.replace("(a)", "(given)").replace("in a:", "in given:")
    assert renamed != problem.task.program
    tasks = [(kind, renamed) for kind in MAIN_TYPES] + [(TaskType.DEDUCTION, "def f(a): pass")]
    found = overlap(tasks, suite.problems)
    assert found.num_tasks == 4
    assert found.tasks == {Split.HARDER: 3}
    assert found.problems == {Split.HARDER: 1}


async def test_a_run_is_checked_by_its_database(suite: Suite, tmp_path: Path):
    task = suite.select([Split.IN_DISTRIBUTION])[0].task
    same = TaskDraft(task_type=task.task_type, program=task.program, examples=task.examples)
    database = tmp_path / "azr.sqlite"
    async with SqlStore.open(f"sqlite:///{database}", run=RunConfig()) as store:
        await store.add_seed_tasks([identity_draft(TaskType.DEDUCTION, num_pairs=1), same])
    found = overlap_of_run(database, suite.problems)
    assert found.num_tasks == 2
    assert found.tasks == {Split.IN_DISTRIBUTION: 1}
