"""Cognitive behaviours as patterns of words: which ones a response shows.

The paper tells of step-by-step reasoning, enumeration, trial and error, and of comments that
are plans, by type of task. Here each is a small set of regexes in a data file that a user can
replace. What is counted are matches; nothing else is claimed of them.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pydantic import BaseModel, ValidationError

from azr.config_monitor import split_pattern
from azr.errors import ConfigError
from azr.monitor import Monitor, Part, parts
from azr.types import Role

SHIPPED = Path(__file__).with_name("behaviours.toml")
MAX_CHARS = 8192
"""Of the thoughts, and of the answer; what is longer is looked at up to here."""


class _Behaviour(BaseModel, frozen=True, extra="forbid"):
    """A table of the file."""

    meaning: str
    patterns: tuple[str, ...]
    part: Part = Part.THINK


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What is looked for, and where."""

    name: str
    meaning: str
    part: Part


@dataclass(frozen=True, slots=True)
class Shown:
    """What a response shows."""

    parts: frozenset[Part]
    """Those that are not empty."""
    matches: dict[str, int]
    """Matches of each behaviour that was found, by name."""


@dataclass(frozen=True, slots=True)
class Behaviours:
    """A file of behaviours, compiled."""

    kinds: tuple[Behaviour, ...]
    monitors: tuple[tuple[Part, Monitor], ...]

    def shown_by(self, response: str) -> Shown:
        """Each part is read by its own patterns, up to `MAX_CHARS`."""
        thought, answer = parts(response)
        texts = {Part.THINK: thought, Part.ANSWER: answer}
        found = (
            flag
            for part, monitor in self.monitors
            # To the monitor each part is a thought: all that a solver's flags are about.
            for flag in monitor.flags(texts[part], Role.SOLVE)
        )
        return Shown(
            frozenset(part for part, text in texts.items() if text.strip()),
            {flag.pattern: flag.num_matches for flag in found},
        )


def load(path: Path = SHIPPED) -> Behaviours:
    """Read a file like `behaviours.toml`. Raises ConfigError that names what is wrong."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no TOML: {error}") from error
    read = {name: _behaviour(path, name, table) for name, table in tables.items()}
    kinds = tuple(Behaviour(name, each.meaning, each.part) for name, each in read.items())
    compiled = partial(_compiled, path, read)
    return Behaviours(kinds, tuple((part, compiled(part)) for part in Part))


def _behaviour(path: Path, name: str, table: object) -> _Behaviour:
    try:
        found = _Behaviour.model_validate(table)
    except ValidationError as error:
        [first, *_] = error.errors()
        where = ".".join([name, *map(str, first["loc"])])
        raise ConfigError(
            f"{path}: {where}: {first['msg']}",
            hint="Each table has a `meaning`, a list of `patterns`, and perhaps a `part`.",
        ) from error
    if not found.patterns:
        raise ConfigError(f"{path}: {name} has no patterns", hint="Give it one, or leave it out.")
    return found


def _compiled(path: Path, read: dict[str, _Behaviour], part: Part) -> Monitor:
    own = {name: each.patterns for name, each in read.items() if each.part is part}
    try:
        patterns = tuple((name, _any_of(name, regexes)) for name, regexes in own.items())
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error
    return Monitor(patterns, MAX_CHARS)


def _any_of(name: str, regexes: Sequence[str]) -> re.Pattern[str]:
    """One pattern for all, each of which has to be bounded as the monitor's are."""
    checked = [split_pattern(f"{name}: {regex}")[1].pattern for regex in regexes]
    return re.compile("|".join(checked), re.IGNORECASE)
