"""`azr status`: where a run stands and how its nodes fare, read once from its database."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group
from rich.text import Text

from azr.cli.live import learning_view
from azr.cli.output import console
from azr.cli.roster import ALARM_STYLE, roster_tables
from azr.run_directory import RunDirectory

if TYPE_CHECKING:
    from azr.progress import Progress
    from azr.roster import NodeStanding, ReplicaStanding


def status(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="A run's directory.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: one object.")] = False,
) -> None:
    """Show where a run stands and how each node and replica fares, from any shell.

    Reads the database only, so it also works when the run has stopped or was killed. A node
    that is silent or was given up, and a replica that is stale, suspect or dead, stands out.

    \b
    Examples:
      azr status runs/tiny-cpu-20260102-030405
      azr status runs/tiny-cpu-20260102-030405 --json
      watch azr status runs/tiny-cpu-20260102-030405
    """
    from azr.report.moment import read_progress
    from azr.store.locate import of_directory

    progress = read_progress(of_directory(RunDirectory(run_dir)))
    if as_json:
        typer.echo(json.dumps(as_plain(progress), indent=1))
        return
    alarms = [Text(alarm, style=ALARM_STYLE) for alarm in progress.roster.alarms]
    console().print(Group(learning_view(progress), *roster_tables(progress.roster), *alarms))


def as_plain(progress: Progress) -> dict[str, Any]:
    """What JSON has for a moment of a run. Shares are 0 to 1, times seconds."""
    roster = progress.roster
    return {
        "step": progress.step,
        "total_steps": progress.total_steps,
        "seconds_per_step": progress.seconds_per_step,
        "tokens_per_second": progress.generated_tokens_per_second,
        "engine_busy_share": progress.engine_busy_share,
        "mean_staleness": progress.mean_staleness,
        "max_staleness": progress.max_staleness,
        "reward": {str(cell): value for cell, value in progress.reward.items()},
        "validity": {str(key): value for key, value in progress.validity.items()},
        "solve_rate": {str(key): value for key, value in progress.solve_rate.items()},
        "buffer_sizes": {str(key): value for key, value in progress.buffer_sizes.items()},
        "dropped": {str(key): value for key, value in progress.dropped.items()},
        "findings": list(progress.findings),
        "alarms": list(roster.alarms),
        "nodes": [_plain_node(node) for node in roster.nodes],
        "replicas": [_plain_replica(replica) for replica in roster.replicas],
    }


def _plain_node(node: NodeStanding) -> dict[str, Any]:
    record = node.record
    return {
        "name": record.name,
        "incarnation": record.node_id,
        "earlier_incarnations": node.num_earlier,
        "machine": record.machine,
        "address": record.address,
        "pid": record.pid,
        "duties": list(record.duties),
        "state": str(record.state),
        "version": record.version,
        "lineage": record.lineage,
        "started_at": record.started_at,
        "heartbeat_at": record.seen_at,
        "heartbeat_age_seconds": node.silence_seconds,
        "ended_at": record.ended_at,
        "reason": record.reason,
        "leases": node.leases.held,
        "overdue_leases": node.leases.overdue,
        "alarm": node.alarm,
    }


def _plain_replica(replica: ReplicaStanding) -> dict[str, Any]:
    return {
        "name": replica.name,
        "incarnation": replica.node_id,
        "state": str(replica.state),
        "proved_version": replica.version,
        "lineage": replica.lineage,
        "versions_behind": replica.lag,
        "fingerprint": replica.fingerprint,
        "canary_nats": replica.canary_nats,
        "cause": replica.cause,
        "tokens_per_second": replica.tokens_per_second,
        "busy_share": replica.busy_share,
        "alarm": replica.alarm,
    }
