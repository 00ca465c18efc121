"""A benchmark's files: found in a local folder, and read once.

Nothing is fetched unless asked for (`azr.benchmarks.fetching`): the whole suite is over four
gigabytes. The digest of every file that is read goes into the results.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from azr.benchmarks.catalogue import BenchmarkFile, BenchmarkSpec
from azr.benchmarks.questions import BadRow, Question
from azr.benchmarks.rows import Place, question
from azr.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    """What was read."""

    name: str
    sha256: str
    num_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedBenchmark:
    """A benchmark's questions, in the order of the files."""

    spec: BenchmarkSpec
    questions: tuple[Question, ...]
    files: tuple[FileFacts, ...]
    notes: tuple[str, ...]
    """In what they are not the whole published benchmark."""


def default_folder() -> Path:
    """Where benchmark files are kept unless the user says otherwise."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return cache / "azr" / "benchmarks"


def missing(spec: BenchmarkSpec, folder: Path) -> tuple[BenchmarkFile, ...]:
    """The files that a benchmark lacks in a folder."""
    return tuple(file for file in spec.files if _found(file, folder) is None)


def require(specs: tuple[BenchmarkSpec, ...], folder: Path) -> None:
    """Raise InputError unless every benchmark has at least one of its files."""
    for spec in specs:
        lacking = missing(spec, folder)
        if len(lacking) == len(spec.files):
            first = lacking[0]
            more = f" and {len(lacking) - 1} more files like it" if len(lacking) > 1 else ""
            raise InputError(
                f"{spec.title}: {folder / first.name} is missing",
                hint=f"Add --download, or put {first.url} there under this name{more};"
                " a .gz is unpacked by hand. --data names another folder.",
            )


def load(spec: BenchmarkSpec, folder: Path) -> LoadedBenchmark:
    """Read a benchmark's files.

    Raises InputError for a file that cannot be read or a row that is not in its format.
    """
    questions: list[Question] = []
    files: list[FileFacts] = []
    notes: list[str] = []
    for file in spec.files:
        path = _found(file, folder)
        if path is None:
            continue
        digest, num_bytes = hashlib.sha256(), 0
        for line, place in _lines(path):
            digest.update(line)
            num_bytes += len(line)
            if line.strip():
                questions.append(_row(spec, line, place))
        files.append(FileFacts(name=file.name, sha256=digest.hexdigest(), num_bytes=num_bytes))
    if len(files) < len(spec.files):
        notes.append(f"{len(files)} of {len(spec.files)} files")
    if len(questions) != spec.num_rows:
        notes.append(f"{len(questions)} of {spec.num_rows} rows")
    if not questions:
        raise InputError(f"{spec.title}: {folder / spec.files[0].name} has no rows")
    return LoadedBenchmark(
        spec=spec, questions=tuple(questions), files=tuple(files), notes=tuple(notes)
    )


def _row(spec: BenchmarkSpec, line: bytes, place: Place) -> Question:
    found = question(spec.name, line, place, spec.read)
    if isinstance(found, BadRow):
        raise InputError(
            f"{place.path} row {place.number + 1} is not a row of {spec.title}: {found.reason}",
            hint="docs/benchmarks.md names the files and their formats.",
        )
    return found


def _found(file: BenchmarkFile, folder: Path) -> Path | None:
    path = folder / file.name
    return path if path.is_file() else None


def _lines(path: Path) -> Iterator[tuple[bytes, Place]]:
    offset = 0
    try:
        with path.open("rb") as stream:
            for number, line in enumerate(stream):
                yield line, Place(path, offset, number)
                offset += len(line)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
