"""How vLLM labels the weights that sampled a token: policy version and lineage.

A run that went back to a checkpoint has two different policies with one version number;
the lineage, which counts the times it went back, tells them apart.
"""

from __future__ import annotations

from azr.types import PolicyVersion, VersionSpan

_SEPARATOR = "/"


def weight_label(version: PolicyVersion, lineage: int) -> str:
    """What vLLM is told: `12`, or `2/12` after the run went back twice."""
    return f"{lineage}{_SEPARATOR}{version}" if lineage else str(version)


def labelled_span(label: str | None, start: int, end: int) -> VersionSpan:
    """Tokens [start, end) of a response, sampled by the weights with this label."""
    lineage, _, version = (label or "0").rpartition(_SEPARATOR)
    return VersionSpan(int(version), start, end, lineage=int(lineage or 0))
