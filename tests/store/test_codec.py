import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azr.store.codec import (
    codec_name,
    decode_ids,
    decode_logprobs,
    encode_ids,
    encode_logprobs,
    finite,
)

ids = st.lists(st.integers(0, 2**31 - 1))
logprobs = st.lists(st.floats(-60, 0, width=32))


@given(ids)
def test_ids_survive(values: list[int]) -> None:
    assert decode_ids(encode_ids(values)) == tuple(values)


@given(logprobs)
def test_float32_logprobs_survive_exactly(values: list[float]) -> None:
    blob = encode_logprobs(values, "float32")
    assert decode_logprobs(blob, codec_name("float32")) == tuple(values)


@given(logprobs)
def test_float16_logprobs_survive_to_three_digits(values: list[float]) -> None:
    blob = encode_logprobs(values, "float16")
    assert len(blob) == 2 * len(values)
    decoded = decode_logprobs(blob, codec_name("float16"))
    assert decoded == pytest.approx(tuple(values), rel=1e-3, abs=1e-7)


def test_what_is_not_finite_has_no_number() -> None:
    metrics = {"a": 1, "b": math.nan, "c": math.inf}
    assert finite(metrics) == {"a": 1.0, "b": None, "c": None}
