"""Sources that are expensive to compile: depth, width, and constants worth folding."""

from __future__ import annotations

from .case import Theme

theme = Theme("the compiler")
case = theme.case

BROKEN = "syntax_error|runtime_error|oom|killed|timeout"
F = "\ndef f(a):\n    return 1"
for name, program, off in (
    ("parentheses", "x = " + "(" * 3000 + ")" * 3000, "syntax_error"),
    ("brackets", "x = " + "[" * 5000 + "]" * 5000, "syntax_error"),
    ("minus signs", "x = " + "-" * 30_000 + "1", "syntax_error|killed|oom"),
    ("operators", "x = " + "1+" * 15_000 + "1", "ok|syntax_error"),
    ("powers", "x = " + "2**" * 3000 + "0", "ok|syntax_error|killed"),
    ("nots", "x = " + "not " * 7000 + "1", "ok|syntax_error|killed"),
    ("comparisons", "x = " + "1<" * 15_000 + "2", "ok|syntax_error"),
    ("attributes", "x = 1" + ".real" * 6000, "ok|syntax_error|runtime_error|killed"),
    ("subscripts", "x = {}" + "[0]" * 9000, "ok|syntax_error|runtime_error|killed"),
    ("calls", "def g(): return g\nx = g" + "()" * 9000, "ok|syntax_error|killed"),
    ("lambdas", "x = " + "lambda:" * 4000 + "0", "ok|syntax_error|killed|oom"),
    ("conditions", "x = " + "1 if 1 else " * 2500 + "0", "ok|syntax_error|killed"),
    ("branches", "if 0: pass" + "\nelif 0: pass" * 2400, "ok|syntax_error|killed"),
    ("assignments", "x = " * 7000 + "0", "ok|syntax_error"),
    ("targets", ", ".join(f"x{i}" for i in range(4000)) + " = range(4000)", "ok"),
    ("constants", "x = [" + "0, " * 10_000 + "]", "ok"),
    ("names", "\n".join(f"x{i} = 1" for i in range(2500)), "ok"),
    ("decorators", "d = lambda g: g\n" + "@d\n" * 5000 + "def g(): pass", "ok|syntax_error"),
    ("indentation", "\n".join(" " * i + "if 1:" for i in range(99)) + "\n" + " " * 99 + "pass",
     "ok|syntax_error"),
    ("too much indentation", "\n".join(" " * i + "if 1:" for i in range(150)), "syntax_error"),
    ("nested functions",
     "\n".join(" " * i + "def g():" for i in range(90)) + "\n" + " " * 90 + "pass",
     "ok|syntax_error"),
    ("nested loops", "x = " + "[" * 40 + "1" + " for i in [1]]" * 40, "ok|syntax_error|killed"),
    ("nested formats", 'x = ' + 'f"{' * 140 + "1" + '}"' * 140, "syntax_error|ok"),
    ("except clauses", "try: pass" + "\nexcept KeyError: pass" * 1400, "ok|syntax_error|killed"),
    ("patterns", "match 1:\n    case " + "|".join(["1"] * 9000) + ": pass",
     "ok|syntax_error|killed|timeout"),
    ("a huge integer", "x = " + "9" * 5000, "syntax_error"),
    ("a huge hexadecimal integer", "x = 0x" + "f" * 30_000, "ok"),
    ("a constant string to fold", "x = len('a' * 10**12)", "oom|runtime_error"),
    ("a constant tuple to fold", "x = ((1,) * 4000, (1,) * 4000) * 4000 * 4000", BROKEN),
    ("a constant power to fold", "x = 9 ** 9 ** 9 ** 9 and 1", BROKEN),
    ("a constant shift to fold", "x = 1 << 10**11", BROKEN),
):  # fmt: skip
    case(
        f"compile bomb: {name}", program + F, off=f"{off}|timeout", process=f"{off}|timeout|killed"
    )
