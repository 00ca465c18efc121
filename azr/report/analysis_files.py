"""An analysis as data, beside its plots: one JSON file, and a CSV file for each kind of point."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

from azr.report.analysis import Analysis, BehaviourPoint, ProgramPoint
from azr.store.history.samples import LengthPoint
from azr.types import Cell

type Point = LengthPoint | ProgramPoint | BehaviourPoint

JSON_NAME = "analysis.json"
CELL = ("role", "task_type")
"""The columns of a cell."""


def write(analysis: Analysis, folder: Path) -> list[Path]:
    """Write the files into a folder, over older ones."""
    kinds: dict[str, tuple[type[Point], Sequence[Point]]] = {
        "lengths": (LengthPoint, analysis.lengths),
        "programs": (ProgramPoint, analysis.programs),
        "behaviours": (BehaviourPoint, analysis.behaviours),
    }
    about = {
        "versions_per_point": analysis.versions_per_point,
        "sampled_per_cell_and_point": analysis.per_cell,
        "sample_seed": analysis.seed,
        "behaviours_looked_for": [asdict(kind) for kind in analysis.kinds],
    }
    rows = {name: [_row(point) for point in points] for name, (_, points) in kinds.items()}
    whole = folder / JSON_NAME
    whole.write_text(json.dumps(about | rows, indent=1) + "\n", encoding="utf-8")
    tables = [
        _csv(folder / f"{name}.csv", _columns(kind), rows[name])
        for name, (kind, _) in kinds.items()
    ]
    return [whole, *tables]


def _columns(kind: type[Point]) -> list[str]:
    """A cell is two columns."""
    names = [field.name for field in fields(kind)]
    return [column for name in names for column in (CELL if name == "cell" else (name,))]


def _row(point: Point) -> dict[str, object]:
    row: dict[str, object] = {}
    for field in fields(point):
        value = getattr(point, field.name)
        if isinstance(value, Cell):
            row |= dict(zip(CELL, (str(value.role), str(value.task_type)), strict=True))
        else:
            row[field.name] = value
    return row


def _csv(path: Path, columns: Sequence[str], rows: Sequence[dict[str, object]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=columns)
        writer.writeheader()
        writer.writerows(rows)
    return path
