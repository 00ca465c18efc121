"""`azr db`: look after a run's database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from azr.cli import store_bench
from azr.cli.crash_test import crash_test
from azr.cli.errors import EXIT_REFUSED
from azr.cli.history_options import DatabaseArgument, RunOption
from azr.cli.output import Form, console, emit, table
from azr.errors import RunDirectoryError, StoreError
from azr.run_directory import RunDirectory

if TYPE_CHECKING:
    from azr.store.locate import Located
    from azr.store.managed_server import ManagedServer

ABOUT = """Look after a run's database: check, export, browse.

\b
Examples:
  azr db check runs/NAME
  azr db export runs/NAME --out /tmp/history
  azr db browse runs/NAME
  azr db crash-test --url postgresql
"""
DEFAULT_PORT = 8001
RunDirArgument = Annotated[Path, typer.Argument(metavar="RUN_DIR", help="A run's directory.")]
DEFAULT_KEPT_STEPS = 20

app = typer.Typer(help=ABOUT, no_args_is_help=True, rich_markup_mode=None)
app.command("bench")(store_bench.bench)
app.command("crash-test")(crash_test)


@app.command("upgrade")
def upgrade(database: DatabaseArgument = None) -> None:
    """Bring an older database to this version's schema and views, with its data.

    `azr run` does the same when it opens one; a newer database is refused.

    \b
    Examples:
      azr db upgrade runs/NAME
    """
    from azr.store.locate import locate
    from azr.store.maintenance import upgrade

    before, after = upgrade(locate(database).database)
    if before == after:
        typer.echo(f"already at revision {after}")
    else:
        typer.echo(f"upgraded from revision {before} to {after}")


@app.command("up")
def up(run_dir: RunDirArgument) -> None:
    """Start a run's own PostgreSQL server, to read its history; `azr db down` stops it.

    \b
    Examples:
      azr db up runs/NAME
    """
    server = _own_server(run_dir)
    server.start(detached=True)
    typer.echo(f"{server.url}\nstop it with: azr db down {run_dir}")


@app.command("down")
def down(run_dir: RunDirArgument) -> None:
    """Stop a run's own PostgreSQL server.

    \b
    Examples:
      azr db down runs/NAME
    """
    server = _own_server(run_dir)
    if not server.is_running:
        typer.echo("it does not run")
        return
    server.stop()
    typer.echo("stopped")


def _own_server(run_dir: Path) -> ManagedServer:
    from azr.store.managed_server import ManagedServer

    folder = RunDirectory(run_dir).existing().postgres
    if not folder.is_dir():
        raise RunDirectoryError(
            f"the run in {run_dir} has no server of its own",
            hint="Only runs of several nodes that were given no --db have one.",
        )
    return ManagedServer(folder)


@app.command("check")
def check(
    database: DatabaseArgument = None,
    run: RunOption = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Check the file, the schema and every invariant of the queues; exit code 2 if one broke.

    It only reads, and may be asked while the run plays.

    \b
    Examples:
      azr db check
      azr db check runs/NAME --json
    """
    from azr.store.health import examine, queue_counts
    from azr.store.history import open_history
    from azr.store.locate import locate

    with open_history(locate(database).database, run=run) as history:
        findings = list(examine(history))
        well = all(finding.is_well for finding in findings)
        counts = queue_counts(history) if well else []
        name, run_id = history.database, history.run_id
    rows = [
        (finding.name, "ok" if finding.is_well else "broken", "; ".join(finding.problems))
        for finding in findings
    ]
    columns = ("what must hold", "status", "problems")
    if as_json:
        emit(columns, rows, Form.JSON)
    else:
        console().print(f"{name}, run {run_id}", markup=False)
        emit(columns, rows, Form.TABLE)
        if counts:
            console().print(table(("queue", "state", "rows"), counts))
    if not well:
        raise typer.Exit(EXIT_REFUSED)


