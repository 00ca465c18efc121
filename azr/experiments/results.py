"""What a trial leaves behind: one small JSON file, committed, from which all else follows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError

from azr.errors import InputError
from azr.experiments.plans import Trial
from azr.types import PolicyVersion

FORMAT = 1
SUFFIX, FAILED_SUFFIX = ".json", ".failed.json"
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
"""Counts of solved samples, one character a problem."""


class Record(BaseModel, frozen=True, extra="forbid", use_attribute_docstrings=True):
    """Base of everything in the file."""


class Outcomes(Record):
    """One evaluation: a character for each problem, in the order of the suite."""

    per_type: int | None
    """Only the first so many problems of each split and type; None = the whole suite."""
    greedy: str
    """1 where the greedy response is right, else 0."""
    samples: Annotated[int, Field(ge=0, lt=len(DIGITS))] = 0
    """Responses at temperature 1 to each problem."""
    solved: str = ""
    """How many of them are right, a digit (or letter, from 10 on) each."""


class CurvePoint(Record):
    """Held-out outcomes on the way."""

    step: PolicyVersion
    tokens: int
    """Response tokens sampled until then, seeding included; pretraining: tokens trained on."""
    played_seconds: float
    outcomes: Outcomes


class Machine(Record):
    """Where and with what."""

    cpu: str
    cores: int
    gpu: str = ""
    versions: Mapping[str, str]
    """python, torch, vllm and azr."""


class TrialResult(Record):
    """A finished trial."""

    format: Literal[1] = FORMAT
    arm: str
    seed: int
    minutes: float
    """The budget; 0 = limited by steps."""
    preset: str
    settings: tuple[str, ...]
    """Overrides of the preset."""
    config: Mapping[str, Any]
    """The resolved settings."""
    suite: str
    """Name and version of the problems."""
    steps: PolicyVersion
    played_seconds: float
    cpu_seconds: float | None
    """Of the training processes, start-up included."""
    tokens: int
    """As in the last point of the curve."""
    curve: tuple[CurvePoint, ...]
    """Oldest first; begins with the base."""
    final: Outcomes
    """Of the weights at the end."""
    trace: Mapping[str, tuple[float | None, ...]] = {}
    """Columns over thinned learner steps: `step`, `played_seconds`, `tokens`, and metrics."""
    findings: tuple[str, ...] = ()
    """Failures that `azr.diagnosis` saw in a run, in words."""
    machine: Machine
    finished_at: str
    """UTC, ISO 8601."""


class Failure(Record):
    """Why a trial has no result; the next invocation tries again."""

    arm: str
    seed: int
    reason: str
    log: str


def path_of(trial: Trial, folder: Path) -> Path:
    return folder / f"{trial.name}{SUFFIX}"


def failure_path_of(trial: Trial, folder: Path) -> Path:
    return folder / f"{trial.name}{FAILED_SUFFIX}"


def write(record: Record, path: Path) -> None:
    """Replace the file in one move."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(path.name + ".new")
    scratch.write_text(record.model_dump_json() + "\n", encoding="utf-8")
    scratch.replace(path)


def finished(trial: Trial, folder: Path) -> TrialResult | None:
    """The result of exactly this trial, if it is there.

    Raises InputError for a result of other settings: it must not pass for this one.
    """
    path = path_of(trial, folder)
    if not path.exists():
        return None
    result = _read(path, TrialResult)
    was = (result.settings, result.minutes, result.preset)
    wanted = (trial.settings, trial.minutes, trial.plan.preset)
    if was != wanted:
        raise InputError(
            f"{path} holds a result of other settings: {_shown(*was)}, not {_shown(*wanted)}",
            hint="Give the same options again, choose another --results, or move the file away.",
        )
    return result


def read_all(folder: Path) -> list[TrialResult]:
    """Every result of a folder, by name. Raises InputError if there is none."""
    paths = [
        path for path in sorted(folder.glob(f"*{SUFFIX}")) if not path.name.endswith(FAILED_SUFFIX)
    ]
    if not paths:
        raise InputError(f"{folder} holds no results", hint="`azr experiment learning` makes them.")
    return [_read(path, TrialResult) for path in paths]


def read_failures(folder: Path) -> list[Failure]:
    return [_read(path, Failure) for path in sorted(folder.glob(f"*{FAILED_SUFFIX}"))]


def _read[T: Record](path: Path, kind: type[T]) -> T:
    try:
        return kind.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        problem = str(error).splitlines()[0]
        raise InputError(
            f"{path} is not a result of this version: {problem}",
            hint="Move the file away; the trial is then done again.",
        ) from error


def _shown(settings: tuple[str, ...], minutes: float, preset: str) -> str:
    return " ".join([preset, *settings, f"({minutes:g} min)"])
