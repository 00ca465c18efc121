"""The scaling model: its arithmetic, its inputs, and how far it was from what was measured."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Awaitable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event
from sqlalchemy.engine import Engine
from typer.testing import CliRunner

from azr import config_files
from azr.cli import app
from azr.cli.scaling import earlier_tiny
from azr.config import RunConfig
from azr.errors import ConfigError
from azr.scaling import laptop, tables
from azr.scaling.cluster import Resource, estimate
from azr.scaling.database import CALLS, call_seconds
from azr.scaling.inputs import (
    EARLIER_TINY_LENGTHS,
    MODELS,
    POSTGRES,
    SQLITE,
    TINY_LENGTHS,
    Database,
    Inputs,
)
from azr.store import SqlStore
from azr.types import (
    Completion,
    Example,
    FinishReason,
    Judgement,
    TaskDraft,
    TaskType,
    Value,
    VersionSpan,
)

DOCS = Path(__file__).parents[2] / "docs"
NODES = (1, 2, 4, 8, 16, 32, 64)
LAPTOP_FACTOR = 2.0
STORE_FACTOR = 2.5


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def factor(left: float, right: float) -> float:
    """How many times one is the other, 1 or more."""
    return max(left / right, right / left)


def pipeline_rows(text: str, name: str) -> list[float]:
    """Both columns of every table's row of this name."""
    rows = re.findall(rf"^{re.escape(name)} +([\d.]+)%? +([\d.]+)", text, flags=re.MULTILINE)
    assert rows
    return [float(value) for row in rows for value in row]


def test_it_predicts_the_tokens_of_a_step_on_cpu():
    text = page("results/pipeline-bench.md")
    seconds = pipeline_rows(text, "seconds per step")
    rates = pipeline_rows(text, "sampled tokens/s")
    predicted = laptop.estimate(earlier_tiny(), EARLIER_TINY_LENGTHS).sampled_tokens
    assert len(rates) == 4
    for a, b in zip(seconds, rates, strict=True):
        assert factor(predicted, a * b) < LAPTOP_FACTOR


def test_it_predicts_what_a_sampled_token_costs_on_cpu():
    measured = pipeline_rows(page("results/pipeline-bench.md"), "tokens/CPU-second")
    predicted = laptop.estimate(earlier_tiny(), EARLIER_TINY_LENGTHS).tokens_per_cpu_second
    assert [value for value in measured if factor(predicted, value) >= LAPTOP_FACTOR] == []


def test_it_predicts_the_readme_run_of_the_present_preset():
    text = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    seconds = pipeline_rows(text, "seconds per step")[0]
    rate = pipeline_rows(text, "sampled tokens/s")[0]
    predicted = laptop.estimate(config_files.load("tiny-cpu", []), TINY_LENGTHS)
    assert factor(predicted.step_seconds, seconds) < LAPTOP_FACTOR
    assert factor(predicted.sampled_tokens / predicted.step_seconds, rate) < LAPTOP_FACTOR


@pytest.mark.parametrize(("name", "database"), [("SQLite", SQLITE), ("PostgreSQL", POSTGRES)])
def test_it_predicts_what_the_store_bench_measured(name: str, database: Database):
    section = page("results/store-bench.md").split(f"### {name}\n")[1].split("### ")[0]

    def measured(row: str) -> list[float]:
        cells = re.search(rf"^\| {re.escape(row)} \|(.+)\|$", section, flags=re.MULTILINE)
        assert cells
        return [float(cell.replace(",", "")) for cell in cells[1].split("|")[:3]]

    def seconds(call: str, rows: int = 0) -> float:
        return call_seconds(call, database, rows=rows, remote=False)

    predictions = {
        "puts/s": 1 / seconds("put"),
        "leases/s": 1 / seconds("lease_rollout"),
        "admit a proposal, ms": 1000 * seconds("admit_proposal"),
        "lease a rollout, ms": 1000 * seconds("lease_rollout"),
        "claim 6 x 64 rollouts, ms": 1000 * seconds("claim", 6 * 64),
        "commit a step, ms": 1000 * seconds("commit", 6 * 64),
    }
    wrong = {
        row: (round(predicted, 2), value)
        for row, predicted in predictions.items()
        for value in measured(row)
        if factor(predicted, value) >= STORE_FACTOR
    }
    assert wrong == {}


def test_inputs_are_the_figures_of_the_pages_they_name():
    bench, soak = page("results/sandbox-bench.md"), page("results/sandbox-soak.md")
    inputs = Inputs()
    medians = dict(re.findall(r"^([a-z][a-z ,]+?) {2,}([\d,]+) ", bench, flags=re.MULTILINE))
    assert float(medians["one run a job, through the pool"]) == inputs.jails.executions_per_second
    assert (
        float(medians["full validation, through the pool"])
        == inputs.jails.validation_executions_per_second
    )
    assert f"timeout {inputs.lengths.timeout_share * 100_000:.0f}," in soak
    assert all(source for _, _, _, source in inputs.each())


