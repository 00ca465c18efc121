"""The files for clusters: they parse, they keep Ray's schema, and they are not careless."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "configs" / "cluster"
MANIFESTS = sorted(FOLDER.glob("*.yaml"))
LAUNCHERS = ("on-premise.yaml", "aws.yaml")
GUIDE = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / name).read_text(encoding="utf-8")))


def ray_schema() -> dict[str, Any]:
    """Of the installed Ray, whose import would take seconds."""
    found = importlib.util.find_spec("ray")
    assert found is not None
    assert found.submodule_search_locations
    [package] = found.submodule_search_locations
    return json.loads((Path(package) / "autoscaler" / "ray-schema.json").read_text())


def every(key: str, tree: object) -> Iterator[Any]:
    """All values under a key, at any depth."""
    if isinstance(tree, dict):
        for name, value in tree.items():
            if name == key:
                yield value
            yield from every(key, value)
    elif isinstance(tree, list):
        for value in tree:
            yield from every(key, value)


def kind(name: str) -> dict[str, Any]:
    [found] = [each for each in documents("kuberay.yaml") if each["kind"] == name]
    return found


def starts(name: str) -> list[str]:
    """The commands of a launcher file or of the compose file that start Ray."""
    [tree] = documents(name)
    commands = [*every("command", tree)]
    for key in ("head_start_ray_commands", "worker_start_ray_commands"):
        commands += tree.get(key, [])
    return [command for command in commands if "ray start" in command]


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_every_file_parses(path: Path):
    assert all(isinstance(each, dict) for each in documents(path.name))


@pytest.mark.parametrize("name", LAUNCHERS)
def test_launcher_files_keep_rays_schema(name: str):
    [tree] = documents(name)
    jsonschema.validate(tree, ray_schema())


def test_the_on_premise_file_leaves_node_types_to_ray():
    [tree] = documents("on-premise.yaml")
    assert not {"available_node_types", "head_node_type"} & set(tree)
    assert len({tree["provider"]["head_ip"], *tree["provider"]["worker_ips"]}) == 4


def test_the_cloud_file_keeps_four_machines():
    [tree] = documents("aws.yaml")
    worker = tree["available_node_types"]["worker"]
    assert worker["min_workers"] == worker["max_workers"] == tree["max_workers"] == 3
    assert tree["head_node_type"] in tree["available_node_types"]


@pytest.mark.parametrize("name", LAUNCHERS)
def test_launched_machines_ask_for_the_token(name: str):
    [tree] = documents(name)
    assert ("~/.ray/auth_token", "~/.ray/auth_token") in tree["file_mounts"].items()
    assert all(Path(remote).name in ("auth_token", ".pgpass") for remote in tree["file_mounts"])
    assert len(starts(name)) == 2
    assert all("RAY_AUTH_MODE=token" in command for command in starts(name))


def test_containers_ask_for_the_token():
    assert kind("RayCluster")["spec"]["authOptions"] == {"mode": "token"}
    [compose] = documents("compose.yaml")
    for name in ("head", "node"):
        environment = compose["services"][name]["environment"]
        assert environment["RAY_AUTH_MODE"] == "token"
        assert environment["RAY_AUTH_TOKEN"].startswith("${RAY_AUTH_TOKEN:?")


def test_no_dashboard_listens_to_the_network():
    heads = [command for name in (*LAUNCHERS, "compose.yaml") for command in starts(name)]
    heads = [command for command in heads if "--head" in command]
    assert len(heads) == 3
    assert all("--dashboard-host=127.0.0.1" in command for command in heads)
    parameters = kind("RayCluster")["spec"]["headGroupSpec"]["rayStartParams"]
    assert parameters["dashboard-host"] == "127.0.0.1"


def test_no_file_holds_a_password():
    for path in MANIFESTS:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"://\w+:[^@\s]+@", text)
        for name in ("PASSWORD", "RAY_AUTH_TOKEN"):
            for value in re.findall(rf"^ *\w*{name}: (\S+)", text, flags=re.MULTILINE):
                assert value.startswith("${")
    secrets = [
        *every("secretKeyRef", kind("RayCluster")),
        *every("secretKeyRef", kind("StatefulSet")),
    ]
    assert {(each["name"], each["key"]) for each in secrets} == {("azr-database", "password")}


def test_pods_let_the_jail_start_and_are_otherwise_unprivileged():
    groups = [kind("RayCluster")["spec"]["headGroupSpec"]]
    groups += kind("RayCluster")["spec"]["workerGroupSpecs"]
    for group in groups:
        pod = group["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"]
        for container in pod["containers"]:
            security = container["securityContext"]
            assert security["seccompProfile"] == {"type": "Unconfined"}
            assert security["appArmorProfile"] == {"type": "Unconfined"}
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert not security["allowPrivilegeEscalation"]
            assert {mount["mountPath"] for mount in container["volumeMounts"]} >= {"/runs"}


def test_compose_containers_do_the_same():
    [compose] = documents("compose.yaml")
    for name in ("head", "node"):
        service = compose["services"][name]
        assert service["cap_drop"] == ["ALL"]
        assert set(service["security_opt"]) == {
            "no-new-privileges:true",
            "seccomp:unconfined",
            "apparmor:unconfined",
        }
        assert "privileged" not in service
        assert service["volumes"] == ["runs:/runs"]
    assert compose["services"]["node"]["deploy"]["replicas"] == 3
    assert not any("ports" in service for service in compose["services"].values())


def test_manifests_name_the_ray_that_is_locked():
    assert kind("RayCluster")["spec"]["rayVersion"] == importlib.metadata.version("ray")


def test_pods_are_spread_over_machines():
    [head] = every("template", kind("RayCluster")["spec"]["headGroupSpec"])
    [[rule]] = every("requiredDuringSchedulingIgnoredDuringExecution", head)
    assert rule["topologyKey"] == "kubernetes.io/hostname"
    assert head["metadata"]["labels"] == rule["labelSelector"]["matchLabels"]


def test_the_container_file_builds_what_the_makefile_sets_up():
    text = (FOLDER / "Containerfile").read_text(encoding="utf-8")
    assert re.search(r"^ARG EXTRA=cpu$", text, flags=re.MULTILINE)
    assert "make setup EXTRA=${EXTRA}" in text
    python = (ROOT / ".python-version").read_text().strip()
    assert f"python:{python}-slim" in text
    assert re.search(r"^USER azr$", text, flags=re.MULTILINE)
    for source in re.findall(r"^COPY --chown=azr:azr (.+) \S+$", text, flags=re.MULTILINE):
        assert all((ROOT / name).exists() for name in source.split())
    libraries = re.search(r"^LIBRARIES := (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert libraries
    assert all(pair.partition(":")[2] in text for pair in libraries[1].split())


def test_the_guide_names_every_file_and_every_fixed_port():
    names = [path.name.removesuffix(".dockerignore") for path in FOLDER.iterdir()]
    assert [name for name in names if name not in GUIDE] == []
    ports = set(re.findall(r"port=(\d+)", " ".join(starts("on-premise.yaml"))))
    assert len(ports) == 5
    assert [port for port in ports if port not in GUIDE] == []


def test_links_of_the_guide_lead_somewhere():
    links = re.findall(r"\]\((?!https?:)([^)#]+)", GUIDE)
    assert links
    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []
