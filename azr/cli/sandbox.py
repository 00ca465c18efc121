"""`azr sandbox`: run programs in the jail and check recorded results against it."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Annotated

import anyio
import typer
from rich.console import Console
from rich.progress import track

from azr import config_files
from azr.cli import sandbox_bench, sandbox_soak
from azr.config import SandboxSection
from azr.errors import InputError
from azr.sandbox import Request, SandboxPool
from azr.sandbox.in_order import in_order
from azr.sandbox.replay import RowReport, described, replay, value_text
from azr.sandbox.rows import (
    NamedProgram,
    SeedRow,
    named_program,
    read_program,
    read_rows,
    seed_row,
)
from azr.types import Outcome

ROWS_PER_WORKER = 16
"""Rows in flight for each jail: enough that a slow one leaves no jail idle, few enough to hold."""
EXIT_DISAGREES = 1

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.command()(sandbox_bench.bench)
app.command()(sandbox_soak.soak)

Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="SECTION.KEY=VALUE", help="Override a limit (sandbox.*); repeatable."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
NoPolicy = Annotated[
    bool,
    typer.Option("--no-policy", help="Leave safety to the jail: any import, any construct."),
]


@app.callback()
def sandbox() -> None:
    """Run programs in the jail, and check what others recorded of theirs.

    \b
    Examples:
      azr sandbox run program.py --call "1, b=2"
      azr sandbox check seeds.jsonl
      azr sandbox bench
    """


@app.command("run")
def run(
    program: Annotated[
        Path | None, typer.Argument(metavar="[PROGRAM]", help="A Python file that defines f.")
    ] = None,
    call: Annotated[
        str | None, typer.Option(metavar="ARGUMENTS", help="Literals, as in f(ARGUMENTS).")
    ] = None,
    jsonl: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help='Programs as rows of {"name", "source", "call"}.'),
    ] = None,
    *,
    no_policy: NoPolicy = False,
    as_json: AsJson = False,
    settings: Settings = None,
) -> None:
    """Run one program once, or every program of a file under the determinism check.

    PROGRAM is called once, as f(ARGUMENTS). Rows of a file run twice in one process and once
    in a second jail with another hash seed; one verdict a line, in order. A verdict is a
    result: the exit code is 0 whatever it is, and 2 if the input cannot be used or no jail
    can start.

    \b
    Examples:
      azr sandbox run program.py --call "1, b=2"
      azr sandbox run program.py --call "[3, 1, 2]" --no-policy --json
      azr sandbox run --jsonl programs.jsonl --json
      azr sandbox run program.py --set sandbox.wall_seconds=1
    """
    limits = _limits(settings)
    if (program is None) == (jsonl is None):
        raise InputError("give either PROGRAM or --jsonl FILE", hint="azr sandbox run --help")
    if program is not None:
        source = read_program(program)
        request = Request(program=source, calls=(call or "",), policy=not no_policy)
        outcome = anyio.run(_run_once, limits, request)
        typer.echo(json.dumps(_fields(outcome)) if as_json else _line(outcome))
    elif jsonl is not None:
        if call is not None:
            raise InputError("--call belongs to PROGRAM", hint='Rows have their own "call".')

        async def judge(pool: SandboxPool, row: NamedProgram) -> tuple[str, Outcome]:
            request = Request(program=row.source, calls=(row.call,), policy=not no_policy)
            (outcome,) = await pool.examine_twice(request)
            return row.name, outcome

        def tell(judged: tuple[str, Outcome]) -> None:
            name, outcome = judged
            line = json.dumps({"name": name, **_fields(outcome)})
            typer.echo(line if as_json else f"{name}: {_line(outcome)}")

        _for_each(limits, jsonl, named_program, judge, tell)


@app.command("check")
def check(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="JSON lines in the seed-file format.")
    ],
    *,
    no_policy: NoPolicy = False,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help=f"Exit with {EXIT_DISAGREES} if a row disagrees.")
    ] = False,
    as_json: AsJson = False,
    settings: Settings = None,
) -> None:
    """Replay recorded rows and report where the jail agrees with what was recorded.

    A row is {"snippet", "input", "output"}, or {"snippet", "inputs", "outputs"} for one
    program with many inputs, which agrees if every input does; its verdict is the first that
    is not ok. Each input runs twice in one process and once in a second jail with another
    hash seed. With --json: {"rows", "agree", "verdicts", "per_row": [{"row", "verdict",
    "agrees", "detail", "reason"}]}; rows count from 0, and agrees is null where one of the
    two values is missing. The exit code is 0 once every row is replayed (see --exit-code),
    and 2 if the file cannot be used or no jail can start.

    \b
    Examples:
      azr sandbox check seeds.jsonl
      azr sandbox check seeds.jsonl --json > report.json
      azr sandbox check seeds.jsonl --no-policy --exit-code
    """
    limits = _limits(settings)
    reports: list[dict[str, object]] = []

    async def judge(pool: SandboxPool, row: SeedRow) -> RowReport:
        return await replay(pool, row, policy=not no_policy)

    def tell(report: RowReport) -> None:
        outcome = report.outcome
        reports.append(
            {
                "row": len(reports),
                "verdict": str(outcome.verdict),
                "agrees": report.agrees,
                "detail": outcome.detail,
                "reason": report.reason,
            }
        )

    _for_each(limits, file, seed_row, judge, tell)
    summary: dict[str, object] = {
        "rows": len(reports),
        "agree": sum(report["agrees"] is True for report in reports),
        "verdicts": dict(Counter(str(report["verdict"]) for report in reports).most_common()),
    }
    if as_json:
        typer.echo(json.dumps({**summary, "per_row": reports}))
    else:
        typer.echo(_shown(summary, reports))
    if exit_code and any(report["agrees"] is False for report in reports):
        raise typer.Exit(EXIT_DISAGREES)


def _limits(settings: list[str] | None) -> SandboxSection:
    return config_files.load(config_files.DEFAULT_PRESET, settings or ()).sandbox


async def _run_once(limits: SandboxSection, request: Request) -> Outcome:
    async with SandboxPool.open(limits) as pool:
        (outcome,) = await pool.examine(request)
        return outcome


def _for_each[Row, Report](
    limits: SandboxSection,
    file: Path,
    parse: Callable[[dict[str, object]], Row],
    judge: Callable[[SandboxPool, Row], Awaitable[Report]],
    tell: Callable[[Report], None],
) -> None:
    """Judge every row of a file, several at once, and tell in order."""
    rows, count = _rows(file, parse)

    async def judge_all() -> None:
        async with SandboxPool.open(limits) as pool:
            at_once = ROWS_PER_WORKER * limits.workers
            shown = track(
                rows,
                description=file.name,
                total=count,
                console=Console(stderr=True),
                disable=not sys.stderr.isatty(),
                transient=True,
            )
            await in_order(shown, partial(judge, pool), tell, at_once=at_once)

    anyio.run(judge_all)


def _rows[Row](file: Path, parse: Callable[[dict[str, object]], Row]) -> tuple[Iterable[Row], int]:
    """The rows and their number; all are parsed first, so that a bad last one costs no time."""
    if not file.is_file():  # a pipe is read once only
        held = list(read_rows(file, parse))
        return held, len(held)
    return read_rows(file, parse), sum(1 for _ in read_rows(file, parse))


def _fields(outcome: Outcome) -> dict[str, object]:
    return {
        "verdict": str(outcome.verdict),
        "detail": outcome.detail,
        "value": value_text(outcome) if outcome.value is not None else None,
    }


def _line(outcome: Outcome) -> str:
    """Verdict and detail, and the value if there is one."""
    return f"{described(outcome)} {value_text(outcome)}".rstrip()


def _shown(summary: dict[str, object], reports: list[dict[str, object]]) -> str:
    """The report for a person: a line per row that does not agree, then the totals."""
    lines = [
        f"row {report['row']}: {_disagreement(report)}{report['reason']}"
        for report in reports
        if report["agrees"] is not True
    ]
    totals = [f"{key}: {value}" for key, value in summary.items()]
    return "\n".join([*lines, *totals])


def _disagreement(report: dict[str, object]) -> str:
    return "DISAGREES, " if report["agrees"] is False else ""