@contextmanager
def counted() -> Generator[Counter[str]]:
    """Statements sent while it is open, by their first word."""
    found: Counter[str] = Counter()

    def count(*arguments: object) -> None:
        found[str(arguments[2]).split()[0]] += 1

    event.listen(Engine, "before_cursor_execute", count)
    try:
        yield found
    finally:
        event.remove(Engine, "before_cursor_execute", count)


async def statements(work: Awaitable[object]) -> int:
    with counted() as found:
        await work
    return found.total()


async def test_calls_send_about_as_many_statements_as_the_model_says(tmp_path: Path):
    config = RunConfig.model_validate({"learner": {"batch_rollouts": 8}})
    tokens = (1, 2, 3)
    completion = Completion(
        prompt_token_ids=tokens,
        token_ids=tokens,
        behaviour_logprobs=(-0.1, -0.2, -0.3),
        version_spans=(VersionSpan(0, 0, 3),),
        text="abc",
        finish_reason=FinishReason.STOP,
    )
    draft = TaskDraft(
        task_type=TaskType.DEDUCTION,
        program="def f(x):\n    return x",
        examples=(Example("1", Value("1")),),
    )
    seeds = [
        TaskDraft(
            task_type=TaskType.DEDUCTION,
            program=f"def f(x):\n    return x + {number}",
            examples=(Example("1", Value(f"{number}")),),
        )
        for number in range(12)
    ]
    found: dict[str, int] = {}
    async with SqlStore.open(f"sqlite:///{tmp_path / 'a.sqlite'}", run=config) as store:
        await store.add_seed_tasks(seeds)

        async def admit() -> None:
            granted.extend(
                await store.admit_proposals(
                    TaskType.DEDUCTION, owner="o", at_most=1, outstanding_limit=9, version=0
                )
            )

        granted = []
        await admit()
        found["admit_proposal"] = await statements(admit())
        found["put"] = await statements(store.put_rollout(granted[1], completion))
        [rollout] = await store.lease_rollouts(owner="o", at_most=1)
        found["accept_proposal"] = await statements(
            store.accept_proposal(rollout.rollout_id, draft)
        )
        [attempt] = await store.lease_attempts(owner="o", at_most=1)
        await store.put_rollout(attempt, completion)
        found["lease_rollout"] = await statements(store.lease_rollouts(owner="o", at_most=1))
        judged = store.judge_attempt(
            rollout.rollout_id + 1, Judgement.CORRECT, verdict="ok", reward=1.0, solved=True
        )
        found["judge_attempt"] = await statements(judged)
    wrong = {
        name: (count, CALLS[name].statements)
        for name, count in found.items()
        if factor(count, CALLS[name].statements) > 1.5
    }
    assert wrong == {}


@pytest.mark.parametrize("model", MODELS.values(), ids=list(MODELS))
def test_more_nodes_are_never_slower(model):
    config = config_files.load("base", [])
    estimates = [estimate(model, config, Inputs(), nodes) for nodes in NODES]
    paces = [each.step_seconds for each in estimates]
    assert paces == sorted(paces, reverse=True)
    assert all(each.busy_share(each.saturated) == 1 for each in estimates)
    assert all(each.learner_ranks + each.sampling_gpus == 8 * each.nodes for each in estimates)


@given(st.sampled_from([(name, unit) for name, _, unit, _ in Inputs().each()]), st.data())
def test_every_input_may_be_replaced(named: tuple[str, str], data):
    name, unit = named
    value = data.draw(st.floats(0, 1) if unit == "1" else st.integers(1, 100))
    changed = Inputs().changed({name: value})
    assert {one: got for one, got, _, _ in changed.each()}[name] == value


@pytest.mark.parametrize(
    "given_input",
    ["nonsense=1", "learner_mfu=0.3x", "learner_mfu", "learner_mfu=2", "peak_flops=0"],
)
def test_inputs_that_make_no_sense_are_refused(given_input: str):
    result = CliRunner().invoke(app, ["bench", "scaling", "--input", given_input])
    assert isinstance(result.exception, ConfigError)
    assert result.exception.hint


def test_models_that_fit_nowhere_are_refused():
    config = config_files.load("base", [])
    small = Inputs().changed({"gpus_per_node": 1})
    with pytest.raises(ConfigError, match="cannot train and sample"):
        estimate(MODELS["7B"], config, small, 1)
    tiny = Inputs().changed({"gpu_memory_gib": 15, "training_bytes_per_parameter": 2})
    with pytest.raises(ConfigError, match="no room"):
        estimate(MODELS["14B"], config, tiny, 1)


def test_the_page_shows_what_the_command_prints_now():
    result = CliRunner().invoke(app, ["bench", "scaling"])
    assert result.exit_code == 0, result.output
    text = page("scaling.md")
    assert [line for line in result.output.splitlines() if line and line not in text] == []
    laptop_lines = CliRunner().invoke(app, ["bench", "scaling", "--tiny"]).output.splitlines()
    assert [line for line in laptop_lines if line not in text] == []
    assert [line for line in tables.sources(Inputs()).splitlines() if line not in text] == []
    assert all(resource.value in text for resource in Resource)
