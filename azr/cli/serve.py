"""`azr serve`: put a run's policy, or a model, behind an HTTP endpoint."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from azr import config_files
from azr.errors import InputError

KEY_VARIABLE = "AZR_API_KEY"
ACCESS_LOG = "serve-access.jsonl"


def serve(
    run_or_model: Annotated[
        str | None,
        typer.Argument(
            metavar="[RUN_OR_MODEL]",
            help="A run directory, a Hugging Face folder, or `tiny`."
            "  [default: the newest run in runs/]",
            show_default=False,
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    api_key_file: Annotated[
        Path | None,
        typer.Option(help=f"What clients must present.  [default: ${KEY_VARIABLE}, or nothing]"),
    ] = None,
    config: Annotated[
        str, typer.Option(metavar="CONFIG", help="Preset or TOML file; a run brings its own.")
    ] = config_files.DEFAULT_PRESET,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Override a setting; repeatable."),
    ] = None,
    ray_address: Annotated[
        str,
        typer.Option(
            metavar="HOST:PORT",
            help="A Ray cluster for the endpoint.  [default: the run's, or a private one]",
            show_default=False,
        ),
    ] = "",
    access_log: Annotated[
        Path | None,
        typer.Option(help=f"JSON lines.  [default: RUN/logs/{ACCESS_LOG}; none for a model]"),
    ] = None,
    *,
    own: Annotated[
        bool,
        typer.Option("--own", help="Of a live run: serve its checkpoints, by another replica."),
    ] = False,
) -> None:
    """Answer OpenAI clients with a policy; Ctrl-C lets requests in flight end, and stops.

    A live run shares its replicas (`serve.max_share`) and answers with the policy of the
    moment; a finished run or a model gets replicas of the endpoint's own.

    \b
    Examples:
      azr serve                                     the newest run
      azr serve runs/NAME --port 9000
      azr serve tiny --set serve.max_in_flight=16
      azr serve runs/NAME --host 0.0.0.0 --api-key-file key.txt
      azr serve runs/NAME --own                     also `azr@vN`, while the run plays
    """
    from azr.serve.listen import bound, is_loopback
    from azr.serve.quiet import spare_the_terminal
    from azr.serve.target import find_target

    spare_the_terminal()
    key = api_key(api_key_file)
    target = find_target(run_or_model or newest_run(), preset=config, overrides=overrides or [])
    bound(host, port).close()  # a port that is taken is known before anything starts
    if not is_loopback(host):
        guarded = "with the key" if key else "WITHOUT a key: set AZR_API_KEY"
        typer.echo(f"warning: {host} can be reached from other machines, {guarded}", err=True)
    if access_log is None and target.run is not None:
        access_log = target.run.logs / ACCESS_LOG
    from actors import serve_driver
    from actors.serve_app import Listening

    run_root = None if own else serve_driver.live_root(target)
    source = "the replicas of the live run" if run_root else "a replica of its own"
    typer.echo(f"serving {target.name} by {source}; starting")
    shown = host if ":" not in host else f"[{host}]"

    def told(listening: int) -> None:
        typer.echo(f"ready: http://{shown}:{listening}/v1 (description: /docs); Ctrl-C stops")

    serve_driver.serve_until_stopped(
        target,
        Listening(
            host=host,
            port=port,
            key=key,
            access_log=access_log.absolute() if access_log else None,
        ),
        run_root=run_root,
        ray_address=ray_address,
        told=told,
    )
    typer.echo("stopped")


def api_key(file: Path | None) -> str | None:
    """The key of a file or of the environment. Raises InputError for one that is no key."""
    if file is None:
        key = os.environ.get(KEY_VARIABLE, "").strip()
        return _checked(key, f"${KEY_VARIABLE}") if key else None
    try:
        return _checked(file.read_text(encoding="utf-8").strip(), str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--api-key-file {file} cannot be read: {error}") from error


def _checked(key: str, source: str) -> str:
    if len(key) < 8 or not key.isascii() or not key.isprintable() or " " in key:
        raise InputError(
            f"{source} holds no key: eight or more printable ASCII characters without spaces",
            hint="For example: python -c 'import secrets; print(secrets.token_urlsafe())'",
        )
    return key


def newest_run() -> str:
    """The run that was started last. Raises StoreError if there is none."""
    from azr.errors import StoreError
    from azr.store.locate import locate

    try:
        directory = locate(None).directory
    except StoreError as error:
        raise StoreError(
            str(error), hint="Name a run or a model: azr serve tiny serves the one in the package."
        ) from None
    assert directory is not None  # noqa: S101 -- None locates a directory
    return str(directory.root)
