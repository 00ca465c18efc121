"""`azr diagnose`: what goes wrong in a run, and the numbers behind it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from azr.cli.history_options import DatabaseArgument, RunOption
from azr.cli.output import CsvFlag, Form, chosen_form, console, emit, note
from azr.task_types import types_shown
from azr.types import Role, TaskType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from azr.diagnosis.measures import StepMeasures
    from azr.diagnosis.watch import Finding


def diagnose(
    database: DatabaseArgument = None,
    run: RunOption = None,
    *,
    last: Annotated[
        int | None, typer.Option("--last", min=1, help="Print what is measured up to this step.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON: findings and measures.")
    ] = False,
    as_csv: CsvFlag = False,
) -> None:
    """Look for collapse, drift and reward hacking in a run, finished or playing.

    Prints each measure at the beginning of the run and now, and every finding with what
    it means and what to try. The exit code is 0 with findings too: they are information.

    \b
    Examples:
      azr diagnose                    the newest run in runs/
      azr diagnose runs/NAME --json   findings and measures for programs
      azr diagnose runs/NAME --csv    every measure of every step
    """
    form = chosen_form(as_json=as_json, as_csv=as_csv)
    steps = [step for step in _measured(database, run) if last is None or step.step <= last]
    if form is Form.CSV:
        rows = [
            (step.step, scope, name, value)
            for step in steps
            for (scope, name), value in step.values.items()
        ]
        emit(("step", "scope", "measure", "value"), rows, form)
    elif form is Form.JSON:
        _print_json(steps)
    else:
        _print_tables(steps)


def _measured(database: str | None, run: int | None) -> list[StepMeasures]:
    """The run's measures; progress on standard error while steps have to be measured."""
    import time

    from rich.console import Console
    from rich.progress import Progress

    from azr.diagnosis.series import read_series
    from azr.store.history import open_history
    from azr.store.locate import locate

    located = locate(database)
    measured = 0
    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("measuring steps", total=None, visible=False)

        def on_step(done: int, total: int) -> None:
            nonlocal measured
            measured = done
            progress.update(bar, completed=done, total=total, visible=True)

        started = time.process_time()
        with open_history(located, run=run) as history:
            steps = read_series(history, on_step)
    if measured:
        each = 1000 * (time.process_time() - started) / measured
        note(f"measured {measured} steps that no node had, {each:.0f} ms of processor time each")
    return steps


def _print_json(steps: Sequence[StepMeasures]) -> None:
    import json

    from azr.diagnosis.watch import findings

    found = {
        "steps": len(steps),
        "findings": [_facts(finding) for finding in findings(steps)],
        "measures": _comparison(steps),
    }
    typer.echo(json.dumps(found, indent=2, ensure_ascii=False))


def _facts(finding: Finding) -> dict[str, Any]:
    rule = finding.rule
    return dataclasses.asdict(finding) | {
        "severity": str(rule.severity),
        "measure": rule.measure,
        "meaning": rule.meaning,
        "advice": rule.advice,
    }


def _comparison(steps: Sequence[StepMeasures]) -> list[dict[str, Any]]:
    """Each measure of each scope, pooled over the first steps and over the last ones."""
    from azr.diagnosis.measures import MEASURES, pooled, scopes_of
    from azr.diagnosis.rules import BASELINE_STEPS, WINDOW_STEPS

    rows = []
    for name, measure in MEASURES.items():
        for scope in scopes_of(name, steps):
            began = pooled(steps[:BASELINE_STEPS], scope, name)
            now = pooled(steps[-WINDOW_STEPS:], scope, name)
            rows.append(
                {
                    "scope": scope,
                    "measure": name,
                    "unit": measure.unit,
                    "beginning": None if began is None else began.value,
                    "now": None if now is None else now.value,
                    "now_over": 0 if now is None else now.count,
                    "meaning": measure.meaning,
                }
            )
    return rows


def _print_tables(steps: Sequence[StepMeasures]) -> None:
    from azr.diagnosis.rules import BASELINE_STEPS, WINDOW_STEPS
    from azr.diagnosis.watch import findings

    if not steps:
        typer.echo("no learner step yet: there is nothing to look at")
        return
    rows = _comparison(steps)
    played = {kind for kind in TaskType if any(row["scope"].endswith(f"/{kind}") for row in rows)}
    types = types_shown(played)
    for role in Role:
        names = dict.fromkeys(row["measure"] for row in rows if row["scope"].startswith(role))
        by_place = {(row["scope"], row["measure"]): row for row in rows}
        lines = [
            (name, *(_change(by_place.get((f"{role}/{each}", name))) for each in types),
             next(row["meaning"] for row in rows if row["measure"] == name))
            for name in names
        ]  # fmt: skip
        emit((f"{role}", *map(str, types), "meaning"), lines, Form.TABLE)
    for row in rows:
        if row["scope"] == "run":
            typer.echo(f"{row['measure']} {_change(row)} {row['unit']}: {row['meaning']}")
    found = findings(steps)
    typer.echo(f"\n{len(steps)} learner steps, {len(found)} findings")
    for finding in found:
        console().print(f"\n{finding}\n  try: {finding.rule.advice}", markup=False, soft_wrap=True)
    note(
        f"beginning \u2192 now: means over the first {BASELINE_STEPS} steps and the last"
        f" {WINDOW_STEPS}; docs/failure-modes.md explains each finding"
    )


def _change(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    began, now = ("-" if row[end] is None else f"{row[end]:.3g}" for end in ("beginning", "now"))
    return f"{began} \u2192 {now}"
