"""Programs that pretraining never shows, so that evaluation can.

A program belongs to the class by a hash of its normal form up to renaming: the choice
depends on nothing else, so every base pretrained from now on leaves out the same ones.
The shipped weights are older than the rule; `azr.evals.build_held_out` therefore also
leaves out whatever their training stream contains.
"""

from __future__ import annotations

import hashlib

from azr.normal_form import program_form
from azr.parsing import blocks

ONE_IN = 32
"""Share of all normal forms that are reserved."""
_PURPOSE = b"azr held out"


def is_reserved(program: str) -> bool:
    """Whether the program is kept for evaluation."""
    form = program_form(program, "renamed").encode()
    digest = hashlib.blake2b(form, digest_size=8, person=_PURPOSE).digest()
    return int.from_bytes(digest) % ONE_IN == 0


def programs_in(text: str) -> list[str]:
    """The programs that a training text shows or answers with."""
    return [program for tag, program in blocks(text) if tag == "python"]
