"""`azr bench pipeline`: what asynchrony buys, measured on this machine.

The same config is played twice, one run after the other: as configured, and with
`learner.max_staleness = 0`. Both sides' figures come from the runs' own databases.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from actors import driver
from azr import config_files
from azr.config import RunConfig
from azr.placement import Where
from azr.progress import CPU_SECONDS_METRIC, SAMPLED_TOKENS_METRIC, SilentView
from azr.report.history import History, read_history
from azr.report.summary import busy_share, seconds_per_step
from azr.run_directory import RunDirectory, locked
from azr.store.locate import of_directory


@dataclass(frozen=True, slots=True)
class PipelineFigures:
    """One run between its first and its last learner step."""

    busy_share: float
    """Time with at least one request in flight in vLLM, 0 to 1."""
    seconds_per_step: float
    tokens_per_second: float
    """Response tokens sampled."""
    tokens_per_cpu_second: float
    """The same by CPU time of the node, learner and jails: steady on a busy machine."""
    mean_staleness: float


def pipeline(config: RunConfig, *, out: Path) -> str:
    """Play both runs under `out` and return a table with their ratio."""
    synchronous = config.model_copy(
        update={"learner": config.learner.model_copy(update={"max_staleness": 0})}
    )
    sides = {"asynchronous": config, "synchronous": synchronous}
    measured = {name: _measure(side, out / name) for name, side in sides.items()}
    return _table(measured["asynchronous"], measured["synchronous"], config)


def _measure(config: RunConfig, run_dir: Path) -> PipelineFigures:
    directory = RunDirectory(run_dir)
    with locked(directory):
        config_files.write(config, directory.config)
        driver.run(config, run_dir=run_dir, where=Where(), view=SilentView())
    return figures(read_history(of_directory(directory)))


def figures(history: History) -> PipelineFigures:
    """The pipeline's figures of a run with at least two steps."""
    steps = history.steps
    if len(steps) < 2:
        raise ValueError("a pipeline is measured between two learner steps or more")
    seconds = steps[-1].committed_at - steps[0].committed_at
    first, last = steps[0].metrics, steps[-1].metrics
    sampled = last[SAMPLED_TOKENS_METRIC] - first[SAMPLED_TOKENS_METRIC]
    trained = sum(history.staleness.values())
    staleness = sum(lag * count for lag, count in history.staleness.items())
    return PipelineFigures(
        busy_share=busy_share(steps) or 0.0,
        seconds_per_step=seconds_per_step(steps) or 0.0,
        tokens_per_second=sampled / seconds,
        tokens_per_cpu_second=sampled / (last[CPU_SECONDS_METRIC] - first[CPU_SECONDS_METRIC]),
        mean_staleness=staleness / trained,
    )


def _table(ours: PipelineFigures, theirs: PipelineFigures, config: RunConfig) -> str:
    bound = config.learner.max_staleness
    rows = [
        ("engine busy", f"{ours.busy_share:.1%}", f"{theirs.busy_share:.1%}"),
        ("seconds per step", f"{ours.seconds_per_step:.2f}", f"{theirs.seconds_per_step:.2f}"),
        ("sampled tokens/s", f"{ours.tokens_per_second:.0f}", f"{theirs.tokens_per_second:.0f}"),
        (
            "tokens/CPU-second",
            f"{ours.tokens_per_cpu_second:.0f}",
            f"{theirs.tokens_per_cpu_second:.0f}",
        ),
        ("mean staleness", f"{ours.mean_staleness:.2f}", f"{theirs.mean_staleness:.2f}"),
    ]
    ratios = [
        ours.busy_share / theirs.busy_share,
        theirs.seconds_per_step / ours.seconds_per_step,
        ours.tokens_per_second / theirs.tokens_per_second,
        ours.tokens_per_cpu_second / theirs.tokens_per_cpu_second,
    ]
    head = f"{'':18}{f'max_staleness {bound}':>18}{'max_staleness 0':>18}{'speed-up':>10}"
    lines = [
        f"{name:18}{left:>18}{right:>18}" + (f"{ratios[i]:>9.2f}x" if i < len(ratios) else "")
        for i, (name, left, right) in enumerate(rows)
    ]
    return "\n".join([head, *lines])
