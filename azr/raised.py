"""What an error task hides: the name of the class of what its program raises.

The name is text of the program's choosing, so it is taken only if it is an identifier and
came out of the jail whole; it is stored as any output is, as the value of a string. Answers
are compared with it as text on the host: in any case of letters, as the official code does,
and whatever module stands before it (`json.JSONDecodeError`). A superclass is another class.

Only exceptions count. A timeout, exhausted memory, a syntax error and what the task policy
refuses are the jail's verdicts on a program that has no error to predict.
"""

from __future__ import annotations

import json

from azr.types import Outcome, Rejection, TaskType, Value, Verdict
from azr.values import from_python, literal

LONGEST_NAME_CHARS = 39
"""The jail cuts names after 40 characters, so that one of 40 may lack its end."""


def raised(outcome: Outcome) -> Value | Rejection:
    """The hidden output of an error task whose call ended like this."""
    if outcome.verdict is Verdict.OK:
        return Rejection(Verdict.NO_ERROR)
    if outcome.verdict is not Verdict.RUNTIME_ERROR:
        return Rejection(outcome.verdict, outcome.detail)
    if not outcome.detail.isidentifier() or len(outcome.detail) > LONGEST_NAME_CHARS:
        return Rejection(Verdict.UNSERIALISABLE, "the name of what it raises")
    return from_python(outcome.detail)


def class_name(value: Value) -> str:
    """The name that `raised` made a value of."""
    return str(json.loads(value.canonical))


def shown_output(task_type: TaskType, value: Value) -> str:
    """An output as people and models read it: a literal, or the bare name of a class."""
    return class_name(value) if task_type is TaskType.ERROR else literal(value)


def named(answer: str) -> str | None:
    """The class that an answer names; None for text that is no (dotted) name."""
    parts = answer.strip().split(".")
    return parts[-1] if all(map(str.isidentifier, parts)) else None


def names(answer: str, value: Value) -> bool:
    """Whether an answer names the class behind a value of `raised`."""
    name = named(answer)
    return name is not None and name.casefold() == class_name(value).casefold()
