"""What came of a series: a row for each fault, a table for each kind."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from azr.chaos.faults import Kind

GO_ON_SECONDS = 60.0
"""What is promised: a learner step that was begun after a fault is committed by then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultRecord:
    """One fault, and what the run did."""

    number: int
    kind: Kind
    victim: str
    at: float
    """Seconds since the epoch."""
    go_on_seconds: float | None
    """From the fault to the first step that was claimed after it; None: none came."""
    whole_seconds: float | None
    """Until every node, and the database, was back in its place; None: not all were."""
    broken: tuple[str, ...] = ()
    """Laws that did not hold when it was whole, with what broke them."""
    on_the_way: Mapping[str, float] = field(default_factory=dict)
    """Seconds to what came before that step, where the learner had to begin again."""

    @property
    def is_survived(self) -> bool:
        return self.go_on_seconds is not None and self.whole_seconds is not None and not self.broken

    @property
    def is_in_time(self) -> bool:
        return self.go_on_seconds is not None and self.go_on_seconds <= GO_ON_SECONDS


@dataclass(slots=True, kw_only=True)
class Record:
    """A series, as far as it came."""

    command: str
    """What to type for another."""
    machine: str
    nodes: int
    seed: int
    kinds: tuple[Kind, ...]
    left_out: dict[Kind, str] = field(default_factory=dict)
    """Kinds that cannot be done here, and why."""
    faults: list[FaultRecord] = field(default_factory=list)
    num_steps: int = 0
    """Learner steps committed in all."""
    ended: str = ""
    """How the run ended: empty if it was stopped as it should be, else what happened."""
    seconds: float = 0.0

    @property
    def is_sound(self) -> bool:
        """Every fault was survived and no law was ever broken."""
        return not self.ended and all(fault.is_survived for fault in self.faults)

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"is_sound": self.is_sound}

    def table(self) -> str:
        """A row for each kind of fault, and one for all."""
        head = (
            "fault", "count", "goes on s", "worst", f"in {GO_ON_SECONDS:g} s", "whole s", "worst",
            "laws broken",
        )  # fmt: skip
        groups = [(str(kind), [f for f in self.faults if f.kind is kind]) for kind in self.kinds]
        rows = [head, *(_row(name, faults) for name, faults in groups if faults)]
        rows.append(_row("all", self.faults))
        return _aligned(rows)

    def page(self) -> str:
        """Markdown, for docs/results."""
        when = time.strftime("%Y-%m-%d", time.gmtime())
        lines = [
            f"## {len(self.faults)} faults, seed {self.seed}, {self.nodes} nodes",
            "",
            f"    {self.command}",
            "",
            f"{when}, {self.machine}; {self.seconds / 60:.0f} minutes,"
            f" {self.num_steps:,} learner steps.",
            *(f"Left out: {kind}, because {why}." for kind, why in self.left_out.items()),
            "",
            "```",
            self.table(),
            "```",
            "",
            self.verdict(),
            "",
            "```",
            _aligned([_FAULT_HEAD, *map(_fault_row, self.faults)]),
            "```",
        ]
        broken = [(fault.number, law) for fault in self.faults for law in fault.broken]
        lines += ["", *(f"- fault {number}: {law}" for number, law in broken)] if broken else []
        return "\n".join(lines) + "\n"

    def verdict(self) -> str:
        """One sentence or two."""
        count = len(self.faults)
        broken = sum(bool(fault.broken) for fault in self.faults)
        survived = sum(fault.is_survived for fault in self.faults)
        in_time = sum(fault.is_in_time for fault in self.faults)
        end = f" The run ended early: {self.ended}" if self.ended else ""
        return (
            f"{survived} of {count} faults were survived, {in_time} of them within"
            f" {GO_ON_SECONDS:g} s; after {broken} a law was broken.{end}"
        )


_FAULT_HEAD = ("number", "fault", "victim", "goes on s", "whole s", "laws broken", "on the way")


def _fault_row(fault: FaultRecord) -> tuple[str, ...]:
    return (
        str(fault.number),
        str(fault.kind),
        fault.victim,
        _seconds(fault.go_on_seconds),
        _seconds(fault.whole_seconds),
        str(len(fault.broken)),
        said_on_the_way(fault),
    )


def said_on_the_way(fault: FaultRecord) -> str:
    """`node up 5.1, weights proved 17.2`, in seconds after the fault."""
    return ", ".join(f"{what} {seconds:.1f}" for what, seconds in fault.on_the_way.items())


def _row(name: str, faults: Sequence[FaultRecord]) -> tuple[str, ...]:
    gone_on = [fault.go_on_seconds for fault in faults]
    whole = [fault.whole_seconds for fault in faults]
    return (
        name,
        str(len(faults)),
        _median(gone_on),
        _worst(gone_on),
        str(sum(fault.is_in_time for fault in faults)),
        _median(whole),
        _worst(whole),
        str(sum(len(fault.broken) for fault in faults)),
    )


def _median(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return _seconds(statistics.median(known)) if known else "-"


def _worst(values: Sequence[float | None]) -> str:
    """Never is worse than late."""
    known = [value for value in values if value is not None]
    if not values:
        return "-"
    return "never" if len(known) < len(values) else _seconds(max(known))


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.1f}"


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
