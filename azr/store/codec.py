"""Completions as rows: compact blobs for numbers, plain text for people.

Ids are little-endian int32 under zstd-3 (a third of the raw size); log-probs do
not compress and stay raw, float32 or float16 (`store.logprob_dtype`; float16 errs
by up to 0.4 % in a token's probability). Spans are JSON, because people read them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import zstandard

from azr.types import Completion, FinishReason, VersionSpan

type LogprobDtype = Literal["float32", "float16"]

ZSTD_LEVEL = 3
PRUNED = "pruned"
"""The `codec` of a payload whose token arrays were dropped; text and spans remain."""
_LOGPROB_FORMS: dict[str, str] = {"float32": "<f4", "float16": "<f2"}


def codec_name(dtype: LogprobDtype) -> str:
    """What the `codec` column says about a payload's blobs."""
    return f"int32+zstd/{dtype}"


def encode_ids(ids: Sequence[int]) -> bytes:
    return zstandard.compress(np.asarray(ids, dtype="<i4").tobytes(), ZSTD_LEVEL)


def decode_ids(blob: bytes) -> tuple[int, ...]:
    return tuple(np.frombuffer(zstandard.decompress(blob), dtype="<i4").tolist())


def encode_logprobs(values: Sequence[float], dtype: LogprobDtype) -> bytes:
    return np.asarray(values, dtype=_LOGPROB_FORMS[dtype]).tobytes()


def decode_logprobs(blob: bytes, codec: str) -> tuple[float, ...]:
    form = _LOGPROB_FORMS[codec.rpartition("/")[2]]
    return tuple(np.frombuffer(blob, dtype=form).astype(np.float64).tolist())


def storable(text: str) -> str:
    """The text with lone surrogates replaced: no database encoding has them."""
    return text.encode(errors="replace").decode()


def finite(metrics: Mapping[str, float]) -> dict[str, float | None]:
    """Plain floats; what is not finite becomes None, which SQL and JSON can hold."""
    values = {name: float(value) for name, value in metrics.items()}
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def encode_payload(completion: Completion, dtype: LogprobDtype) -> dict[str, Any]:
    """Column values of `rollout_payload`, but for the rollout's id."""
    return {
        "codec": codec_name(dtype),
        "prompt_token_ids": encode_ids(completion.prompt_token_ids),
        "token_ids": encode_ids(completion.token_ids),
        "behaviour_logprobs": encode_logprobs(completion.behaviour_logprobs, dtype),
        "version_spans": [
            [span.version, span.start, span.end, span.lineage] for span in completion.version_spans
        ],
        "text": storable(completion.text),
    }


def decode_payload(row: Mapping[str, Any], finish_reason: FinishReason) -> Completion:
    """The completion of a `rollout_payload` row."""
    return Completion(
        prompt_token_ids=decode_ids(row["prompt_token_ids"]),
        token_ids=decode_ids(row["token_ids"]),
        behaviour_logprobs=decode_logprobs(row["behaviour_logprobs"], row["codec"]),
        version_spans=tuple(VersionSpan(*span) for span in row["version_spans"]),
        text=row["text"],
        finish_reason=finish_reason,
    )
