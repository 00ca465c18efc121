"""What the store's calls cost: statements, counted, times what one takes.

    seconds(call) = call + statements x (statement + round trip) + rows x row

The counts are those of `azr.store` (a test counts again). Calls that decide by
counting rows are *ordered*: a run has one of them at a time, whatever the nodes.
"""

from __future__ import annotations

from dataclasses import dataclass

from azr.scaling.inputs import Database
from azr.scaling.work import Work


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the store."""

    statements: int
    is_ordered: bool = False


CALLS = {
    "admit_proposal": Call(24, is_ordered=True),
    "lease_attempt": Call(4),
    "put": Call(4),
    "lease_rollout": Call(6),
    "accept_proposal": Call(23, is_ordered=True),
    "judge_attempt": Call(4, is_ordered=True),
    "settle_proposal": Call(2, is_ordered=True),
    "claim": Call(11, is_ordered=True),
    "commit": Call(8, is_ordered=True),
}
OF_A_PROPOSAL = ("admit_proposal", "put", "lease_rollout", "accept_proposal", "settle_proposal")
OF_AN_ATTEMPT = ("lease_attempt", "put", "lease_rollout", "judge_attempt")
OF_A_STEP = ("claim", "commit")
"""These two touch every row of the batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What one learner step asks of the database."""

    transactions: float
    ordered_seconds: float
    """One after the other, over all nodes."""
    total_seconds: float
    bytes_written: float

    def step_seconds(self, *, nodes: int, server_cores: float) -> float:
        """The shortest step that the database allows."""
        return max(self.ordered_seconds, self.total_seconds / min(nodes, server_cores))


def call_seconds(name: str, database: Database, *, rows: float = 0, remote: bool = True) -> float:
    """One call from begin to commit; `rows` for claims and commits."""
    statement = database.statement_seconds + (database.round_trip_seconds if remote else 0.0)
    return database.call_seconds + CALLS[name].statements * statement + rows * database.row_seconds


def load_of(work: Work, database: Database, *, remote: bool = True) -> Load:
    """A step's calls; jobs of one node that commit together cost less than this."""
    counts = dict.fromkeys(OF_A_STEP, 1.0)
    for names, count in ((OF_A_PROPOSAL, work.proposals), (OF_AN_ATTEMPT, work.attempts)):
        for name in names:
            counts[name] = counts.get(name, 0.0) + count
    seconds = {
        name: count
        * call_seconds(
            name, database, rows=work.trained_rows if name in OF_A_STEP else 0, remote=remote
        )
        for name, count in counts.items()
    }
    tokens = (
        work.sampled_tokens * database.response_token_bytes
        + work.prompt_tokens * database.prompt_token_bytes
    )
    return Load(
        transactions=sum(counts.values()),
        ordered_seconds=sum(each for name, each in seconds.items() if CALLS[name].is_ordered),
        total_seconds=sum(seconds.values()),
        bytes_written=work.rollouts * database.row_bytes + tokens,
    )
