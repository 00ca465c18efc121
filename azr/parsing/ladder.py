"""The paper's policy: the contract, then a ladder of ever weaker signs (spec section 2.4).

Tags and words are matched in any case. What is read is still only text: an answer must
be a literal to the jail, whatever rung it was found on. Where the official code's way of
reading breaks well-formed text, this one does not follow it: an input block before the
program is no program, a call's parentheses may be nested, and a function is renamed by
its tokens, not inside texts.
"""

from __future__ import annotations

import re
from collections import deque

from azr.parsing.entry import with_entry
from azr.parsing.fences import MARK, contract_body, function_names, last_body
from azr.parsing.strict import NO_ANSWER, NO_CONTRACT
from azr.types import Answer, FormatError, Proposal, TaskType

_OPENED = re.compile(
    r"```[ \t]*(?:(?P<code>(?:python3?|py)\b)|(?P<data>(?:input|output|message)\b)"
    r"|(?P<other>[a-z]\w*)(?=[ \t]*\n)|)",
    re.IGNORECASE,
)
_ANSWER_KIND = {
    TaskType.DEDUCTION: "output",
    TaskType.ABDUCTION: "input",
    TaskType.ERROR: "output",
}
_OPENERS = {
    kind: re.compile(rf"```[ \t]*{kind}\b", re.IGNORECASE)
    for kind in ("input", "output", "message")
}
_LINES = {
    kind: re.compile(rf"#[ \t]*{kind}[ \t]*:(?P<text>[^\n]*)", re.IGNORECASE) for kind in _OPENERS
}
_CALLS = {kind: re.compile(rf"\b{kind}[ \t]*\(", re.IGNORECASE) for kind in _OPENERS}
_TAGS = {
    kind: (re.compile(rf"<{kind}>", re.IGNORECASE), re.compile(rf"</{kind}>", re.IGNORECASE))
    for kind in _OPENERS
}
_SENTENCES = {
    kind: re.compile(rf"\bthe {kind} is\b:?(?P<text>[^\n]*)", re.IGNORECASE) for kind in _OPENERS
}


def read_answer(task_type: TaskType, response: str, *, lenient: bool) -> Answer | FormatError:
    """What the last answer part says, by the highest rung that finds something.

    A program is the last bare or python block. `lenient` asks for no think part.
    """
    body = _body(response, lenient=lenient)
    if isinstance(body, FormatError):
        return body
    if task_type is TaskType.INDUCTION:
        programs = _programs(body)
        return Answer(programs[-1]) if programs else FormatError("no python block in the answer")
    text = _value(body, _ANSWER_KIND[task_type])
    return Answer(text) if text else FormatError("an empty answer")


def read_proposal(response: str, *, single_function: bool, whole: bool) -> Proposal | FormatError:
    """The first bare or python block, called `f`, with the first input block or line.

    `whole` reads all of the response and asks for no tags, as the seeding phase does.
    """
    body = _proposal_body(response, whole=whole)
    if isinstance(body, FormatError):
        return body
    programs = _programs(body)
    arguments = _first(_fenced(body, "input") or _lines(body, "input"))
    if not programs or arguments is None:
        return FormatError("a proposal needs a program and an input")
    names = function_names(programs[0])
    if not names:
        return FormatError("no function")
    if single_function and len(names) > 1:
        return FormatError("more than one function")
    program = with_entry(programs[0])
    if program is None:
        return FormatError("no function that can be called f")
    return Proposal(program=program, arguments=(arguments,))


def read_induction_proposal(
    response: str, *, program: str, num_pairs: int, whole: bool
) -> Proposal | FormatError:
    """The last `num_pairs` input blocks, and a message in a block, tags or a line."""
    body = _proposal_body(response, whole=whole)
    if isinstance(body, FormatError):
        return body
    arguments = _fenced(body, "input")
    tagged = _tagged(body, "message")
    messages = _fenced(body, "message") or ([] if tagged is None else [tagged])
    message = _first(messages or _lines(body, "message"))
    if len(arguments) < num_pairs or message is None:
        return FormatError(f"an induction proposal needs {num_pairs} inputs and a message")
    return Proposal(program=program, arguments=tuple(arguments[-num_pairs:]), message=message)


def _proposal_body(response: str, *, whole: bool) -> str | FormatError:
    return response if whole else _body(response, lenient=False)


def _body(response: str, *, lenient: bool) -> str | FormatError:
    """The last answer part; the contract may have been kept by an earlier one."""
    if not lenient and contract_body(response) is None:
        return NO_CONTRACT
    body = last_body(response)
    return NO_ANSWER if body is None else body


def _programs(body: str) -> list[str]:
    """The text of every bare or python block, in order; other blocks are stepped over."""
    found: list[str] = []
    position = 0
    while opened := _OPENED.search(body, position):
        end = body.find(MARK, opened.end())
        if end < 0:
            break
        if not opened["data"] and not opened["other"]:
            found.append(_code(body[opened.end() : end]))
        position = end + len(MARK)
    return found


def _code(text: str) -> str:
    """A program without the rest of its fence's line and blank lines around it."""
    first, newline, rest = text.partition("\n")
    kept = rest if newline and not first.strip() else text.lstrip(" \t")
    return kept.strip("\n").rstrip()


def _fenced(body: str, kind: str) -> list[str]:
    """The texts of the blocks of a kind, wherever a fence opens one."""
    found: list[str] = []
    position = 0
    while opened := _OPENERS[kind].search(body, position):
        end = body.find(MARK, opened.end())
        if end < 0:
            break
        found.append(body[opened.end() : end].strip())
        position = end + len(MARK)
    return found


def _value(body: str, kind: str) -> str:
    """The answer on the highest rung that has one; the last rung is the whole body."""
    fenced = _fenced(body, kind)
    if fenced:
        return fenced[-1]
    lines = _lines(body, kind)
    if lines:
        return lines[-1]
    for rung in (_called, _tagged, _said):
        found = rung(body, kind)
        if found:
            return found
    return body.strip()


def _lines(body: str, kind: str) -> list[str]:
    """What follows `# Input:` on its line, where something does."""
    texts = (match["text"].strip() for match in _LINES[kind].finditer(body))
    return [text for text in texts if text]


def _called(body: str, kind: str) -> str | None:
    """What the last `input(...)` has between its parentheses."""
    last = _last(_CALLS[kind], body)
    if last is None:
        return None
    depth = 1
    for position in range(last.end(), len(body)):
        depth += (body[position] == "(") - (body[position] == ")")
        if depth == 0:
            return body[last.end() : position].strip()
    return None


def _tagged(body: str, kind: str) -> str | None:
    """What stands between the last opening tag of a kind and its closing one."""
    opening, closing = _TAGS[kind]
    last = _last(opening, body)
    closed = None if last is None else closing.search(body, last.end())
    if last is None or closed is None:
        return None
    return body[last.end() : closed.start()].strip()


def _said(body: str, kind: str) -> str | None:
    """What "the input is" says, to the end of its line, without a full stop."""
    last = _last(_SENTENCES[kind], body)
    return None if last is None else last["text"].strip().removesuffix(".").strip()


def _last(pattern: re.Pattern[str], body: str) -> re.Match[str] | None:
    found = deque(pattern.finditer(body), maxlen=1)
    return found[0] if found else None


def _first(texts: list[str]) -> str | None:
    return texts[0] if texts else None
