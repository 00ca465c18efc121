"""Every table of a run as a Parquet file, streamed: for pandas, Polars, DuckDB and R.

Token arrays are decoded to lists, enumerations are words, JSON stays text. A file has
its name only when it is whole.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from azr.store.codec import PRUNED, decode_ids, decode_logprobs
from azr.store.history import History
from azr.store.models import (
    AdmissionRow,
    Base,
    BatchMemberRow,
    BatchRow,
    ProposalReferenceRow,
    RolloutPayloadRow,
    RolloutRow,
)

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_PER_BATCH = 2000
TOKEN_ARRAYS = ("prompt_token_ids", "token_ids", "behaviour_logprobs")
_OWNERS: Mapping[sa.FromClause, tuple[sa.FromClause, sa.ColumnElement[bool]]] = {
    owned.__table__: (owner.__table__, condition)
    for owned, owner, condition in (
        (
            ProposalReferenceRow,
            AdmissionRow,
            ProposalReferenceRow.admission_id == AdmissionRow.admission_id,
        ),
        (RolloutPayloadRow, RolloutRow, RolloutPayloadRow.rollout_id == RolloutRow.rollout_id),
        (BatchMemberRow, BatchRow, BatchMemberRow.batch_id == BatchRow.batch_id),
    )
}
"""Tables without a run of their own, and the table that says whose their rows are."""


@dataclass(frozen=True, slots=True)
class ExportedTable:
    name: str
    num_rows: int
    file: Path


def tables() -> list[sa.Table]:
    """Everything that is exported: the tables that belong to a run."""
    return [
        table
        for table in Base.metadata.sorted_tables
        if "run_id" in table.columns or table in _OWNERS
    ]


def export_table(
    history: History, table: sa.Table, folder: Path, *, advance: Callable[[int], object]
) -> ExportedTable:
    """Write one table of the run to `folder/TABLE.parquet`; `advance` hears of rows."""
    from pyarrow import parquet  # noqa: PLC0415 -- heavy, and needed here only

    file = folder / f"{table.name}.parquet"
    unfinished = file.with_suffix(".unfinished")
    num_rows = 0
    with parquet.ParquetWriter(unfinished, _schema(table), compression="zstd") as writer:
        for batch in _batches(history, table):
            writer.write_batch(batch)
            num_rows += batch.num_rows
            advance(batch.num_rows)
    unfinished.rename(file)
    return ExportedTable(table.name, num_rows, file)


def count_rows(history: History, table: sa.Table) -> int:
    """How many rows of the run the table has."""
    query = sa.select(sa.func.count()).select_from(_of_the_run(history, table).subquery())
    return history.connection.execute(query).scalar_one()


def _of_the_run(history: History, table: sa.Table) -> sa.Select[*tuple[Any, ...]]:
    query = sa.select(table)
    if table in _OWNERS:
        owner, condition = _OWNERS[table]
        return query.join(owner, condition).where(owner.c.run_id == history.run_id)
    return query.where(table.c.run_id == history.run_id)


def _batches(history: History, table: sa.Table) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa  # noqa: PLC0415

    schema = _schema(table)
    query = _of_the_run(history, table).order_by(*table.primary_key.columns)
    rows = history.connection.execute(query, execution_options={"yield_per": ROWS_PER_BATCH})
    for part in rows.mappings().partitions():
        yield pa.RecordBatch.from_pylist([_plain(row) for row in part], schema=schema)


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as Arrow wants it."""
    plain = {name: _value(value) for name, value in row.items()}
    if "behaviour_logprobs" in plain:
        kept = row["codec"] != PRUNED
        plain["prompt_token_ids"] = decode_ids(row["prompt_token_ids"]) if kept else None
        plain["token_ids"] = decode_ids(row["token_ids"]) if kept else None
        plain["behaviour_logprobs"] = (
            decode_logprobs(row["behaviour_logprobs"], row["codec"]) if kept else None
        )
    return plain


def _value(value: object) -> object:
    if isinstance(value, enum.Enum):
        return value.value
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value


def _schema(table: sa.Table) -> pa.Schema:
    import pyarrow as pa  # noqa: PLC0415

    arrays: dict[str, pa.DataType] = {
        "prompt_token_ids": pa.list_(pa.int32()),
        "token_ids": pa.list_(pa.int32()),
        "behaviour_logprobs": pa.list_(pa.float32()),
    }
    return pa.schema(
        [
            pa.field(column.name, arrays.get(column.name) or _arrow_type(column.type))
            for column in table.columns
        ]
    )


def _arrow_type(kind: sa.types.TypeEngine[Any]) -> pa.DataType:
    import pyarrow as pa  # noqa: PLC0415

    if isinstance(kind, sa.Boolean):
        return pa.bool_()
    if isinstance(kind, sa.Integer):
        return pa.int64()
    return pa.float64() if isinstance(kind, sa.Float) else pa.string()
