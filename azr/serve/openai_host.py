"""OpenAI's protocol over a live replica, by vLLM's own serving classes.

They render prompts, check parameters, and word whole answers and streams. Added here: the
policy version in every answer, and errors as values.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from http import HTTPStatus
from typing import Any

from pydantic import ValidationError
from vllm.entrypoints.openai.chat_completion.protocol import (
    ChatCompletionRequest,
    ChatCompletionResponse,
)
from vllm.entrypoints.openai.chat_completion.serving import OpenAIServingChat
from vllm.entrypoints.openai.completion.protocol import CompletionRequest, CompletionResponse
from vllm.entrypoints.openai.completion.serving import OpenAIServingCompletion
from vllm.entrypoints.openai.models.protocol import BaseModelPath
from vllm.entrypoints.openai.models.serving import OpenAIServingModels
from vllm.entrypoints.serve import create_error_response
from vllm.entrypoints.serve.engine.protocol import ErrorResponse
from vllm.exceptions import VLLMError
from vllm.renderers.online_renderer import OnlineRenderer
from vllm.v1.engine.exceptions import EngineDeadError

from azr.engine.replica import VllmReplica
from azr.errors import EngineError
from azr.serve.allowance import Allowance
from azr.serve.policy import MODEL, Ask, Head, Kind, Whole
from azr.serve.refusal import RefusedError, unavailable
from azr.serve.served_engine import Record, ServedEngine, recording
from azr.serve.share import Share

log = logging.getLogger(__name__)

JOINED_MESSAGES = (
    "{% for message in messages %}{{ message['content'] }}"
    "{% if not loop.last %}\n{% endif %}{% endfor %}"
)
"""For a tokenizer without a chat template: a base model reads one text."""
EVENT_STREAM = "text/event-stream"
_FAILED = 'data: {"error"'

type _Answer = AsyncGenerator[str] | ChatCompletionResponse | CompletionResponse | ErrorResponse


class OpenAIHost:
    """Answers for one replica."""

    def __init__(
        self,
        replica: VllmReplica,
        share: Share,
        allowance: Allowance,
        *,
        stream_interval_seconds: float,
    ) -> None:
        self._replica = replica
        self._share = share
        self._interval_seconds = stream_interval_seconds
        engine = ServedEngine(replica, share, allowance)
        client = engine.as_client
        models = OpenAIServingModels(
            client, [BaseModelPath(name=MODEL, model_path=str(engine.model_config.model))]
        )
        template = _template(replica)
        renderer = OnlineRenderer(
            model_config=engine.model_config,
            renderer=engine.renderer,
            request_logger=None,
            chat_template=template,
            chat_template_content_format="string",
        )
        self._chat = OpenAIServingChat(
            client,
            models,
            "assistant",
            online_renderer=renderer,
            request_logger=None,
            chat_template=template,
            chat_template_content_format="string",
        )
        self._completion = OpenAIServingCompletion(
            client, models, online_renderer=renderer, request_logger=None
        )

    async def whole(self, ask: Ask) -> Whole:
        """Answer in one piece; what cannot be answered is an answer with another status."""
        try:
            with recording() as record:
                answer = await self._made(ask)
            if isinstance(answer, ErrorResponse):
                raise _refusal(answer)
            if isinstance(answer, AsyncGenerator):
                raise TypeError("vLLM streams what was not asked to be streamed")
        except RefusedError as refusal:
            return Whole(head=self._refused(refusal), body=refusal.body)
        answer.model = ask.model
        version = self._replica.version if record.version is None else record.version
        head = Head(replica=self._replica.name, version=version)
        body = _with_policy(answer.model_dump_json(), version, record)
        return Whole(head=head, body=body.encode(), num_tokens=record.num_tokens)

    async def stream(self, ask: Ask) -> AsyncGenerator[Head | bytes]:
        """A Head, then events; a request that fails before its first token gets its status."""
        try:
            with recording() as record:
                answer = await self._made(ask)
            if isinstance(answer, ErrorResponse):
                raise _refusal(answer)
            if not isinstance(answer, AsyncGenerator):
                raise TypeError("vLLM does not stream what was asked to be streamed")
            version = self._replica.version
            async with aclosing(answer) as events:
                first = await anext(events)
                if first.startswith(_FAILED):
                    raise _refusal_in_stream(first)
                yield Head(media_type=EVENT_STREAM, replica=self._replica.name, version=version)
                yield self._event(first, ask, record)
                async with aclosing(self._paced(events, ask, record)) as pieces:
                    async for piece in pieces:
                        yield piece
        except RefusedError as refusal:
            yield self._refused(refusal)
            yield refusal.body

    async def _made(self, ask: Ask) -> _Answer:
        """The answer of vLLM. Raises RefusedError for what it refuses, or if nobody can answer."""
        try:
            if ask.kind is Kind.CHAT:
                request = ChatCompletionRequest.model_validate(_fields(ask))
                self._share.check(request.n or 1)
                return await self._chat.create_chat_completion(request)
            request = CompletionRequest.model_validate(_fields(ask))
            self._share.check(request.n * _num_prompts(request))
            return await self._completion.create_completion(request)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"][:2])
            raise RefusedError(400, first["msg"], param=where or None) from None
        except (EngineDeadError, EngineError) as error:
            raise unavailable(str(error)) from None
        except RefusedError:
            raise
        except (VLLMError, ValueError, TypeError, OverflowError, NotImplementedError) as error:
            # What vLLM's own server maps to statuses, by the same function.
            raise _refusal(create_error_response(error)) from None

    async def _paced(
        self, events: AsyncGenerator[str], ask: Ask, record: Record
    ) -> AsyncGenerator[bytes]:
        """Events that follow each other faster than the interval leave together."""
        waiting: list[bytes] = []
        left_at = time.monotonic()
        async for event in events:
            waiting.append(self._event(event, ask, record))
            if (now := time.monotonic()) - left_at >= self._interval_seconds:
                yield b"".join(waiting)
                waiting, left_at = [], now
        if waiting:
            yield b"".join(waiting)

    def _event(self, event: str, ask: Ask, record: Record) -> bytes:
        """The event with the policy in it, unless it is no JSON object or an error."""
        if not event.startswith("data: {") or event.startswith(_FAILED):
            return event.encode()
        document = event[len("data: ") : -2]
        if ask.model != MODEL:
            # No text can hold these characters: quotes inside JSON strings are escaped.
            document = document.replace(f'"model":"{MODEL}"', f'"model":"{ask.model}"', 1)
        return f"data: {_with_policy(document, self._replica.version, record)}\n\n".encode()

    def _refused(self, refusal: RefusedError) -> Head:
        return Head(status=refusal.status, replica=self._replica.name, headers=refusal.headers)


def _with_policy(document: str, version: int, record: Record) -> str:
    """A JSON object with two more fields: the version, and the spans of choices that ended."""
    more = f',"policy_version":{version}'
    if record.spans:
        spans = [
            {
                "choice": choice,
                "version": span.version,
                "lineage": span.lineage,
                "start": span.start,
                "end": span.end,
            }
            for choice, span in record.spans
        ]
        more += f',"policy_spans":{json.dumps(spans)}'
    return f"{document[:-1]}{more}}}"


def _fields(ask: Ask) -> dict[str, Any]:
    # An id of our own: a repeated one would be the same request to vLLM.
    return {**ask.fields, "model": MODEL, "request_id": uuid.uuid4().hex}


def _num_prompts(request: CompletionRequest) -> int:
    prompt = request.prompt
    if isinstance(prompt, list) and prompt and isinstance(prompt[0], list | str):
        return len(prompt)
    return 1


def _template(replica: VllmReplica) -> str | None:
    tokenizer = replica.llm.get_tokenizer()
    return None if getattr(tokenizer, "chat_template", None) else JOINED_MESSAGES


def _refusal(answer: ErrorResponse) -> RefusedError:
    error = answer.error
    return RefusedError(int(error.code), error.message, param=error.param)


def _refusal_in_stream(event: str) -> RefusedError:
    error = json.loads(event[len("data: ") :])["error"]
    return RefusedError(int(error.get("code") or HTTPStatus.BAD_REQUEST), error["message"])
