"""What Ray says when Serve is taken down, and a terminal is spared."""

from __future__ import annotations

import os

SKIPPED = "There are infinite retries remaining, so the task will be retried"
"""Of calls that wait for Serve's controller while it ends, as it was told to; nothing is
retried, because the actor is gone for good."""


def spare_the_terminal() -> None:
    """Before Ray is imported, which reads this once."""
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", SKIPPED)
