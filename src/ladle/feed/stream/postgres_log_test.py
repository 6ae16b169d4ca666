"""A PostgreSQL table: rows that are committed late, and tables that do not say who wrote a row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from tests.servers import free_port, postgres_server

from ladle.core.errors import ArgumentError, DataError
from ladle.feed.stream.clients import close_clients
from ladle.feed.stream.postgres_log import PostgresTable

XID = "xid xid8 NOT NULL DEFAULT pg_current_xact_id()"


@pytest.fixture(scope="module")
def dsn() -> Iterator[str]:
    with postgres_server() as dsn:
        yield dsn
        close_clients()


@pytest.fixture
def sql(dsn: str) -> Iterator[Any]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        connection.execute(f"CREATE TABLE events (id bigint GENERATED ALWAYS AS IDENTITY, {XID}, x integer)")
        close_clients()
        yield connection.execute


def xs(stream: PostgresTable, position: Any, count: int = 100) -> tuple[list[int], Any]:
    rows, after = stream.read(position, count, 0)
    return [row["x"] for row in rows], after


def test_a_row_that_is_committed_late_is_not_lost(dsn, sql):
    """The usual way, `WHERE id > last`, passes over it: shown beside ours."""
    stream, last = PostgresTable(dsn, "events", ["x"]), 0
    with psycopg.connect(dsn) as slow:
        slow.execute("INSERT INTO events (x) VALUES (1)")
        sql("INSERT INTO events (x) VALUES (2)")
        ours, position = xs(stream, stream.start())
        usual = sql("SELECT id, x FROM events WHERE id > %s ORDER BY id", [last]).fetchall()
        last = usual[-1][0]
        slow.commit()
    usual += sql("SELECT id, x FROM events WHERE id > %s ORDER BY id", [last]).fetchall()
    assert ours == [], "the second row waits: an older transaction is open"
    assert xs(stream, position)[0] == [1, 2]
    assert [x for _, x in usual] == [2], "the first is lost, with no crash at all"


def test_the_order_is_by_transaction_as_a_number(dsn, sql):
    """As text, 999 is after 1000: a thousand transactions cross that line."""
    sql("DO $$ BEGIN FOR i IN 1..1100 LOOP INSERT INTO events (x) VALUES (i); COMMIT; END LOOP; END $$")
    (low,), (high,) = sql(
        "SELECT min(xid::text::bigint) FROM events UNION SELECT max(xid::text::bigint) FROM events ORDER BY 1"
    )
    assert len(str(low)) < len(str(high))
    stream, position, seen = PostgresTable(dsn, "events", ["x"]), {"xid": 0, "id": None}, []
    while True:
        some, position = xs(stream, position, 64)
        if not some:
            break
        seen += some
    assert seen == list(range(1, 1101))


def test_a_transaction_may_be_cut_and_one_rolled_back_leaves_nothing(dsn, sql):
    stream = PostgresTable(dsn, "events", ["x"])
    sql("INSERT INTO events (x) SELECT generate_series(1, 5)")
    sql("BEGIN; INSERT INTO events (x) VALUES (6); ROLLBACK")
    sql("INSERT INTO events (x) VALUES (7)")
    first, position = xs(stream, stream.start(), 3)
    assert (first, xs(stream, position)[0]) == ([1, 2, 3], [4, 5, 7])


def test_since_now_leaves_out_what_is_there(dsn, sql):
    sql("INSERT INTO events (x) VALUES (1)")
    stream = PostgresTable(dsn, "events", ["x"], since="now")
    start = stream.start()
    sql("INSERT INTO events (x) VALUES (2)")
    assert xs(stream, start)[0] == [2]


def test_names_are_quoted_and_ids_may_be_of_any_type(dsn, sql):
    name = 'odd "name"; DROP TABLE events'
    quoted = '"' + name.replace('"', '""') + '"'
    sql(f'CREATE SCHEMA "S"; CREATE TABLE "S".{quoted} ("the id" uuid PRIMARY KEY, "X y" xid8 NOT NULL'
        f' DEFAULT pg_current_xact_id(), "select" numeric[])')  # fmt: skip
    sql(
        f'INSERT INTO "S".{quoted} SELECT gen_random_uuid(), pg_current_xact_id(), ARRAY[i, 0.5]'
        " FROM generate_series(1, 9) i"
    )
    stream = PostgresTable(dsn, f"S.{name}", ["select"], xid="X y", id="the id")
    events, position = stream.read(stream.start(), 4, 0)
    events += stream.read(position, 10, 0)[0]
    assert sorted(int(event["select"][0]) for event in events) == list(range(1, 10))
    sql('DROP SCHEMA "S" CASCADE')


def test_a_table_that_does_not_say_who_wrote_a_row_is_refused_with_the_cure(dsn, sql):
    sql("CREATE TABLE plain (id bigint PRIMARY KEY, x integer)")
    sql("INSERT INTO plain VALUES (1, 10), (2, 20)")
    with pytest.raises(
        DataError, match="table 'plain' must have a column 'xid' of type xid8.*got 'no such column'"
    ) as no:
        PostgresTable(dsn, "plain", ["x"]).start()
    sql(str(no.value).split("; try ")[1])
    assert xs(PostgresTable(dsn, "plain", ["x"]), {"xid": 0, "id": None})[0] == [10, 20]


@pytest.mark.parametrize(
    "column", ["xid bigint NOT NULL", "xid xid8 DEFAULT pg_current_xact_id()", "xid xid8 NOT NULL DEFAULT '3'"]
)
def test_a_column_that_does_not_say_it_is_refused(dsn, sql, column):
    sql(f"CREATE TABLE wrong (id bigint PRIMARY KEY, x integer, {column})")
    with pytest.raises(DataError, match="must have a column 'xid' of type xid8, never null, with default"):
        PostgresTable(dsn, "wrong", ["x"]).start()


def test_unknown_names_are_refused(dsn, sql):
    with pytest.raises(DataError, match="table must be there; got 'nowhere'"):
        PostgresTable(dsn, "nowhere", ["x"]).start()
    with pytest.raises(DataError, match="columns must be columns of events; got 'z'; .*try one of id, x, xid"):
        PostgresTable(dsn, "events", ["x", "z"]).start()
    sql(f"CREATE TABLE loose (id bigint, {XID}, x integer)")
    with pytest.raises(DataError, match="id must be a column that is never null"):
        PostgresTable(dsn, "loose", ["x"]).start()


def test_a_position_that_the_server_has_not_come_to_is_refused(dsn, sql):
    with pytest.raises(DataError, match="position must be on the log; got 'transaction 999999999'; .*backup"):
        PostgresTable(dsn, "events", ["x"]).read({"xid": 999999999, "id": "1"}, 1, 0)


def test_rows_of_another_servers_transactions_are_refused(dsn, sql):
    sql("INSERT INTO events (x, xid) VALUES (1, '999999999')")
    stream = PostgresTable(dsn, "events", ["x"])
    with pytest.raises(DataError, match="must hold rows of this server's transactions.*restored from a dump"):
        stream.start()
    sql("UPDATE events SET xid = pg_current_xact_id()")
    assert xs(stream, stream.start())[0] == [1]


def test_a_connection_that_broke_is_one_line_and_the_next_read_opens_another(dsn, sql):
    sql("INSERT INTO events (x) VALUES (1)")
    stream = PostgresTable(dsn, "events", ["x"])
    start = stream.start()
    sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname IS NOT NULL")
    with pytest.raises(DataError, match="dsn must be a PostgreSQL server that answers; got 'host=127.0.0.1 port="):
        stream.read(start, 1, 0)
    assert xs(stream, start)[0] == [1]


def test_no_server_is_one_line_without_the_password():
    stream = PostgresTable(f"postgresql://me:secret@127.0.0.1:{free_port()}/db", "events", ["x"])
    with pytest.raises(DataError, match="dsn must be a PostgreSQL server that answers; got 'host=127.0.0.1") as refused:
        stream.start()
    assert "secret" not in str(refused.value) + repr(stream)
    assert "\n" not in str(refused.value)
    with pytest.raises(DataError, match="got 'a dsn that cannot be read'"):
        PostgresTable("what is this", "events", ["x"]).start()


def test_wrong_arguments_are_refused(dsn):
    for columns in ("x", []):
        with pytest.raises(ArgumentError, match="columns must be names of columns"):
            PostgresTable(dsn, "events", columns)
    with pytest.raises(ArgumentError, match="since must be"):
        PostgresTable(dsn, "events", ["x"], since="never")  # type: ignore[arg-type]
