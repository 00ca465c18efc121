"""What the endpoint may ask of a node of a live run: its replica, a share of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from anyio.to_thread import run_sync

from azr.engine.replica import VllmReplica
from azr.errors import EngineError
from azr.serve.metered import metered

if TYPE_CHECKING:
    from actors.shared import Shared
    from azr.serve.host import PolicyHost
    from azr.serve.policy import Ask, Head


class NodeEndpoint:
    """Answers beside the rollouts; made when it is first asked."""

    def __init__(self) -> None:
        self._of: VllmReplica | None = None
        self._host: PolicyHost | None = None

    async def ask(self, shared: Shared, method: str, arguments: tuple[Any, ...]) -> Any:  # noqa: ANN401
        """One of `azr.serve.policy.Policies`. Raises EngineError without a replica."""
        host = await self._ready(shared)
        known = {"whole": host.whole, "sample": host.sample, "facts": host.facts}
        if method not in known:
            raise EngineError(f"a node is not asked for {method!r} from outside")
        return await metered(known[method](*arguments), host.allowance.handled)

    async def stream(self, shared: Shared, ask: Ask) -> AsyncGenerator[Head | bytes]:
        """See `azr.serve.policy.Policies`."""
        host = await self._ready(shared)
        async with aclosing(host.stream(ask)) as pieces:
            note = host.allowance.handled
            while (piece := await metered(anext(pieces, None), note)) is not None:
                yield piece

    async def _ready(self, shared: Shared) -> PolicyHost:
        if shared.replica.now is None:
            raise EngineError(f"{shared.owner} has no replica open")
        await run_sync(_import_protocol)  # seconds, the first time
        from azr.model_path import resolve_model  # noqa: PLC0415
        from azr.serve.host import PolicyHost  # noqa: PLC0415 -- pulls in vLLM's servers
        from azr.serve.shelf import Shelf  # noqa: PLC0415

        replica = shared.replica.now
        if replica is None:
            raise EngineError(f"{shared.owner} has no replica open")
        if self._host is None or self._of is not replica:
            shelf = Shelf(
                base=resolve_model(shared.config.run.model),
                checkpoints=shared.directory.checkpoints.absolute(),
            )
            self._of = replica
            self._host = PolicyHost(replica, shared.config, shelf, is_own=False)
        return self._host


def _import_protocol() -> None:
    import azr.learner.checkpoint  # noqa: PLC0415
    import azr.serve.host  # noqa: F401, PLC0415
