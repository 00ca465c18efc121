"""Files are fetched whole, checked and from where they broke off, or refused with a reason."""

from __future__ import annotations

import gzip
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from azr.benchmarks.catalogue import BenchmarkFile
from azr.benchmarks.fetching import HUB, fetch
from azr.errors import InputError
from tests.benchmarks.data_hub import COMMIT, DATA_SET, DataHub, data_hub

ROWS = b"".join(b'{"id": %d}\n' % number for number in range(5_000))
LIBRARY = f"""
import sys
from huggingface_hub import hf_hub_download
for name in ("large.jsonl", "small.jsonl"):
    print(hf_hub_download("{DATA_SET}", name, repo_type="dataset"))
"""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[DataHub]:
    with data_hub() as opened:
        opened.large["large.jsonl"] = ROWS
        opened.small["small.jsonl"] = b'{"id": 1}\n' * 50
        monkeypatch.setenv("HF_ENDPOINT", opened.endpoint)
        monkeypatch.setenv("HF_TOKEN", "secret")
        yield opened


def file(name: str, *, num_bytes: int = 0, checksum: str = "") -> BenchmarkFile:
    return BenchmarkFile(
        name=f"set/{name}",
        url=f"{HUB}/datasets/{DATA_SET}/resolve/main/{name}",
        num_bytes=num_bytes,
        checksum=checksum,
    )


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


@pytest.mark.usefixtures("hub")
def test_the_hubs_own_library_takes_this_server_for_a_hub(tmp_path: Path) -> None:
    own = {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", LIBRARY],
        env=os.environ | own,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    large, small = map(Path, done.stdout.splitlines())
    assert large.read_bytes() == ROWS
    assert COMMIT in small.parts


@pytest.mark.parametrize("name", ["large.jsonl", "small.jsonl"])
def test_a_file_comes_from_the_endpoint_and_the_login_goes_nowhere_else(
    name: str, hub: DataHub, tmp_path: Path
) -> None:
    heard: list[int] = []
    found = fetch(file(name), tmp_path, on_bytes=heard.append)
    assert found.read_bytes() == {**hub.large, **hub.small}[name]
    assert sum(heard) == len(found.read_bytes())
    assert names(tmp_path) == [name]
    first, *redirected = [token for *_, token in hub.asked]
    assert first == "Bearer secret"
    assert redirected == [None] * len(redirected)


@pytest.mark.parametrize("name", ["large.jsonl", "small.jsonl"])
def test_a_download_that_broke_off_goes_on_where_it_was(
    name: str, hub: DataHub, tmp_path: Path
) -> None:
    hub.sends_at_most = 100
    for arrived in (100, 200):
        with pytest.raises(InputError, match=rf"broke off after {arrived} of") as caught:
            fetch(file(name), tmp_path)
        assert f"goes on after {arrived} bytes" in caught.value.hint
    assert name not in names(tmp_path)
    hub.sends_at_most = None
    heard: list[int] = []
    content = fetch(file(name), tmp_path, on_bytes=heard.append).read_bytes()
    assert content == {**hub.large, **hub.small}[name]
    assert heard[0] == 200
    assert sum(heard) == len(content)
    assert hub.asked[-1][2] == "bytes=200-"
    assert names(tmp_path) == [name]


def test_a_file_that_changed_meanwhile_begins_again(hub: DataHub, tmp_path: Path) -> None:
    hub.sends_at_most = 100
    with pytest.raises(InputError, match="broke off"):
        fetch(file("large.jsonl"), tmp_path)
    hub.sends_at_most = None
    hub.large["large.jsonl"] = ROWS.replace(b"id", b"no")
    assert fetch(file("large.jsonl"), tmp_path).read_bytes() == hub.large["large.jsonl"]


def test_a_part_that_is_already_whole_is_fetched_again(hub: DataHub, tmp_path: Path) -> None:
    hub.sends_at_most = 100
    with pytest.raises(InputError, match="broke off"):
        fetch(file("large.jsonl"), tmp_path)
    hub.sends_at_most = None
    (tmp_path / "set" / "large.jsonl.part").write_bytes(ROWS)
    assert fetch(file("large.jsonl"), tmp_path).read_bytes() == ROWS


@pytest.mark.parametrize(
    ("name", "said"), [("large.jsonl", "whose sha256 is"), ("small.jsonl", "whose git hash is")]
)
def test_what_was_damaged_on_its_way_is_not_kept(
    name: str, said: str, hub: DataHub, tmp_path: Path
) -> None:
    hub.damages = True
    with pytest.raises(InputError, match=said):
        fetch(file(name), tmp_path)
    assert names(tmp_path) == []
    hub.damages = False
    assert fetch(file(name), tmp_path).exists(), "the next call begins anew"


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize(("num_bytes", "checksum"), [(499, ""), (0, "md5:" + "0" * 32)])
def test_something_else_than_the_catalogue_says_is_not_kept(
    num_bytes: int, checksum: str, tmp_path: Path
) -> None:
    other = file("small.jsonl", num_bytes=num_bytes, checksum=checksum)
    with pytest.raises(InputError, match="not"):
        fetch(other, tmp_path)
    assert names(tmp_path) == []


def test_a_packed_file_is_unpacked_and_checked(hub: DataHub, tmp_path: Path) -> None:
    hub.small["rows.gz"] = gzip.compress(ROWS)
    packed = file(
        "rows.gz", num_bytes=len(ROWS), checksum=f"sha256:{hashlib.sha256(ROWS).hexdigest()}"
    )
    assert fetch(packed, tmp_path).read_bytes() == ROWS
    assert names(tmp_path) == ["rows.gz"]


def test_a_missing_file_is_said_with_where_to_put_it(hub: DataHub, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"other\.jsonl could not be fetched: 404") as caught:
        fetch(file("other.jsonl"), tmp_path)
    assert hub.endpoint in str(caught.value)
    assert str(tmp_path / "set" / "other.jsonl") in caught.value.hint


def test_a_data_set_that_needs_a_login_is_said(
    hub: DataHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.only_for = "another"
    with pytest.raises(InputError, match="401") as caught:
        fetch(file("large.jsonl"), tmp_path)
    assert "hf auth login" in caught.value.hint
    assert "secret" not in f"{caught.value} {caught.value.hint}"
    monkeypatch.setenv("HF_TOKEN", "another")
    assert fetch(file("large.jsonl"), tmp_path).exists()


def test_offline_says_where_to_put_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # the discard port
    with pytest.raises(InputError, match=r"could not be fetched: .*refused") as caught:
        fetch(file("large.jsonl"), tmp_path)
    assert caught.value.hint.startswith("Offline?")
    assert str(tmp_path / "set" / "large.jsonl") in caught.value.hint


def test_an_endpoint_that_is_no_address_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "file:///etc")
    with pytest.raises(InputError, match="is no web address"):
        fetch(file("large.jsonl"), tmp_path)
