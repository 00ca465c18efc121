"""One job in its own process: read the request, confine, check, run, report, exit.

Results go to the result pipe as frames (see `wire`) of `[verdict, payload]`: canonical
text for `ok`, a short detail for anything else.
Whatever the program does to this process can only change its own results.
"""

import ast
import builtins
import json
import marshal
import os
import struct
import sys
from types import CodeType

from .confine import Confinement
from .encode import TooLargeError, UnserialisableError, encode
from .literals import NotLiteralError, value_of
from .policy import surely_allowed, violation
from .wire import FRAME_MAGIC

RESULT_FD = 9

type Frame = tuple[str, str]
type Arguments = tuple[list[object], dict[str, object]]

_dump = json.JSONEncoder(ensure_ascii=False).encode


def run_job(body: memoryview, confinement: Confinement) -> None:
    """Run the job in `body` to its end; the caller exits the process afterwards."""
    request = marshal.loads(body)  # noqa: S302 -- the host wrote it
    confinement.enter(memory_mib=request["memory_mib"], cpu_seconds=request["cpu_seconds"])
    if request["operation"] == "parse_literals":
        for text in request["calls"]:
            _emit(_parsed_literal(text, request["output_chars"]))
        return
    if not request["calls"]:
        return
    calls = [_parse_call(text) for text in request["calls"]]  # before any code of the program
    code = _compiled(request["program"], with_policy=request["policy"])
    if not isinstance(code, CodeType):
        _emit(code)
        return
    for call in calls:
        for _ in range(request["repeats"]):
            frame = _one_run(code, call, request["output_chars"])
            _emit(frame)
            if frame[0] == "oom" or (request["stop_at_failure"] and frame[0] != "ok"):
                return


def framed(frame: Frame) -> bytes:
    """A frame as it is written to the result pipe."""
    text = _dump(frame).encode()
    return FRAME_MAGIC + struct.pack("<I", len(text)) + text


def _emit(frame: Frame) -> None:
    data = framed(frame)
    while data:
        data = data[os.write(RESULT_FD, data) :]


def _parsed_literal(text: str, output_chars: int) -> Frame:
    try:
        value = value_of(ast.parse(text.strip(), mode="eval").body)
    except BaseException as error:  # noqa: BLE001 -- hostile text: any failure is a verdict
        return "bad_literal", type(error).__name__
    return _encoded(value, output_chars)


def _parse_call(text: str) -> ast.Call | None:
    """The call `f(<text>)`, if the text is literal arguments and nothing else.

    '5) or (1' does not parse to one call of `f`, and '*[1]' is not a literal.
    """
    try:
        call = ast.parse(f"f({text}\n)", mode="eval").body
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name):
            _arguments(call)
            return call
    except BaseException:  # noqa: BLE001, S110 -- hostile text: any failure is a verdict
        pass
    return None


def _arguments(call: ast.Call) -> Arguments:
    """Fresh argument objects of a call; NotLiteralError if one is not a literal."""
    positional = [value_of(argument) for argument in call.args]
    keywords: dict[str, object] = {}
    for keyword in call.keywords:
        if keyword.arg is None or keyword.arg in keywords:
            raise NotLiteralError
        keywords[keyword.arg] = value_of(keyword.value)
    return positional, keywords


def _compiled(program: str, *, with_policy: bool) -> CodeType | Frame:
    try:
        if not with_policy or surely_allowed(program):
            return compile(program, "<program>", "exec", dont_inherit=True)
        tree = ast.parse(program)
        found = violation(tree)
        if found:
            return found[0], found[1][:80]
        return compile(tree, "<program>", "exec", dont_inherit=True)
    except MemoryError:  # also how CPython reports an exhausted parser stack
        return "syntax_error", "MemoryError"
    except BaseException as error:  # noqa: BLE001 -- hostile text: any failure is a verdict
        return "syntax_error", type(error).__name__


def _one_run(code: CodeType, call: ast.Call | None, output_chars: int) -> Frame:
    """Execute the program in fresh globals and call its `f` on fresh arguments."""
    if call is None:
        return "bad_input", ""
    try:
        positional, keywords = _arguments(call)
        namespace: dict[str, object] = {"__name__": "program", "__builtins__": builtins}
        exec(code, namespace)  # noqa: S102 -- this is what the jail is for
        entry = namespace.get("f")
        if not callable(entry):
            return "runtime_error", "NameError" if entry is None else "TypeError"
        value = entry(*positional, **keywords)
    except MemoryError:
        return "oom", "MemoryError"
    except BaseException as error:  # noqa: BLE001 -- SystemExit and friends are verdicts too
        return "runtime_error", type(error).__name__[:40]
    return _encoded(value, output_chars)


def _encoded(value: object, output_chars: int) -> Frame:
    try:
        return "ok", encode(value, output_chars)
    except UnserialisableError as error:
        return "unserialisable", str(error)[:40]
    except TooLargeError:
        return "output_too_large", ""
    except MemoryError:
        return "oom", "MemoryError"
    except BaseException as error:  # noqa: BLE001 -- the program may have patched anything
        return "unserialisable", type(error).__name__[:40]


def rehearse(program: str, call: str) -> None:
    """Run all code of a job, except what needs a process of its own, on a program of ours."""
    for with_policy in (False, True):
        code = _compiled(program, with_policy=with_policy)
        if isinstance(code, CodeType):
            frame = _one_run(code, _parse_call(call), len(program) * 8)
            framed(frame)
    _parsed_literal(call, len(program))
    body = marshal.dumps({"program": program, "calls": (call,)})
    marshal.loads(memoryview(body))  # noqa: S302 -- our own


def forget_host() -> None:
    """Drop what a program has no business finding by name."""
    os.environ.clear()
    for name in [name for name in sys.modules if name.partition(".")[0] in ("guest", "ctypes")]:
        del sys.modules[name]
    sys.modules.pop("_ctypes", None)
    sys.path[:] = [path for path in sys.path if "/lib" in path]
