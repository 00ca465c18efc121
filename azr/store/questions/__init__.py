"""Questions that people ask of a run, each a file of SQL beside this module.

One source for `azr sql --question`, for Datasette's canned queries and for the check
of docs/history.md. A file begins with comments: the question, what the answer means,
and its parameters, each with a query for the default:

    -- What did a learner step train on?
    -- Its rows, the ones that moved the weights most first.
    -- param step (a learner step) = select max(version) from learner_step where ...
    select ...

`:run` is the run's id, in every question. The SQL is read by SQLite and PostgreSQL.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources

_PARAMETER = re.compile(r"param (?P<name>\w+) \((?P<meaning>.+?)\) = (?P<default>.+)")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A number that a question is asked about."""

    name: str
    meaning: str
    default: str
    """A query that finds it; may name `:run`."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question and the SQL that answers it."""

    name: str
    title: str
    about: str
    sql: str
    """Without comments; names `:run` and the parameters."""
    parameters: Mapping[str, Parameter] = field(default_factory=dict)


@cache
def questions() -> Mapping[str, Question]:
    """All of them by name, in the order of the documentation."""
    folder = resources.files(__name__)
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=str)
    found = [_parse(file.name, file.read_text(encoding="utf-8")) for file in files]
    return {question.name: question for question in found}


def _parse(filename: str, text: str) -> Question:
    lines = text.strip().splitlines()
    comments = [line.removeprefix("--").strip() for line in lines if line.startswith("--")]
    title, *rest = comments
    about: list[str] = []
    parameters: dict[str, Parameter] = {}
    for line in rest:
        found = _PARAMETER.fullmatch(line)
        if found is None:
            about.append(line)
        else:
            parameters[found["name"]] = Parameter(**found.groupdict())
    return Question(
        name=filename.removesuffix(".sql").partition("-")[2],
        title=title,
        about=" ".join(about),
        sql="\n".join(line for line in lines if not line.startswith("--")),
        parameters=parameters,
    )
