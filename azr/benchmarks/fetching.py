"""A benchmark's files from their sources: whole and checked, or not at all.

A download that breaks off stays beside its place as NAME.part, and the next call goes on
there if the source still has the same content (its ETag). `huggingface_hub` would begin
again, and LiveCodeBench's files have a gigabyte each; its endpoint (HF_ENDPOINT) and its
login are used. What the hub says of a file's content (sha256, or git's hash) is compared
with what came, beside the checksums of the catalogue.
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import os
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import IO, Protocol, override

from azr.benchmarks.catalogue import BenchmarkFile
from azr.errors import InputError

HUB = "https://huggingface.co"
TIMEOUT_SECONDS = 60.0
"""Without a single byte."""
"""Without a single byte."""
_PIECE_BYTES = 1 << 20
_GZIP_MAGIC = b"\x1f\x8b"
_RANGE = re.compile(r"bytes (?P<start>\d+)-\d+/(?P<total>\d+)")
_CHANGED = "The source changed, or the download was altered on its way; try again."

type OnBytes = Callable[[int], None]
"""Hears how many more bytes are there, those of an earlier call at first."""


class BrokenOffError(OSError):
    """The source closed the connection before the end."""


@dataclass(frozen=True, slots=True)
class _Part:
    """What has arrived of a file."""

    path: Path

    @property
    def tag(self) -> Path:
        """Holds the ETag of the content that it is a part of."""
        return self.path.with_name(self.path.name + ".etag")

    def num_bytes(self) -> int:
        """How much there is to go on from."""
        return self.path.stat().st_size if self.path.exists() and self.tag.exists() else 0

    def forget(self) -> None:
        self.path.unlink(missing_ok=True)
        self.tag.unlink(missing_ok=True)


def fetch(file: BenchmarkFile, folder: Path, *, on_bytes: OnBytes | None = None) -> Path:
    """Download a file into the folder, unpacked; it appears there whole or not at all.

    Raises InputError when the source is out of reach, has no such file, or sent something
    else than it should.
    """
    target = folder / file.name
    part = _Part(target.with_name(target.name + ".part"))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        published = _receive(file, part, on_bytes or _ignore)
    except urllib.error.HTTPError as error:
        error.close()
        raise _refused(file, target, error) from None
    except (OSError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        arrived = part.num_bytes()
        again = f"The next --download goes on after {arrived:,} bytes. " if arrived else ""
        raise InputError(
            f"{address(file)} could not be fetched: {reason}",
            hint=f"{again}Offline? Get that file elsewhere and put it at {target}.",
        ) from error
    try:
        _check_published(file, part.path, published)
        _unpack(part.path)
        _check(file, part.path)
        part.path.rename(target)
    except OSError as error:
        raise InputError(f"{target} cannot be written: {error}") from error
    finally:
        part.forget()  # whole, and in its place or of no use
    return target


def address(file: BenchmarkFile) -> str:
    """Where a file is fetched from: the hub's files from HF_ENDPOINT, as its library has it."""
    endpoint = os.environ.get("HF_ENDPOINT") or HUB
    if file.url.startswith(f"{HUB}/"):
        return endpoint.rstrip("/") + file.url.removeprefix(HUB)
    return file.url


def _ignore(_count: int) -> None:
    """Nobody watches."""


# --- receiving ----------------------------------------------------------------------------


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirections, and keeps what the hub says of a file before it sends one there."""

    def __init__(self) -> None:
        self.linked = ""

    @override
    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        self.linked = headers.get("X-Linked-ETag", self.linked)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _receive(file: BenchmarkFile, part: _Part, on_bytes: OnBytes) -> str:
    """Receive what is missing; returns the hash that the hub publishes, empty if it is no hub."""
    redirects = _Redirects()
    arrived = part.num_bytes()
    try:
        with _opened(_request(file, part, arrived), redirects) as answer:
            start, total = _extent(answer)
            if start != arrived:  # sent from the beginning: it changed, or cannot go on
                start = 0
                part.forget()
            _keep_tag(answer, part)
            on_bytes(start)
            with part.path.open("ab" if start else "wb") as out:
                while piece := answer.read(_PIECE_BYTES):
                    out.write(piece)
                    on_bytes(len(piece))
            published = redirects.linked or answer.headers.get("ETag", "")
    except urllib.error.HTTPError as error:
        if error.code != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE or not arrived:
            raise
        part.forget()  # nothing comes after what is there
        return _receive(file, part, on_bytes)
    size = part.path.stat().st_size
    if total is not None and size != total:
        raise BrokenOffError(f"it broke off after {size:,} of {total:,} bytes")
    return published.strip('"') if file.url.startswith(f"{HUB}/") else ""


def _request(file: BenchmarkFile, part: _Part, arrived: int) -> urllib.request.Request:
    url = address(file)
    if not url.startswith(("https://", "http://")):
        raise InputError(f"{url} is no web address", hint="Correct HF_ENDPOINT.")
    request = urllib.request.Request(url, headers={"User-Agent": "azr"})  # noqa: S310
    if arrived:
        request.add_header("Range", f"bytes={arrived}-")
        request.add_header("If-Range", part.tag.read_text(encoding="utf-8"))
    if file.url.startswith(f"{HUB}/"):
        from huggingface_hub import get_token  # noqa: PLC0415 -- half a second

        if token := get_token():  # for the endpoint alone, not for where it redirects to
            request.add_unredirected_header("Authorization", f"Bearer {token}")
    return request


@contextmanager
def _opened(
    request: urllib.request.Request, redirects: _Redirects
) -> Generator[http.client.HTTPResponse]:
    opener = urllib.request.build_opener(redirects)
    with opener.open(request, timeout=TIMEOUT_SECONDS) as answer:
        yield answer


def _extent(answer: http.client.HTTPResponse) -> tuple[int, int | None]:
    """(the first byte of this answer, the bytes of the whole file if they are told)."""
    found = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    if answer.status == HTTPStatus.PARTIAL_CONTENT and found:
        return int(found["start"]), int(found["total"])
    length = answer.headers.get("Content-Length", "")
    return 0, int(length) if length.isdecimal() else None


def _keep_tag(answer: http.client.HTTPResponse, part: _Part) -> None:
    """A weak tag names no bytes: such a download begins again."""
    tag = answer.headers.get("ETag", "")
    if tag.startswith('"'):
        part.tag.write_text(tag, encoding="utf-8")
    else:
        part.tag.unlink(missing_ok=True)


def _refused(file: BenchmarkFile, target: Path, error: urllib.error.HTTPError) -> InputError:
    by_hand = f"get the file elsewhere and put it at {target}"
    hints: dict[int, str] = {
        HTTPStatus.UNAUTHORIZED: "Log in with `hf auth login`",
        HTTPStatus.FORBIDDEN: "Accept the data set's terms on its page, and `hf auth login`",
        HTTPStatus.NOT_FOUND: "It may have moved, or need a login (`hf auth login`)",
    }
    hint = hints.get(error.code, "Try again later")
    return InputError(
        f"{address(file)} could not be fetched: {error.code} {error.reason}",
        hint=f"{hint}; or {by_hand}.",
    )


# --- checking -----------------------------------------------------------------------------


def _check_published(file: BenchmarkFile, path: Path, published: str) -> None:
    """Compare with the hub's hash: sha256 of large files, git's of others, or none we know."""
    if re.fullmatch(r"[0-9a-f]{64}", published):
        found, kind = _digest(path, hashlib.sha256()), "sha256"
    elif re.fullmatch(r"[0-9a-f]{40}", published):
        header = f"blob {path.stat().st_size}\0".encode()
        found, kind = _digest(path, hashlib.sha1(header, usedforsecurity=False)), "git hash"
    else:
        return
    if found != published:
        raise InputError(
            f"{address(file)} sent a file whose {kind} is {found}, not {published}", hint=_CHANGED
        )


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...

    def hexdigest(self) -> str: ...


def _digest(path: Path, digest: _Hash) -> str:
    with path.open("rb") as stream:
        while piece := stream.read(_PIECE_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def _unpack(path: Path) -> None:
    with path.open("rb") as packed:
        if packed.read(len(_GZIP_MAGIC)) != _GZIP_MAGIC:
            return
    plain = path.with_name(path.name + ".plain")
    try:
        with gzip.open(path) as source, plain.open("wb") as out:
            while piece := source.read(_PIECE_BYTES):
                out.write(piece)
        plain.rename(path)
    finally:
        plain.unlink(missing_ok=True)


def _check(file: BenchmarkFile, path: Path) -> None:
    """Compare with the catalogue."""
    size = path.stat().st_size
    if file.num_bytes and size != file.num_bytes:
        raise InputError(
            f"{address(file)} sent {size:,} bytes, not {file.num_bytes:,}", hint=_CHANGED
        )
    if file.checksum:
        algorithm, _, wanted = file.checksum.partition(":")
        found = _digest(path, hashlib.new(algorithm, usedforsecurity=False))
        if found != wanted:
            raise InputError(
                f"{address(file)} has the {algorithm} checksum {found}, not {wanted}",
                hint=_CHANGED,
            )
