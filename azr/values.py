"""Canonical values: placeholder signatures until the implementation lands."""

from __future__ import annotations

from azr.types import Value


def literal(value: Value) -> str:
    raise NotImplementedError
