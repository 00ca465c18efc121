"""The adversarial corpus: named programs by theme, each with what the jail must make of it."""

from __future__ import annotations

from . import compiler, escape, exhaustion, forgery, honest, injection, nondeterminism, policy
from .case import Case, Theme

THEMES: tuple[Theme, ...] = tuple(
    module.theme
    for module in (escape, policy, exhaustion, compiler, forgery, injection, nondeterminism, honest)
)
CASES: tuple[Case, ...] = tuple(case for theme in THEMES for case in theme.cases)
HOSTILE: tuple[Case, ...] = tuple(
    case for theme in THEMES if theme is not honest.theme for case in theme.cases
)

__all__ = ["CASES", "HOSTILE", "THEMES", "Case"]
