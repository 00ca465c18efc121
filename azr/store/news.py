"""News: what a transaction may have made possible for whoever waits.

On PostgreSQL a commit tells the other processes of the run (`azr.store.postgres`);
on SQLite, the database of one process, there is nobody to tell. News is a hint:
losing it costs a waiting actor one poll, nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class News(StrEnum):
    CAPACITY = "capacity"
    """A batch left the pipeline: more may be admitted."""
    ATTEMPTS = "attempts"
    """A task may need solver attempts."""
    GENERATED = "generated"
    """A rollout waits to be judged."""
    READY = "ready"
    """A reward became final."""
    PHASE = "phase"
    """The run went on to its next phase."""


def channel(run_id: int) -> str:
    """The notification channel of a run."""
    return f"azr_run_{run_id}"


def message(sender: str, news: Iterable[News]) -> str:
    """The payload of a notification; empty if there is nothing to tell."""
    words = ",".join(sorted(news))
    return f"{sender} {words}" if words else ""


def heard(payload: str, *, ignoring: str) -> frozenset[News]:
    """The news of a payload, but for one's own and the words of a newer version."""
    sender, _, words = payload.partition(" ")
    known = {news.value: news for news in News}
    if sender == ignoring:
        return frozenset()
    return frozenset(known[word] for word in words.split(",") if word in known)
