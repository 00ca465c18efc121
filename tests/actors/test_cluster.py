"""What fails on another node comes back as an error that this one can act on."""

from __future__ import annotations

from typing import Any

import pytest
from ray.exceptions import RayActorError, RayTaskError

from actors.cluster import answered
from azr.errors import EngineError, NodeError


async def raising(error: Exception) -> Any:  # noqa: ANN401
    raise error


def of_task(cause: Exception) -> RayTaskError:
    return RayTaskError("run", "Traceback of the other process", cause)


async def test_an_expected_failure_comes_back_as_itself() -> None:
    with pytest.raises(EngineError, match="no memory"):
        await answered(raising(of_task(EngineError("no memory"))))


async def test_a_bug_on_a_node_is_a_failure_of_that_node_alone() -> None:
    with pytest.raises(NodeError, match=r"unexpectedly: KeyError\('rank'\)"):
        await answered(raising(of_task(KeyError("rank"))))


async def test_a_process_that_is_gone_is_a_failure_of_its_node() -> None:
    with pytest.raises(NodeError, match="its process is gone"):
        await answered(raising(RayActorError()))
