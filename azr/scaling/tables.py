"""The estimates as text: a table for each model, and a sentence on what saturates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from azr.scaling.cluster import Estimate, Resource
from azr.scaling.database import call_seconds
from azr.scaling.inputs import Database, Inputs, Model
from azr.scaling.laptop import LaptopEstimate

SECONDS_PER_HOUR = 3600
SECONDS_PER_DAY = 86_400
GIGA = 1e9
HEADINGS = (
    "nodes",
    "learner GPUs",
    "sampling GPUs",
    "s/step",
    "saturated",
    "sampled tok/s",
    "trained tok/s",
    "executions/s",
    "DB tx/s",
    "DB GB/day",
    "weights GB/s",
)
BENCHED_CALLS = {
    "put": 0,
    "lease_rollout": 0,
    "admit_proposal": 0,
    "claim": 6 * 64,
    "commit": 6 * 64,
}
"""Calls that `azr db bench` times, with the rows that they touch."""
SECONDS_HEADINGS = ("nodes", *(f"{resource}" for resource in Resource))


def throughput(model: Model, estimates: Sequence[Estimate]) -> str:
    """What a run does at the pace of its slowest resource; weights are into each node."""
    rows = [
        (
            f"{each.nodes}",
            f"{each.learner_ranks}",
            f"{each.sampling_gpus}",
            f"{each.step_seconds:.1f}",
            each.saturated.value,
            f"{each.per_second(each.sampled_tokens):,.0f}",
            f"{each.per_second(each.trained_tokens):,.0f}",
            f"{each.per_second(each.executions):.1f}",
            f"{each.per_second(each.transactions):.0f}",
            f"{each.per_second(each.database_bytes) * SECONDS_PER_DAY / GIGA:.1f}",
            f"{each.per_second(each.broadcast_bytes) / GIGA:.2f}",
        )
        for each in estimates
    ]
    return f"### {model.name}\n\n{_table(HEADINGS, rows)}"


def seconds(estimates: Sequence[Estimate]) -> str:
    """The shortest step, in seconds, that each resource alone allows."""
    rows = [
        (f"{each.nodes}", *(f"{each.resource_seconds[one]:.1f}" for one in Resource))
        for each in estimates
    ]
    return _table(SECONDS_HEADINGS, rows)


def verdict(model: Model, estimates: Sequence[Estimate]) -> str:
    """Which resource saturates first, from how many nodes on, and which would be next."""
    last = estimates[-1]
    since = last.nodes
    for each in reversed(estimates):
        if each.saturated is not last.saturated:
            break
        since = each.nodes
    others = sorted(Resource, key=lambda one: -last.resource_seconds[one])
    following = [
        f"{one.value} ({last.step_seconds / last.resource_seconds[one]:.1f} times)"
        for one in others
        if one is not last.saturated
    ]
    return (
        f"{model.name}: {last.saturated.value} saturates first, from {since}"
        f" node{'s' if since > 1 else ''} on; on {last.nodes} nodes the others could be faster:"
        f" {', '.join(following)}."
    )


def laptops(estimates: Mapping[str, LaptopEstimate]) -> str:
    """A step of the tiny preset on two cores, to hold against the page that measured it."""
    head = ("page", "tokens a step", "CPU s a step", "tokens/CPU-second", "s/step", "tokens/s")
    rows = [
        (
            name,
            f"{each.sampled_tokens:,.0f}",
            f"{each.cpu_seconds:.1f}",
            f"{each.tokens_per_cpu_second:.0f}",
            f"{each.step_seconds:.1f}",
            f"{each.sampled_tokens / each.step_seconds:,.0f}",
        )
        for name, each in estimates.items()
    ]
    return _table(head, rows)


def calls(databases: Mapping[str, Database]) -> str:
    """What docs/results/store-bench.md should say: latencies, on the server's machine."""
    head = ("store-bench.md", *databases)
    rows = [
        (
            f"{name}, ms",
            *(
                f"{1000 * call_seconds(name, each, rows=rows, remote=False):.2f}"
                for each in databases.values()
            ),
        )
        for name, rows in BENCHED_CALLS.items()
    ]
    return _table(head, rows)


def sources(inputs: Inputs) -> str:
    """Every input with its value, unit and source."""
    rows = [
        (f"`{name}`", _number(value), unit, source) for name, value, unit, source in inputs.each()
    ]
    return _table(("input", "value", "unit", "source"), rows)


def _number(value: float) -> str:
    return f"{value:,.0f}" if 1000 <= value < 1e6 else f"{value:.3g}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown whose columns line up in a terminal, too."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [_row(head, widths), f"|{'|'.join('-' * (width + 2) for width in widths)}|"]
    return "\n".join([*lines, *(_row(row, widths) for row in rows)])


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return f"| {' | '.join(padded)} |"
