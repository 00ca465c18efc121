"""The strict policy: exactly the contract, and the blocks that the prompt asks for.

The response starts in the think part, closes it, and gives its blocks between the
answer tags (spec section 2.1). Text after the closing answer tag is allowed.
"""

from __future__ import annotations

from azr.parsing.fences import blocks, contract_body, function_names, last_body
from azr.types import Answer, FormatError, Proposal, TaskType

ANSWER_TAG = {
    TaskType.DEDUCTION: "output",
    TaskType.ABDUCTION: "input",
    TaskType.INDUCTION: "python",
    TaskType.ERROR: "output",
}
"""An error's name comes in an `output` block, as the official prompts ask for it."""
NO_CONTRACT = FormatError("no think part followed by an answer part")
NO_ANSWER = FormatError("no answer part")


def read_answer(task_type: TaskType, response: str, *, lenient: bool) -> Answer | FormatError:
    """The last block of the kind that answers this task type."""
    body = last_body(response) if lenient else contract_body(response)
    if body is None:
        return NO_ANSWER if lenient else NO_CONTRACT
    wanted = ANSWER_TAG[task_type]
    texts = [text for tag, text in blocks(body) if tag == wanted]
    if not texts:
        return FormatError(f"no {wanted} block in the answer")
    if task_type is TaskType.INDUCTION and "f" not in function_names(texts[-1]):
        return FormatError("no function named f")
    return Answer(texts[-1])


def read_proposal(response: str, *, single_function: bool) -> Proposal | FormatError:
    """The first program and the first input."""
    body = contract_body(response)
    if body is None:
        return NO_CONTRACT
    found = blocks(body)
    program = next((text for tag, text in found if tag == "python"), None)
    arguments = next((text for tag, text in found if tag == "input"), None)
    if program is None or arguments is None:
        return FormatError("a proposal needs a python block and an input block")
    names = function_names(program)
    if "f" not in names:
        return FormatError("no function named f")
    if single_function and len(names) > 1:
        return FormatError("more than one function")
    return Proposal(program=program, arguments=(arguments,))


def read_induction_proposal(
    response: str, *, program: str, num_pairs: int
) -> Proposal | FormatError:
    """The last `num_pairs` input blocks and the first message."""
    body = contract_body(response)
    if body is None:
        return NO_CONTRACT
    found = blocks(body)
    arguments = [text for tag, text in found if tag == "input"]
    message = next((text for tag, text in found if tag == "message"), None)
    if len(arguments) < num_pairs or message is None:
        return FormatError(f"an induction proposal needs {num_pairs} input blocks and a message")
    return Proposal(program=program, arguments=tuple(arguments[-num_pairs:]), message=message)
