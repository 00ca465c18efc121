"""The door over handles of Ray Serve, and over the nodes of a run; Serve runs in this process."""

from __future__ import annotations

import warnings
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest

from azr import config_files
from azr.errors import EngineError, NodeError
from azr.run_directory import RunDirectory
from azr.serve.asking import Question, ask_endpoint
from azr.serve.policy import Ask, Head, Kind, PolicyFacts, Whole
from azr.serve.refusal import RefusedError
from azr.serve.target import find_target
from tests.serve.echo import Echo

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Ray Serve's own, of pydantic
    from actors.cluster import RayNode
    from actors.serve_app import Listening, door
    from actors.serve_bench import own_server_environment
    from actors.serve_calls import NodePolicies, _streamed

ASK = Ask(kind=Kind.COMPLETION, fields={"prompt": "x"})
KEY = "a-key-for-tests"


class EchoDeployment(Echo):
    """Under Serve, without a model."""

    def __init__(self) -> None:
        super().__init__()

    async def sample(self, request: Any, model: str) -> Any:  # noqa: ANN401
        del request
        raise RefusedError(404, f"no {model}", code="model_not_found")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    from ray import serve

    overrides = ["sandbox.wall_seconds=20", "serve.stream_interval_ms=0"]
    target = find_target("tiny", preset="tiny-cpu", overrides=overrides)
    at = Listening(host="127.0.0.1", port=0, key=KEY, access_log=None)
    echo: Any = serve.deployment(EchoDeployment, name="replica")
    app = door(target).bind(target, at, echo.bind(), None)
    handle = serve.run(app, name="test", route_prefix=None, _local_testing_mode=True)
    yield f"http://127.0.0.1:{handle.port.remote().result(timeout_s=60)}"
    assert handle.close.remote().result(timeout_s=60)
    handle.options(method_name="__del__").remote().result(timeout_s=60)


@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore")
async def test_requests_go_through_the_door_to_a_replica_and_back(url: str):
    headers = {"authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=60) as http:
        whole = await http.post("/v1/completions", json={"prompt": "x"})
        assert (whole.status_code, whole.json()) == (200, {"prompt": "x"})
        assert whole.headers["x-azr-policy-version"] == "5"
        streamed = await http.post("/v1/completions", json={"prompt": "x", "stream": True})
        assert streamed.text == "data: 0\n\ndata: 1\n\ndata: 2\n\n"
        assert (await http.get("/ready")).status_code == 200
        refused = await http.post("/v1/azr/propose", json={"type": "deduction", "references": []})
        assert refused.status_code == 404
        assert refused.json()["error"]["code"] == "model_not_found"
    question = Question(text="x", model="azr", max_tokens=1, temperature=1)
    with pytest.raises(EngineError, match="no endpoint answers"):
        await ask_endpoint(question, "http://127.0.0.1:9", key=None, write=print)


@dataclass(eq=False)
class Node:
    """A node as its handle shows it: calls give what `answers` says, in turn."""

    owner: str
    answers: list[Any]
    asked: int = 0
    endpoint: Any = field(init=False)

    def __post_init__(self) -> None:
        self.endpoint = SimpleNamespace(remote=self._once)

    @property
    def actor(self) -> Any:  # noqa: ANN401
        return self

    async def _once(self, _owner: str, _method: str, _arguments: object) -> Any:  # noqa: ANN401
        self.asked += 1
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def nodes(*found: Node) -> NodePolicies:
    policies = NodePolicies(RunDirectory(cast("Any", None)))
    policies._nodes = {node.owner: cast("RayNode", node) for node in found}
    policies._read_at = float("inf")
    return policies


async def test_a_node_that_dies_is_passed_over_and_two_are_given_up():
    answer = Whole(head=Head(), body=b"here")
    dead, alive = Node("a", [NodeError("gone")]), Node("b", [answer])
    policies = nodes(dead, alive)
    policies._living = lambda: living(dead, alive)
    assert await policies.whole(ASK) is answer
    assert (dead.asked, alive.asked) == (1, 1)
    both = Node("a", [EngineError("no replica")]), Node("b", [NodeError("gone")])
    policies._living = lambda: living(*both)
    with pytest.raises(NodeError):
        await policies.whole(ASK)
    policies._living = lambda: living()
    with pytest.raises(NodeError, match="no node"):
        await policies.whole(ASK)


async def living(*found: Node) -> dict[str, Any]:
    return {node.owner: node for node in found}


async def test_what_a_run_serves_is_what_its_living_nodes_say():
    ours = PolicyFacts(version=7, kept=(0, 5), replicas={"replica-0": 7})
    theirs = PolicyFacts(version=6, kept=(0, 5), replicas={"replica-1": 6})
    found = await nodes(
        Node("a", [ours]), Node("b", [theirs]), Node("c", [EngineError("no replica")])
    ).facts()
    assert (found.version, found.pins) == (7, False)
    assert found.replicas == {"replica-0": 7, "replica-1": 6}


async def test_a_stream_is_begun_again_only_before_its_first_piece():
    begun: list[bool] = []
    cancelled: list[bool] = []

    async def pieces(*, dies_at: int) -> AsyncGenerator[bytes]:
        for number in range(2):
            if number == dies_at:
                raise NodeError("gone")
            yield b"%d" % number

    def begin(dies_at: list[int]) -> Any:  # noqa: ANN401
        def one() -> Any:  # noqa: ANN401
            begun.append(True)
            return pieces(dies_at=dies_at.pop(0)), lambda: cancelled.append(True)

        return one

    assert [piece async for piece in _streamed(begin([0, 9]))] == [b"0", b"1"]
    assert len(begun) == 2
    broken = _streamed(begin([1, 9]))
    assert await anext(broken) == b"0"
    with pytest.raises(NodeError):
        await anext(broken)
    assert cancelled == []


def test_vllms_own_server_has_a_replicas_environment_but_is_no_part_of_a_node():
    config = config_files.load("tiny-cpu", ["engine.device=cpu"])
    present = {"PATH": "/bin", "VLLM_PLUGINS": "azr", "VLLM_CPU_KVCACHE_SPACE": ""}
    found = own_server_environment(config, present)
    assert (found["PATH"], found["OMP_NUM_THREADS"]) == ("/bin", "1")
    not_theirs = {"VLLM_PLUGINS", "VLLM_CPU_KVCACHE_SPACE", "VLLM_ENABLE_V1_MULTIPROCESSING"}
    assert not not_theirs & found.keys()
