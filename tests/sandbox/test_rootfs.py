"""The jail's root: minimal, readable by anyone, written by nobody, built once."""

from __future__ import annotations

import os
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from azr.errors import SandboxUnavailableError
from azr.sandbox import rootfs


def test_a_root_is_built_once_even_by_concurrent_builders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rootfs, "_cache_folder", lambda: tmp_path)
    builds: list[Path] = []

    def build(root: Path) -> None:
        builds.append(root)
        (root / "usr").mkdir()

    monkeypatch.setattr(rootfs, "_build", build)
    with ThreadPoolExecutor(4) as builders:
        roots = {root.path for root in builders.map(lambda _: rootfs.prepare_root(), range(4))}
    assert len(roots) == 1
    assert [path.name for path in tmp_path.iterdir()] == [roots.pop().name]
    made = len(builds)
    rootfs.prepare_root()
    assert len(builds) == made


def test_roots_that_nobody_uses_are_removed_when_another_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rootfs, "_cache_folder", lambda: tmp_path)
    monkeypatch.setattr(rootfs, "_build", lambda root: (root / "usr").mkdir())
    for name, age_days in {"root-old": 31, "root-recent": 29, "building-killed": 31}.items():
        (tmp_path / name).mkdir()
        used = time.time() - age_days * 24 * 3600
        os.utime(tmp_path / name, (used, used))
    root = rootfs.prepare_root().path
    assert {path.name for path in tmp_path.iterdir()} == {"root-recent", root.name}


def test_a_build_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rootfs, "_cache_folder", lambda: tmp_path)
    monkeypatch.setattr(rootfs, "_copy_stdlib", lambda library: library / "x" / 0)
    with pytest.raises(TypeError):
        rootfs.prepare_root()
    assert not list(tmp_path.iterdir())


def test_a_root_holds_an_interpreter_and_nothing_else() -> None:
    root = rootfs.prepare_root().path
    files = [path for path in root.rglob("*") if path.is_file()]
    executable = [path.relative_to(root).parts[:2] for path in files if path.stat().st_mode & 1]
    assert {parts for parts in executable if parts[0] in ("bin", "sbin", "usr")} <= {
        ("usr", "bin"),
        ("usr", "lib"),
        ("usr", "lib64"),
    }
    assert [path.name for path in (root / "usr/bin").iterdir()] == ["python"]
    assert not [path for path in root.rglob("*") if path.is_symlink()]
    for path in (root, *root.rglob("*")):
        mode = path.stat().st_mode
        assert mode & stat.S_IROTH
        assert not mode & (stat.S_IWGRP | stat.S_IWOTH | stat.S_ISUID | stat.S_ISGID)


def test_a_cache_that_others_cannot_enter_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "closed").mkdir(mode=0o700)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "closed"))
    assert not rootfs._cache_folder().is_relative_to(tmp_path)


def test_a_user_without_a_home_still_has_a_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rootfs, "_reachable_by_others", lambda _: True)
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nonexistent")
    assert rootfs._cache_folder() == Path(f"/var/tmp/azr-{os.getuid()}")  # noqa: S108


def test_a_cache_that_others_can_write_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(rootfs, "_reachable_by_others", lambda _: True)
    (tmp_path / "azr").mkdir()
    (tmp_path / "azr").chmod(0o777)
    with pytest.raises(SandboxUnavailableError, match="only this user"):
        rootfs.prepare_root()
