"""The SQL store: queues, task buffers and the history of a run, in one database."""

from azr.store.sql_store import SqlStore

__all__ = ["SqlStore"]
