"""Clients of a live run's endpoint, and what each of them saw."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import anyio
import httpx

from azr.errors import EngineError
from azr.serve.live_record import Answer
from azr.types import PolicyVersion

PATIENCE_SECONDS = 300.0
PROMPT = "solve deduction\n```python\ndef f(x):\n    return x + {}\n```\n```input\n3\n```\n<think>"


@dataclass(eq=False)
class Load:
    """Clients that ask again as soon as they are answered; every other request streams."""

    url: str
    clients: int
    max_tokens: int
    answers: list[Answer]
    """Theirs, in the order of their ends."""

    def __post_init__(self) -> None:
        self._numbers = itertools.count()

    async def warm_up(self) -> None:
        """A whole answer and a stream: what is imported for the first of them belongs to no
        measurement. Raises EngineError if one fails."""
        async with httpx.AsyncClient(base_url=self.url, timeout=PATIENCE_SECONDS) as http:
            for _ in range(2):
                answer = await self._asked(http, next(self._numbers))
                if not answer.is_good:
                    raise EngineError(f"the endpoint answered {answer.status}: {answer.error}")

    async def until(self, enough: anyio.Event) -> None:
        """Ask until it is enough, and hear every answer that was asked for."""
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        async with (
            httpx.AsyncClient(base_url=self.url, timeout=PATIENCE_SECONDS, limits=limits) as http,
            anyio.create_task_group() as clients,
        ):

            async def client() -> None:
                while not enough.is_set():
                    self.answers.append(await self._asked(http, next(self._numbers)))

            for _ in range(self.clients):
                clients.start_soon(client)

    async def _asked(self, http: httpx.AsyncClient, number: int) -> Answer:
        body = {
            "model": "azr",
            "prompt": PROMPT.format(number),  # a text of its own: nothing is found in a cache
            "max_tokens": self.max_tokens,
            "ignore_eos": True,
            "stream": number % 2 == 1,
        }
        sent_at = time.monotonic()
        try:
            answer = await http.post("/v1/completions", json=body)
        except httpx.HTTPError as error:
            said = f"{type(error).__name__} {error}"
            return Answer(sent_at=sent_at, ended_at=time.monotonic(), status=0, error=said)
        return seen(answer.status_code, answer.headers, answer.text, at=(sent_at, time.monotonic()))


def seen(status: int, headers: Mapping[str, str], text: str, *, at: tuple[float, float]) -> Answer:
    """An answer as its client understands it. `at`: when it was sent and when it ended."""
    replica = headers.get("x-azr-replica", "")
    streams = headers.get("content-type", "").startswith("text/event-stream")
    error, versions = "", ()
    try:
        documents = list(_events(text)) if streams else [json.loads(text)]
        broken = [document["error"]["message"] for document in documents if "error" in document]
        error = str(broken[0]) if broken else ""
        versions = _versions(documents)
    except (ValueError, KeyError, TypeError) as malformed:
        error = f"an answer that cannot be read: {malformed}"
    if status == HTTPStatus.OK and not error and streams and not text.endswith("data: [DONE]\n\n"):
        error = "a stream that broke off"
    return Answer(
        sent_at=at[0],
        ended_at=at[1],
        status=status,
        replica=replica,
        versions=versions,
        error=error,
    )


def _events(text: str) -> Iterator[dict[str, Any]]:
    """The JSON documents of server-sent events. Raises ValueError."""
    for line in text.splitlines():
        data = line.removeprefix("data: ")
        if data not in (line, "[DONE]"):
            yield json.loads(data)


def _versions(documents: list[dict[str, Any]]) -> tuple[PolicyVersion, ...]:
    """Who sampled the tokens, one after the other, then who the end of the answer names."""
    last = documents[-1] if documents else {}
    spans = sorted(last.get("policy_spans", ()), key=lambda span: span["start"])
    named = [document["policy_version"] for document in documents if "policy_version" in document]
    return (*(span["version"] for span in spans), *named[-1:])
