"""What Alembic runs: migrations on the caller's connection, with the views set aside.

The product passes a connection (`azr.store.migrate`). From a shell, in the
repository, give the database: `alembic -x url=sqlite:///runs/x/store.sqlite upgrade head`.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context

from azr.store.engine import Durability, Needs, open_database
from azr.store.models import Base
from azr.store.views import create_views, drop_views


def run_on(connection: sa.Connection) -> None:
    """Run the requested migrations within the connection's open transaction."""
    drop_views(connection)
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=True,
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()
    if sa.inspect(connection).has_table(Base.metadata.tables["runs"].name):
        create_views(connection)


def run_from_shell() -> None:
    """Open the database that `-x url=...` names."""
    url = context.get_x_argument(as_dictionary=True).get("url", "")
    if not url:
        raise SystemExit("error: no database\nhint: alembic -x url=sqlite:///PATH upgrade head")
    session = open_database(url).session()
    with session.transaction(Needs(durability=Durability.DURABLE, traceable=False)) as connection:
        run_on(connection)
    session.close()


if context.is_offline_mode():
    raise SystemExit("error: migrations read the schema\nhint: run them on a database, not --sql")
if "connection" in context.config.attributes:
    run_on(context.config.attributes["connection"])
else:
    run_from_shell()
