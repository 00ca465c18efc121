"""The texts of a family as data files: read, overlaid with a user's own, and checked.

A template is plain text in which `$name` stands for a part and `$$` for a dollar sign.
Parts are put in as they are, so programs may contain dollars and braces; nothing in a
template can compute anything.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template

from azr.errors import ConfigError
from azr.prompts.contract import THINK_OPEN

TEXTS = Path(__file__).parent / "texts"
"""A folder for each family that is made of templates."""
SUFFIX = ".txt"


@dataclass(frozen=True, slots=True)
class Parts:
    """What a template may show, and what it must, to be of any use."""

    needed: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()

    @property
    def known(self) -> frozenset[str]:
        return self.needed | self.optional


def _parts(needed: str = "", optional: str = "") -> Parts:
    return Parts(frozenset(needed.split()), frozenset(optional.split()))


TEMPLATES: Mapping[str, Parts] = {
    "outer": _parts("question"),
    "propose_deduction": _parts("references", "modules refused difficulty"),
    "propose_abduction": _parts("references", "modules refused difficulty"),
    "propose_induction": _parts("program num_inputs", "modules refused"),
    "propose_error": _parts("references", "modules refused"),
    "difficulty_deduction": _parts(),
    "difficulty_abduction": _parts(),
    "composites": _parts("functions"),
    "references": _parts("references"),
    "reference": _parts("program input output", "number"),
    "reference_error": _parts("program input output", "number"),
    "solve_deduction": _parts("program input", "modules"),
    "solve_abduction": _parts("program output", "modules"),
    "solve_induction": _parts("pairs message", "modules"),
    "solve_error": _parts("program input", "modules"),
    "pair": _parts("input output", "number"),
}
"""Every file of a template family, by its name without `.txt`."""


@dataclass(frozen=True, slots=True)
class Templates:
    """A family's texts, checked: each can be filled in with its parts."""

    texts: Mapping[str, Template]

    def fill(self, name: str, **parts: str) -> str:
        """A template with its parts; parts that it does not show are left out."""
        return self.texts[name].substitute(parts)


def read_templates(family: str, folder: str = "") -> Templates:
    """A family's templates; those that the folder has replace the shipped ones.

    Raises ConfigError for a folder or a file that cannot be used.
    """
    paths = {name: TEXTS / family / f"{name}{SUFFIX}" for name in TEMPLATES}
    if folder:
        paths |= _own_files(Path(folder))
    return Templates({name: _read(name, path) for name, path in paths.items()})


def _own_files(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise ConfigError(
            f"prompts.templates: there is no folder {folder}",
            hint="`azr prompts templates --copy FOLDER` makes one with the shipped files.",
        )
    found = {path.stem: path for path in sorted(folder.glob(f"*{SUFFIX}"))}
    for name, path in found.items():
        if name not in TEMPLATES:
            nearest = difflib.get_close_matches(name, TEMPLATES, n=1)
            guess = f"; did you mean {nearest[0]}{SUFFIX}?" if nearest else ""
            raise ConfigError(
                f"{path} is not a template of this family{guess}",
                hint="`azr prompts templates` lists the files and their placeholders.",
            )
    if not found:
        raise ConfigError(
            f"prompts.templates: {folder} has no template",
            hint="`azr prompts templates --copy FOLDER` puts the shipped ones there.",
        )
    return found


def _read(name: str, path: Path) -> Template:
    try:
        template = Template(path.read_text(encoding="utf-8").strip("\n"))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text", hint="Save it as UTF-8.") from error
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}", hint="Check its permissions."
        ) from error
    _check(name, template, path)
    return template


def _check(name: str, template: Template, path: Path) -> None:
    """Raise ConfigError unless the template can be filled in, and says what it must."""
    parts = TEMPLATES[name]
    listed = ", ".join(f"${part}" for part in sorted(parts.known)) or "none"
    if not template.is_valid():
        raise ConfigError(
            f"{path}: line {_bad_line(template)} has a $ that begins no placeholder",
            hint=f"Write $$ for a dollar sign. Placeholders here: {listed}.",
        )
    used = set(template.get_identifiers())
    for unknown in sorted(used - parts.known):
        nearest = difflib.get_close_matches(unknown, parts.known, n=1)
        guess = f"; did you mean ${nearest[0]}?" if nearest else ""
        raise ConfigError(
            f"{path}: ${unknown} is not a placeholder of this template{guess}",
            hint=f"Write $$ for a dollar sign. Placeholders here: {listed}.",
        )
    for missing in sorted(parts.needed - used):
        raise ConfigError(
            f"{path}: ${missing} is missing, without which the prompt says too little",
            hint=f"Put ${missing} where it belongs. Placeholders here: {listed}.",
        )
    if name == "outer" and not template.template.endswith(THINK_OPEN):
        raise ConfigError(
            f"{path} must end with {THINK_OPEN}",
            hint="Every response is read as one that begins inside the think part.",
        )


def _bad_line(template: Template) -> int:
    """The first line, from 1, with a dollar sign that means nothing."""
    for match in template.pattern.finditer(template.template):
        if match["invalid"] is not None:
            return template.template.count("\n", 0, match.start()) + 1
    return 1
