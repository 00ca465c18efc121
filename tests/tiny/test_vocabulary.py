"""The tokenizer: any text survives, known fragments are single tokens."""

import itertools

from transformers import AutoTokenizer, PreTrainedTokenizerFast

from azr.tiny import model_path
from azr.tiny.samples import generate_samples
from azr.tiny.vocabulary import EOS, PAD, build_tokenizer, fragments

ODD_TEXTS = (
    "",
    "Hello  world\t\n\n x",
    "def g(z):\n\treturn {'k': 1.5}",
    "".join(map(chr, range(1, 128))),
    "Grüße ☃ 𝄞",
    "<eo s> </think><answer>```python\n```",
)


def test_any_text_round_trips():
    tokenizer = build_tokenizer()
    for text in ODD_TEXTS:
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_training_texts_round_trip_and_split_where_the_response_starts():
    tokenizer = build_tokenizer()
    for sample in itertools.islice(generate_samples(0), 200):
        parts = tokenizer(sample.prompt)["input_ids"] + tokenizer(sample.response)["input_ids"]
        assert tokenizer.decode(parts) == sample.prompt + sample.response


def test_a_digit_is_one_token():
    tokenizer = build_tokenizer()
    assert len(tokenizer("1234567890")["input_ids"]) == 10


def test_every_fragment_is_one_token():
    tokenizer = build_tokenizer()
    for fragment in fragments():
        assert len(tokenizer(fragment)["input_ids"]) == 1, fragment


def test_the_shipped_tokenizer_is_the_built_one():
    built, shipped = build_tokenizer(), AutoTokenizer.from_pretrained(model_path())
    assert isinstance(shipped, PreTrainedTokenizerFast)
    assert shipped.get_vocab() == built.get_vocab()
    assert (shipped.eos_token, shipped.pad_token) == (EOS, PAD)
    for sample in itertools.islice(generate_samples(1), 20):
        assert shipped(sample.prompt)["input_ids"] == built(sample.prompt)["input_ids"]
