"""The prompts, two roles times the task types, in families of wording.

Every family keeps one contract, whatever its wording: the prompt ends inside an
opened `<think>`; the response thinks, closes it, and gives its answer in fenced
blocks between `<answer>` and `</answer>`. `azr.parsing` reads the contract, so a
family only has to word the question.

    compact   the tiny model's own: no instructions, only role, type and blocks
    r1        an R1-style conversation with full instructions, made of templates
"""

from azr.prompts.choice import family_of, question_prompt
from azr.prompts.compact import CompactPrompts
from azr.prompts.contract import ANSWER_CLOSE, ANSWER_OPEN, THINK_CLOSE, THINK_OPEN, fence
from azr.prompts.family import PromptFamily, propose_within
from azr.prompts.r1 import InstructedPrompts

__all__ = [
    "ANSWER_CLOSE",
    "ANSWER_OPEN",
    "THINK_CLOSE",
    "THINK_OPEN",
    "CompactPrompts",
    "InstructedPrompts",
    "PromptFamily",
    "family_of",
    "fence",
    "propose_within",
    "question_prompt",
]
