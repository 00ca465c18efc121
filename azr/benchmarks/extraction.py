r"""What a response answers: text out of text, never an exception.

mathematics   the last `<answer>` part, in it the last `\boxed{}`; without such a part
              the last `\boxed{}`, else the last `\[ ... \]`
code          the last python (or untagged) block of the last `<answer>` part, else of
              the whole response
execution     the last `output` or `input` block, else the last other block, else the
              last `<answer>` part itself
"""

from __future__ import annotations

import re

_FENCE = re.compile(r"```(?P<tag>[\w+-]*)[ \t]*\n(?P<text>.*?)(?:\n[ \t]*```|\Z)", re.DOTALL)
_BOXED = re.compile(r"\\(?:boxed|fbox|framebox)\s*\{")
_BRACE = re.compile(r"(?<!\\)[{}]")
_LABEL = re.compile(r"\A\s*(?:the\s+)?(?:final\s+)?answer(?:\s+is)?\s*[:=]?\s*", re.IGNORECASE)
_PYTHON_TAGS = ("python", "python3", "py", "")


def answer_part(response: str) -> str | None:
    """The last `<answer>` part, closed or cut off; None if there is none."""
    _, opened, rest = response.rpartition("<answer>")
    return rest.partition("</answer>")[0].strip() if opened else None


def math_answer(response: str) -> str | None:
    """The expression that a response gives as its answer."""
    body = answer_part(response)
    if body is not None:
        boxed = last_boxed(body)
        return (boxed if boxed is not None else _LABEL.sub("", body)).strip() or None
    boxed = last_boxed(response)
    if boxed is not None:
        return boxed.strip() or None
    return (_last_displayed(response) or "").strip() or None


def last_boxed(text: str) -> str | None:
    r"""What the last complete `\boxed{}` holds, with its braces counted.

    One pass: a response may be nothing but boxes that are never closed.
    """
    boxes = {match.end() - 1 for match in _BOXED.finditer(text)}
    opened: list[int] = []
    found: tuple[int, int] | None = None
    for brace in _BRACE.finditer(text):
        if brace[0] == "{":
            opened.append(brace.start())
        elif opened:
            start = opened.pop()
            if start in boxes and (found is None or start > found[0]):
                found = start, brace.start()
    return text[found[0] + 1 : found[1]] if found else None


def code_answer(response: str) -> str | None:
    """The program that a response gives as its answer."""
    body = answer_part(response)
    for text in (body, response):
        if text is None:
            continue
        blocks = [code for tag, code in fences(text) if tag in _PYTHON_TAGS and code.strip()]
        if blocks:
            return blocks[-1]
    return None


def literal_answer(response: str, tag: str) -> str | None:
    """The input or output that a response gives as its answer."""
    body = answer_part(response)
    for text in (body, response):
        if text is None:
            continue
        blocks = fences(text)
        wanted = [code for name, code in blocks if name == tag] or [code for _, code in blocks]
        if wanted:
            return wanted[-1].strip()
    return body or None


def bare_arguments(text: str, entry_point: str) -> str:
    """`g(1, 2)` and `1, 2` both mean the arguments `1, 2`."""
    text = text.strip()
    if text.startswith(entry_point) and text.endswith(")"):
        inner = text[len(entry_point) :].lstrip()
        if inner.startswith("("):
            return inner[1:-1]
    return text


def fences(text: str) -> list[tuple[str, str]]:
    """(lower-case tag, text) of every fenced block, in order; the last may be cut off."""
    return [(match["tag"].lower(), match["text"]) for match in _FENCE.finditer(text)]


def _last_displayed(text: str) -> str | None:
    r"""What the last complete `\[ \]` holds; in one pass, too."""
    found, end = None, 0
    while (start := text.find("\\[", end)) >= 0:
        end = text.find("\\]", start + 2)
        if end < 0:
            break
        found = text[start + 2 : end]
        end += 2
    return found
