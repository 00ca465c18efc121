"""Block-diagonal causal attention over packed rows, registered with transformers.

transformers' own packed mode builds one S x S mask, so its cost grows with the square of
the micro-batch; attending row by row costs the sum of the rows' squares and needs no
mask, which keeps torch's fused causal kernels in use on CPU and CUDA alike.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

ROW_ATTENTION = "azr_rows"
"""Name for `attn_implementation`. No mask function is registered under it, so
transformers builds no mask."""


def attend_by_row(
    module: nn.Module,  # noqa: ARG001 -- the interface's signature
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,  # noqa: ARG001
    *,
    scaling: float | None = None,
    sliding_window: int | None = None,
    row_lengths: Sequence[int] | None = None,
    **_options: object,
) -> tuple[Tensor, None]:
    """Causal attention within each row of a packed [1, heads, S, head size] input.

    There is no dropout: it would make the current policy another one than the policy that
    is served, and the ratio between them noise.

    Args:
        module: the attention layer; unused.
        query: [1, heads, S, head size].
        key: [1, key/value heads, S, head size].
        value: as `key`.
        attention_mask: ignored; rows are all there is to mask.
        scaling: of the scores; torch's default if None.
        sliding_window: how far back a token sees, itself included.
        row_lengths: inputs per row, summing to S; None means one row.

    Returns:
        [1, S, heads, head size] and no attention weights.
    """
    lengths = list(row_lengths) if row_lengths is not None else [query.shape[2]]
    grouped = key.shape[1] != query.shape[1]
    if grouped:  # repeating is exact and as fast as enable_gqa on CPU
        repeats = query.shape[1] // key.shape[1]
        key, value = (x.repeat_interleave(repeats, dim=1) for x in (key, value))
    rows = [
        scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=_window(q, sliding_window),
            is_causal=not _cuts(q, sliding_window),
            scale=scaling,
        )
        # split, not slices: its backward is one concatenation
        for q, k, v in zip(*(x.split(lengths, dim=2) for x in (query, key, value)), strict=True)
    ]
    return torch.cat(rows, dim=2).transpose(1, 2).contiguous(), None


def _cuts(query: Tensor, sliding_window: int | None) -> bool:
    return sliding_window is not None and query.shape[2] > sliding_window


def _window(query: Tensor, sliding_window: int | None) -> Tensor | None:
    """[T, T] bool mask of a sliding window that is shorter than the row."""
    if sliding_window is None or not _cuts(query, sliding_window):
        return None
    size = query.shape[2]
    ones = torch.ones(size, size, dtype=torch.bool, device=query.device)
    return ones.tril().triu(1 - sliding_window)


def register() -> None:
    """Make `ROW_ATTENTION` known to transformers; idempotent."""
    AttentionInterface.register(ROW_ATTENTION, attend_by_row)
