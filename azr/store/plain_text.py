"""Text as a column: what a model writes, to the last character, in either database.

PostgreSQL's text cannot hold the character NUL, and a model may write it. There it is
escaped with a character of the private use area, and the escape with itself.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.types import TypeDecorator

ESCAPE = "\ue000"
_NUL, _ITSELF = ESCAPE + "0", ESCAPE + "1"


class PlainText(TypeDecorator[str]):
    """Text without lone surrogates (`azr.store.codec.storable`)."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:
        if value is None or dialect.name != "postgresql":
            return value
        if "\x00" not in value and ESCAPE not in value:
            return value
        return value.replace(ESCAPE, _ITSELF).replace("\x00", _NUL)

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> str | None:
        if value is None or dialect.name != "postgresql" or ESCAPE not in value:
            return value
        return value.replace(_NUL, "\x00").replace(_ITSELF, ESCAPE)
