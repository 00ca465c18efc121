"""A scripted model that plays well enough to exercise every path."""

from __future__ import annotations

import random
import re

from azr.types import SamplingRequest

_CONSTANT = re.compile(r"return a \+ (\d+)")
_GIVEN = re.compile(r"def (g_\d)\(")
_BLOCK = re.compile(r"```(\w+)\n(.*?)\n```", re.DOTALL)


def _respond(*blocks: tuple[str, str]) -> str:
    body = "".join(f"```{tag}\n{text}\n```\n" for tag, text in blocks)
    return f"thinking</think><answer>{body}</answer>"


def play(request: SamplingRequest) -> str:
    """Proposes `a + C` or something broken; solves right, wrong or out of format."""
    rng = random.Random(f"{request.seed}/{request.prompt}")  # noqa: S311
    if rng.random() < 0.15:
        return "no contract at all"
    kind = request.prompt.split("\n", 1)[0]
    if kind.startswith("propose induction"):
        count = int(kind.split()[-1])
        inputs = [("input", str(rng.randrange(100))) for _ in range(count)]
        return _respond(*inputs, ("message", "adds something"))
    if kind.startswith("propose"):
        body = rng.choice(["return a + {}", "return a + {}", "return a +", "return b + {}"])
        program = "def f(a):\n    " + body.format(rng.randrange(40))
        if given := _GIVEN.findall(request.prompt):
            called = given if rng.random() < 0.8 else given[1:]
            program += "".join(f" + {name}(a)" for name in called)
        return _respond(("python", program), ("input", str(rng.randrange(9))))
    return _solve(kind, request.prompt, rng)


def _solve(kind: str, prompt: str, rng: random.Random) -> str:
    blocks = _BLOCK.findall(prompt)
    texts = dict(blocks)
    off = rng.choice([0, 0, 1])
    if kind == "solve error":
        return _respond(("output", rng.choice(["TypeError", "NameError", "ZeroDivisionError"])))
    if kind == "solve induction":
        inputs = [text for tag, text in blocks if tag == "input"]
        outputs = [text for tag, text in blocks if tag == "output"]
        try:
            constant = int(outputs[0]) - int(inputs[0])
        except ValueError:
            return _respond(("python", "def f(a):\n    return a"))
        return _respond(("python", f"def f(a):\n    return a + {constant + off}"))
    match = _CONSTANT.search(texts["python"])
    constant = int(match[1]) if match else 0
    if kind == "solve deduction":
        known = texts["input"]
        return _respond(("output", known if not match else str(int(known) + constant + off)))
    known = texts["output"]
    return _respond(("input", known if not match else str(int(known) - constant - off)))
