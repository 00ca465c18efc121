"""From `run.model` to a folder on disk."""

from __future__ import annotations

from pathlib import Path

from azr import tiny
from azr.errors import ModelError

TINY = "tiny"


def resolve_model(model: str) -> Path:
    """The folder of a model: `tiny` is the one in the package.

    Raises ModelError if there is no such folder; what is in it is for
    `azr.engine.model_check` to say.
    """
    if model == TINY:
        return tiny.model_path()
    path = Path(model).expanduser()
    if not path.is_dir():
        raise ModelError(f"run.model = {model!r} is not a folder")
    return path.resolve()