@app.command("export")
def export(
    out: Annotated[Path, typer.Option(help="A new folder: a Parquet file for each table.")],
    database: DatabaseArgument = None,
    run: RunOption = None,
) -> None:
    """Write every table as Parquet, token arrays decoded; also while the run plays.

    \b
    Examples:
      azr db export --out /tmp/history
      azr db export runs/NAME --out history && duckdb -c "from 'history/task.parquet'"
    """
    from azr.store.export import count_rows, export_table, tables
    from azr.store.health import require_current_schema
    from azr.store.history import open_history
    from azr.store.locate import locate

    if out.exists():
        raise RunDirectoryError(f"{out} exists already", hint="Name a new folder in --out.")
    with open_history(locate(database).database, run=run) as history:
        require_current_schema(history)
        out.mkdir(parents=True)
        total = sum(count_rows(history, each) for each in tables())
        with Progress(console=Console(stderr=True), transient=True) as progress:
            rows = progress.add_task("rows", total=total)
            written = [
                export_table(
                    history, each, out, advance=lambda count: progress.advance(rows, count)
                )
                for each in tables()
            ]
    emit(
        ("table", "rows", "bytes", "file"),
        [(each.name, each.num_rows, each.file.stat().st_size, each.file) for each in written],
        Form.TABLE,
    )


@app.command("prune")
def prune(
    database: DatabaseArgument = None,
    run: RunOption = None,
    keep_steps: Annotated[
        int, typer.Option(min=0, help="Newest learner steps whose rows keep their tokens.")
    ] = DEFAULT_KEPT_STEPS,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
) -> None:
    """Drop token ids and log-probs of old rollouts; texts, verdicts and lineage stay.

    Safe while the run plays: rows that its last checkpoint could bring back are kept.
    The space is reused by the run; a file that no run holds is also made smaller.

    \b
    Examples:
      azr db prune runs/NAME --dry-run
      azr db prune runs/NAME --keep-steps 50
    """
    from azr.store.health import require_current_schema
    from azr.store.history import open_history
    from azr.store.locate import locate
    from azr.store.prune import last_prunable_step, prunable

    found = locate(database)
    with open_history(found.database, run=run) as history:
        require_current_schema(history)
        run_id = history.run_id
        if run_id is None:
            raise StoreError("the database holds no run yet", hint="Wait until its node is up.")
        step = last_prunable_step(history.connection, run_id, keep_steps=keep_steps)
        plan = prunable(history.connection, run_id, step)
    what = f"{plan.num_bytes:,} bytes of tokens of {plan.num_rollouts:,} rollouts"
    if dry_run or not plan.num_rollouts:
        typer.echo(f"{what} could go: those up to step {max(0, step)}")
        return
    _prune(found, run_id, step, plan.num_rollouts)


def _prune(found: Located, run_id: int, step: int, num_rollouts: int) -> None:
    """Prune with a bar, and shrink the file unless a run may hold it."""
    from azr.store.maintenance import prune

    with Progress(console=Console(stderr=True), transient=True) as progress:
        rollouts = progress.add_task("pruning", total=num_rollouts)
        dropped = prune(
            found.database, run_id, step, advance=lambda count: progress.advance(rollouts, count)
        )
    typer.echo(
        f"dropped {dropped.num_bytes:,} bytes of tokens of {dropped.num_rollouts:,} rollouts,"
        f" up to step {step}"
    )
    typer.echo(_shrunk(found))


def _shrunk(found: Located) -> str:
    """Make the file smaller, holding the directory meanwhile; or why not."""
    from azr.run_directory import locked
    from azr.store.maintenance import vacuum

    if not isinstance(found.database, Path):
        return "the server reuses the space"
    if found.directory is None:
        return "the space is reused; name the run's directory to shrink the file too"
    try:
        with locked(found.directory):
            return f"the file is {vacuum(found.database):,} bytes smaller"
    except RunDirectoryError:
        return "the run reuses the space; its file can shrink when the run is over"


@app.command("browse")
def browse(
    database: DatabaseArgument = None,
    run: RunOption = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Of this machine; 0 takes a free one.")
    ] = DEFAULT_PORT,
) -> None:
    """Open the database in Datasette, read-only and for this machine only, until Ctrl-C.

    Its front page has the questions of docs/history.md as ready queries.

    \b
    Examples:
      azr db browse
      azr db browse runs/NAME --port 0
    """
    from azr.store.browse import listening, serve, site
    from azr.store.locate import locate

    found = locate(database)
    if not isinstance(found.database, Path):
        raise StoreError(
            "Datasette reads SQLite files, and this run is on a database server",
            hint="Use `azr sql`, or `azr db export` and any tool that reads Parquet.",
        )
    pages = site(found.database, run=run)
    with listening(port) as (server, url):
        typer.echo(f"{url}  (Ctrl-C ends it)")
        serve(pages, server)
