"""The host side: everything that the door may ask of one replica.

A replica of the endpoint's own changes its weights to the version that a request pins
(`azr.serve.turns`); a live run's replica has the version that the run trains, and no other.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing

from anyio.to_thread import run_sync

from azr.config import RunConfig
from azr.engine.replica import VllmReplica
from azr.errors import EngineError, RunDirectoryError
from azr.serve.allowance import Allowance, look_at
from azr.serve.openai_host import OpenAIHost
from azr.serve.policy import Ask, Head, PolicyFacts, Sampled, Whole, pinned_version
from azr.serve.refusal import RefusedError
from azr.serve.share import Share
from azr.serve.shelf import Shelf, not_kept, not_pinned
from azr.serve.turns import Turns
from azr.types import PolicyVersion, SamplingRequest


class PolicyHost:
    """`azr.serve.policy.Policies` over a replica in this process."""

    def __init__(
        self, replica: VllmReplica, config: RunConfig, shelf: Shelf, *, is_own: bool
    ) -> None:
        """`is_own`: the replica is the endpoint's, which may change its weights."""
        serve = config.serve
        self._replica = replica
        self._shelf = shelf
        self._home = replica.version
        share = 1.0 if is_own else serve.max_share
        self._share = Share(config.engine.max_sequences, share)
        self.allowance = Allowance(share, look_at(replica.activity))
        self._openai = OpenAIHost(
            replica,
            self._share,
            self.allowance,
            stream_interval_seconds=serve.stream_interval_ms / 1000,
        )
        self._turns = (
            Turns(replica.version, self._load, hold_seconds=serve.turn_seconds) if is_own else None
        )

    async def whole(self, ask: Ask) -> Whole:
        """See `Policies`."""
        try:
            async with AsyncExitStack() as held:
                await self._hold(held, ask.pin)
                return await self._openai.whole(ask)
        except RefusedError as refusal:
            return Whole(head=_head(refusal), body=refusal.body)

    async def stream(self, ask: Ask) -> AsyncGenerator[Head | bytes]:
        """See `Policies`."""
        async with AsyncExitStack() as held:
            try:
                await self._hold(held, ask.pin)
            except RefusedError as refusal:
                yield _head(refusal)
                yield refusal.body
                return
            async with aclosing(self._openai.stream(ask)) as pieces:
                async for piece in pieces:
                    yield piece

    async def sample(self, request: SamplingRequest, model: str) -> Sampled:
        """See `Policies`."""
        async with AsyncExitStack() as held:
            await self._hold(held, pinned_version(model))
            await self.allowance.admitted()
            await held.enter_async_context(self._share.taken(1))
            with self.allowance.sampling(1):
                [completion] = await self._replica.sample([request])
            return Sampled(completion, self._replica.name)

    async def facts(self) -> PolicyFacts:
        """See `Policies`."""
        kept = await run_sync(self._shelf.kept)
        return PolicyFacts(
            version=self._home if self._turns else self._replica.version,
            kept=tuple(kept),
            pins=self._turns is not None,
            max_length_tokens=self._replica.llm.model_config.max_model_len,
            replicas={self._replica.name: self._replica.version},
        )

    def check_alive(self) -> None:
        """Raises EngineError once vLLM has died."""
        if self._replica.llm.errored:
            raise EngineError("the vLLM engine died")

    async def _hold(self, held: AsyncExitStack, pin: PolicyVersion | None) -> None:
        """Have the asked version in service until `held` ends. Raises RefusedError."""
        if self._turns is not None:
            version = self._home if pin is None else pin
            if version != self._turns.current:  # before anybody has to wait for it
                await run_sync(self._known, version)
            await held.enter_async_context(self._turns.turn(version))
        elif pin is not None:
            kept = tuple(await run_sync(self._shelf.kept))
            raise (not_pinned if pin in kept else not_kept)(pin, kept)

    def _known(self, version: PolicyVersion) -> None:
        if version not in (kept := self._shelf.kept()):
            raise not_kept(version, tuple(kept))

    async def _load(self, version: PolicyVersion) -> None:
        try:
            folder = await run_sync(self._shelf.folder, version)
        except RunDirectoryError as error:
            raise RefusedError(409, str(error), code="checkpoint_damaged", param="model") from None
        await self._replica.load(folder, version)


def _head(refusal: RefusedError) -> Head:
    return Head(status=refusal.status, headers=refusal.headers)
