"""`PostgresTable`: rows of a table that is only added to, in an order in which none can appear behind the reader."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from ladle.core.errors import ArgumentError, DataError, must
from ladle.feed.stream.clients import check_since, dropped, kept, needs, until


@dataclass(frozen=True)
class PostgresTable:
    """Rows in order of (transaction, id), once no older transaction is open; implements `ladle.core.protocols.Stream`.

    - `dsn`: `postgresql://user@host:port/database` or `host=... dbname=...`. `table`: its name, or `schema.name`.
    - `columns`: what an event holds: `{column: value}`.
    - `xid`, `id`: columns with the transaction that wrote the row, and with what orders the rows of one transaction.
    - `since`: a run starts with the "first" row, or with those of transactions that are not over "now".

    Ids are given out when a row is inserted, but rows appear when they are committed: `WHERE id > last` passes over
    rows of transactions that took their time. So the table must say which transaction wrote each row:

        CREATE TABLE events (
            id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            xid  xid8 NOT NULL DEFAULT pg_current_xact_id(),
            x    real[] NOT NULL,
            y    integer NOT NULL);
        CREATE INDEX ON events (xid, id);

    and what is read is

        WHERE xid < pg_snapshot_xmin(pg_current_snapshot()) AND (xid, id) > position ORDER BY xid, id

    Below `xmin` all transactions are over, so no row can appear there any more. A transaction that stays open, in any
    database of the server, holds the reader up, but makes it lose nothing. Rows must be neither updated nor, before
    they are read, deleted. Needs PostgreSQL 13 or newer.

    Raises `DataError` where the server does not answer, for an unknown table or column, for a table that does not say
    which transaction wrote a row, and where the server has not come as far as the position (restored from a backup).

    Source: PostgreSQL manual, "Transaction ID and Snapshot Information Functions".
    """

    dsn: str = field(repr=False)
    table: str
    columns: Sequence[str]
    xid: str = "xid"
    id: str = "id"
    since: Literal["first", "now"] = "first"

    def __post_init__(self) -> None:
        check_since(self.since)
        if isinstance(self.columns, str) or not len(self.columns):
            why = "they are what an event holds"
            raise ArgumentError(must("columns", "be names of columns", self.columns, why, "columns=('x', 'y')"))

    def start(self) -> dict[str, Any]:
        with self._link() as link:
            now = link.number("SELECT pg_snapshot_xmin(pg_current_snapshot())::text")
        return {"xid": now if self.since == "now" else 0, "id": None}

    def read(
        self, position: dict[str, Any], count: int, wait_seconds: float
    ) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        xid, id = _checked(position)
        left, pause_seconds = until(wait_seconds), 0.01
        events: list[dict[str, Any]] = []
        with self._link() as link:
            if xid >= link.seen:
                link.seen = link.number("SELECT pg_snapshot_xmax(pg_current_snapshot())::text")
            if xid > link.seen:
                got, why = f"transaction {xid}", f"the server is at {link.seen}: another one, or restored from a backup"
                raise DataError(must("position", "be on the log", got, why, "a run from the start of this table"))
            while True:
                rows = link.rows(xid, id, count - len(events))
                events += [dict(zip(self.columns, row[2:], strict=True)) for row in rows]
                if rows:
                    xid, id, pause_seconds = int(rows[-1][0]), rows[-1][1], 0.01
                if len(events) == count or left() <= 0:
                    return events, {"xid": xid, "id": id}
                time.sleep(min(max(left(), 0), pause_seconds))
                pause_seconds = min(2 * pause_seconds, 0.25)

    def _link(self) -> _Reading:
        return _Reading(self, kept(self._key, lambda: _opened(self)))

    @property
    def _key(self) -> tuple[Any, ...]:
        return "postgres", self.dsn, self.table, tuple(self.columns), self.xid, self.id


@dataclass(frozen=True)
class _Reading:
    """One thread at a time at the connection; errors of the library become ours."""

    table: PostgresTable
    link: _Link

    def __enter__(self) -> _Link:
        self.link.lock.acquire()
        return self.link

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self.link.lock.release()
        if error is None:
            return
        dropped(self.table._key)
        if isinstance(error, _library().Error):
            raise _silent(self.table.dsn, error) from None


@dataclass(eq=False)
class _Link:
    """A connection to a table that was found to be in order."""

    connection: Any
    first: Any
    after: Any
    seen: int = -1
    """The server had given out all transaction numbers below this one."""
    lock: Any = field(default_factory=threading.RLock)

    def close(self) -> None:
        self.connection.close()

    def number(self, query: str) -> int:
        return int(self.connection.execute(query).fetchone()[0])

    def rows(self, xid: int, id: str | None, count: int) -> list[tuple[Any, ...]]:
        if id is None:
            return self.connection.execute(self.first, (str(xid), count)).fetchall()
        return self.connection.execute(self.after, (str(xid), id, count)).fetchall()


def _opened(table: PostgresTable) -> _Link:
    psycopg = _library()
    try:
        connection = psycopg.connect(table.dsn, autocommit=True, connect_timeout=10)
    except psycopg.Error as error:
        raise _silent(table.dsn, error) from None
    try:
        link = _Link(connection, *_queries(table, connection))
        _check_origin(table, connection)
        return link
    except psycopg.Error as error:
        connection.close()
        raise _silent(table.dsn, error) from None
    except BaseException:
        connection.close()
        raise


def _queries(table: PostgresTable, connection: Any) -> tuple[Any, Any]:
    """The two questions: rows from a transaction on, and rows after a row. Checks the table first."""
    from psycopg import sql

    name = sql.Identifier(*table.table.split("."))
    types = _column_types(connection, name.as_string(connection))
    _check_columns(table, types, name.as_string(connection))
    t, type = sql.Identifier("t"), cast(Any, types[table.id][0])
    # Always with the table's name: ORDER BY xid alone would be the text of the select list, 999 after 1000.
    parts = {
        "columns": sql.SQL(", ").join([sql.SQL("{}.{}").format(t, sql.Identifier(name)) for name in table.columns]),
        "table": name,
        "xid": sql.SQL("t.{}").format(sql.Identifier(table.xid)),
        "id": sql.SQL("t.{}").format(sql.Identifier(table.id)),
        "type": sql.SQL(type),
    }
    query = (
        "SELECT {xid}::text, {id}::text, {columns} FROM {table} AS t"
        " WHERE {xid} < pg_snapshot_xmin(pg_current_snapshot()) AND "
    )
    order = " ORDER BY {xid}, {id} LIMIT %s"
    first = sql.SQL(query + "{xid} >= %s::text::xid8" + order).format(**parts)
    after = sql.SQL(query + "({xid}, {id}) > (%s::text::xid8, %s::text::{type})" + order).format(**parts)
    return first, after


def _column_types(connection: Any, name: str) -> dict[str, tuple[str, bool, str]]:
    """Type, whether never null, and default of each column."""
    rows = connection.execute(
        "SELECT attname, format_type(atttypid, atttypmod), attnotnull, coalesce(pg_get_expr(adbin, adrelid), '')"
        " FROM pg_attribute LEFT JOIN pg_attrdef ON (adrelid, adnum) = (attrelid, attnum)"
        " WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped",
        (name,),
    )
    return {column: (type, never_null, default) for column, type, never_null, default in rows.fetchall()}


def _check_columns(table: PostgresTable, types: dict[str, tuple[str, bool, str]], name: str) -> None:
    if not types:
        why, remedy = "no such table is on the search path of this database", "table='schema.name'"
        raise DataError(must("table", "be there", table.table, why, remedy))
    type, never_null, default = types.get(table.xid, ("", False, ""))
    if type != "xid8" or not never_null or "pg_current_xact_id()" not in default:
        be = f"have a column {table.xid!r} of type xid8, never null, with default pg_current_xact_id()"
        got = f"{type} {default}".strip() or "no such column"
        why = "rows appear in order of commit, not of id, and late ones would be lost"
        remedy = f'ALTER TABLE {name} ADD COLUMN "{table.xid}" xid8 NOT NULL DEFAULT pg_current_xact_id()'
        raise DataError(must(f"table {table.table!r}", be, got, why, remedy))
    for column in (table.id, *table.columns):
        if column not in types:
            known = ", ".join(sorted(types))
            why, remedy = "no such column is in the table", f"one of {known}"
            raise DataError(must("columns", f"be columns of {table.table}", column, why, remedy))
    if not types[table.id][1]:
        why, remedy = "rows without one have no place in the order", f'ALTER COLUMN "{table.id}" SET NOT NULL'
        raise DataError(must("id", "be a column that is never null", table.id, why, remedy))


def _check_origin(table: PostgresTable, connection: Any) -> None:
    """No row may be of a transaction that this server has not come to: it would wait for that, perhaps for years."""
    from psycopg import sql

    query = sql.SQL(
        "SELECT last.xid::text FROM (SELECT t.{xid} AS xid FROM {table} AS t ORDER BY t.{xid} DESC LIMIT 1) AS last"
        " WHERE last.xid >= pg_snapshot_xmax(pg_current_snapshot())"
    ).format(xid=sql.Identifier(table.xid), table=sql.Identifier(*table.table.split(".")))
    ahead = connection.execute(query).fetchone()
    if ahead:
        be, got = "hold rows of this server's transactions", f"transaction {ahead[0]}, which is yet to come"
        why = "the table was restored from a dump of another server"
        remedy = f'UPDATE {table.table} SET "{table.xid}" = pg_current_xact_id()'
        raise DataError(must(f"table {table.table!r}", be, got, why, remedy))


def _silent(dsn: str, error: Exception) -> DataError:
    from psycopg import Error
    from psycopg.conninfo import conninfo_to_dict

    try:
        said = conninfo_to_dict(dsn)
        where = " ".join(f"{name}={said[name]}" for name in ("host", "port", "dbname") if name in said)
    except Error:
        where = "a dsn that cannot be read"
    why = f"reading failed: {' '.join(str(error).split())}"
    return DataError(must("dsn", "be a PostgreSQL server that answers", where, why, "psql with the same dsn"))


def _library() -> Any:
    try:
        import psycopg
    except ImportError:
        raise needs("psycopg", "PostgresTable", "postgres") from None
    return psycopg


def _checked(position: Any) -> tuple[int, str | None]:
    try:
        xid, id = int(position["xid"]), position["id"]
        if xid >= 0 and (id is None or isinstance(id, str)):
            return xid, id
    except (KeyError, TypeError, ValueError):
        pass
    be, why = "be one of a table", "it is where reading goes on"
    raise DataError(must("position", be, position, why, "the cursor of this feed"))
