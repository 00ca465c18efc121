"""Reading responses: completion text -> Proposal | Answer | FormatError.

Nothing here executes or evaluates: a response is text, its parts are found by pattern,
and what they mean is for the jail to say. A response that cannot be read is a value
with a reason, never an exception.

Two named policies (`prompts.parsing`):

    strict   the contract to the letter, and the blocks that the prompt asks for
    paper    the contract, then the official code's tolerant ladder (`azr.parsing.ladder`)
"""

from __future__ import annotations

from azr.config import ParsingName
from azr.parsing import ladder, strict
from azr.parsing.fences import blocks
from azr.types import Answer, FormatError, Proposal, TaskType

__all__ = ["blocks", "parse_answer", "parse_induction_proposal", "parse_proposal"]


def parse_answer(
    task_type: TaskType, response: str, *, lenient: bool = False, policy: ParsingName = "strict"
) -> Answer | FormatError:
    """A solver's answer. `lenient` asks for no think part (`selfplay.measure_format`)."""
    read = ladder.read_answer if policy == "paper" else strict.read_answer
    return read(task_type, response, lenient=lenient)


def parse_proposal(
    response: str,
    *,
    single_function: bool,
    policy: ParsingName = "strict",
    seeding: bool = False,
) -> Proposal | FormatError:
    """A deduction, abduction or error proposal: a program and one argument text.

    `seeding`: by the paper's policy, the proposals that fill the buffers need no tags.
    """
    if policy == "paper":
        return ladder.read_proposal(response, single_function=single_function, whole=seeding)
    return strict.read_proposal(response, single_function=single_function)


def parse_induction_proposal(
    response: str,
    *,
    program: str,
    num_pairs: int,
    policy: ParsingName = "strict",
    seeding: bool = False,
) -> Proposal | FormatError:
    """Inputs and a message for a given program; `seeding` as for `parse_proposal`."""
    if policy == "paper":
        return ladder.read_induction_proposal(
            response, program=program, num_pairs=num_pairs, whole=seeding
        )
    return strict.read_induction_proposal(response, program=program, num_pairs=num_pairs)
