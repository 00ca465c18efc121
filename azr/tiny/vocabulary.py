"""The tiny model's tokenizer: bytes, plus the fragments that its texts are made of.

Text is cut into known fragments, longest first at every position; the rest falls
back to bytes, so that any text survives a round trip. There is nothing to learn
and no merge: a fragment is one token wherever it stands.
"""

from __future__ import annotations

from tokenizers import AddedToken
from tokenizers.pre_tokenizers import ByteLevel
from transformers import Qwen2Tokenizer

from azr.prompts import ANSWER_CLOSE, ANSWER_OPEN, THINK_CLOSE, THINK_OPEN
from azr.task_types import MAIN_TYPES
from azr.tiny.operations import JOININGS, OPERATIONS
from azr.types import Role

EOS, PAD = "<eos>", "<pad>"
CONTEXT_TOKENS = 1024
_BLOCKS = ("python", "input", "output", "message")
_NAMES = ("a", "b", "c", "d", "e", "g", "h", "x")
_CODE = (
    *(" + ", " - ", " * ", " % ", " // ", " > ", " # ", ", ", "def f(a", ", b", "):"),
    *("[::-1]", "[1:]", "[:-1]", "[0]", "[-1]", ".upper()", ".lower()", ".replace('", "', '"),
    *(".count('", "sorted(", "sum(", "len(", "max(", "min(", "abs(", "str(", "')", " + [", "] + "),
    *("[x + ", "[x * ", "[x for x in ", " for x in ", " if x > ", "True", "False", "[b]"),
)


def fragments() -> list[str]:
    """Every multi-character token, in a fixed order."""
    heads = [f"{role} {task_type}" for role in Role for task_type in MAIN_TYPES]
    opened = [f"```{tag}\n" for tag in _BLOCKS]
    closed = ["\n```\n", f"\n```\n{THINK_OPEN}", f"\n```\n{ANSWER_CLOSE}"]
    closed += [f"\n```\n```{tag}\n" for tag in _BLOCKS]
    thinks = [THINK_OPEN, THINK_CLOSE, ANSWER_OPEN, ANSWER_CLOSE, THINK_CLOSE + ANSWER_OPEN]
    thinks += [f"{THINK_CLOSE}{ANSWER_OPEN}```{tag}\n" for tag in _BLOCKS]
    lines = [f"\n{indent}{name} = " for indent in ("    ", " " * 8) for name in _NAMES]
    lines += ["\n    return ", "\n    if ", "\n    for i in range(", "\n    "]
    words = {operation.word for group in OPERATIONS.values() for operation in group}
    words |= {joining.word for joining in JOININGS}
    spoken = sorted(f" {word}" for word in words | {"something", "maybe", "loop", "then"})
    plain = ["first", "nothing", "int", "str", "list", " int", " str", " list", " 10"]
    return list(dict.fromkeys([*heads, *opened, *closed, *thinks, *lines, *_CODE, *spoken, *plain]))


def build_tokenizer() -> Qwen2Tokenizer:
    """The tokenizer, ready for `save_pretrained`.

    It is a Qwen2Tokenizer because AutoTokenizer makes one of any folder whose model is
    a Qwen2, and forces its pre-tokenizer; added tokens are matched before that one.
    """
    symbols = [PAD, EOS, *sorted(ByteLevel.alphabet())]
    tokenizer = Qwen2Tokenizer(
        vocab={symbol: index for index, symbol in enumerate(symbols)},
        merges=[],
        unk_token=EOS,
        eos_token=EOS,
        pad_token=PAD,
        model_max_length=CONTEXT_TOKENS,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in fragments()])
    return tokenizer
