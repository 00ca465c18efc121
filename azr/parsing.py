"""Reading responses: completion text -> Proposal | Answer | FormatError.

Nothing here executes or evaluates: a response is text, fences are found by
pattern, and what the blocks mean is for the jail to say. A response that breaks
the contract is a value with a reason, never an exception.

Contract (spec section 2.1): the response starts in the think part, closes it,
and gives exactly the blocks asked for between the answer tags. Text after the
closing answer tag is allowed.
"""

from __future__ import annotations

import re

from azr.types import Answer, FormatError, Proposal, TaskType

_CONTRACT = re.compile(r"\A(?P<think>.*?)</think>\s*<answer>(?P<body>.*?)</answer>", re.DOTALL)
_BLOCK = re.compile(r"```(?P<tag>[a-z]*)[ \t]*\n(?P<text>.*?)\n?[ \t]*```", re.DOTALL)
_FUNCTION = re.compile(r"^\s*def\s+(?P<name>\w+)\s*\(", re.MULTILINE)

ANSWER_TAG = {
    TaskType.DEDUCTION: "output",
    TaskType.ABDUCTION: "input",
    TaskType.INDUCTION: "python",
}


def answer_body(response: str) -> str | FormatError:
    """The text between the answer tags, if the response keeps the contract."""
    match = _CONTRACT.match(response)
    if match is None:
        return FormatError("no think part followed by an answer part")
    return match["body"]


def lenient_body(response: str) -> str | FormatError:
    """The last answer part, whatever precedes it (`selfplay.measure_format = false`)."""
    _, opened, rest = response.rpartition("<answer>")
    if not opened:
        return FormatError("no answer part")
    return rest.partition("</answer>")[0]


def blocks(body: str) -> list[tuple[str, str]]:
    """(tag, text) of every fenced block, in order, stripped of outer blank lines."""
    return [(match["tag"], match["text"].strip("\n")) for match in _BLOCK.finditer(body)]


def parse_answer(
    task_type: TaskType, response: str, *, lenient: bool = False
) -> Answer | FormatError:
    """The last block of the kind that answers this task type."""
    body = lenient_body(response) if lenient else answer_body(response)
    if isinstance(body, FormatError):
        return body
    wanted = ANSWER_TAG[task_type]
    texts = [text for tag, text in blocks(body) if tag == wanted]
    if not texts:
        return FormatError(f"no {wanted} block in the answer")
    if task_type is TaskType.INDUCTION and not _defines_f(texts[-1]):
        return FormatError("no function named f")
    return Answer(texts[-1])


def parse_proposal(response: str, *, single_function: bool) -> Proposal | FormatError:
    """A deduction or abduction proposal: the first program and the first input."""
    body = answer_body(response)
    if isinstance(body, FormatError):
        return body
    found = blocks(body)
    program = next((text for tag, text in found if tag == "python"), None)
    arguments = next((text for tag, text in found if tag == "input"), None)
    if program is None or arguments is None:
        return FormatError("a proposal needs a python block and an input block")
    if not _defines_f(program):
        return FormatError("no function named f")
    if single_function and len(_FUNCTION.findall(program)) > 1:
        return FormatError("more than one function")
    return Proposal(program=program, arguments=(arguments,))


def parse_induction_proposal(
    response: str, *, program: str, num_pairs: int
) -> Proposal | FormatError:
    """Inputs and a message for a given program: the last `num_pairs` input blocks."""
    body = answer_body(response)
    if isinstance(body, FormatError):
        return body
    found = blocks(body)
    arguments = [text for tag, text in found if tag == "input"]
    message = next((text for tag, text in found if tag == "message"), None)
    if len(arguments) < num_pairs or message is None:
        return FormatError(f"an induction proposal needs {num_pairs} input blocks and a message")
    return Proposal(program=program, arguments=tuple(arguments[-num_pairs:]), message=message)


def _defines_f(program: str) -> bool:
    return any(name == "f" for name in _FUNCTION.findall(program))
