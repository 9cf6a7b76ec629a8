"""PostgreSQL, two ways: everything in one good statement, and the way of the program that quintile
replaces: the ranks to the client, then UPDATE … FROM unnest for everybody, in chunks of 100, each a step
of a workflow and so a transaction of its own."""

import os
import time

import psycopg

from memory import VALUES, fingerprint, peak_memory

SEGMENT = """CASE
  WHEN r >= 4 AND f >= 4 AND m >= 4 THEN 'champion'
  WHEN r >= 3 AND f >= 3 AND m >= 3 THEN 'loyal'
  WHEN r >= 4 AND f <= 1 THEN 'new'
  WHEN r >= 3 THEN 'potential'
  WHEN f >= 2 THEN 'at_risk'
  WHEN m >= 2 THEN 'hibernating'
  ELSE 'lost' END"""
TILES = ", ".join(f"ntile(5) OVER (ORDER BY {value}, id) AS {name}" for value, name in zip(VALUES, "rfm"))

# Ranks, writes who differs and an event for whose segment does: what quintile's night does.
STATEMENT = f"""
WITH ranked AS (SELECT id, {TILES} FROM customers WHERE order_count > 0),
named AS (SELECT *, {SEGMENT} AS segment FROM ranked),
changed AS (
  UPDATE customers AS c SET r = n.r, f = n.f, m = n.m, segment = n.segment, scored_at = now()
  FROM named AS n JOIN customers AS old ON old.id = n.id
  WHERE c.id = n.id AND (old.r, old.f, old.m, old.segment) IS DISTINCT FROM (n.r, n.f, n.m, n.segment)
  RETURNING c.id, old.segment AS old_segment, c.segment AS new_segment, c.r, c.f, c.m
)
INSERT INTO outbox (customer_id, old_segment, new_segment, r, f, m)
SELECT id, old_segment, new_segment, r, f, m FROM changed WHERE old_segment IS DISTINCT FROM new_segment"""

CHUNK = 100
UPDATE = """
UPDATE customers AS c SET r = n.r, f = n.f, m = n.m, segment = n.segment, scored_at = now()
FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::text[]) AS n (id, r, f, m, segment)
WHERE c.id = n.id"""

SCHEMA = """
CREATE TABLE customers (
  id bigint PRIMARY KEY, last_order_at bigint NOT NULL, order_count bigint NOT NULL, total_spent bigint NOT NULL,
  r smallint, f smallint, m smallint, segment text, scored_at timestamptz
);
CREATE TABLE outbox (
  seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer_id bigint NOT NULL, old_segment text,
  new_segment text NOT NULL, r smallint, f smallint, m smallint, at timestamptz NOT NULL DEFAULT now()
)"""


class PostgreSQL:
    """One way of working, on a database of its own."""

    def __init__(self, cluster, name, work):
        cluster.create(name)
        self.connect = lambda: psycopg.connect(cluster.dsn(name), autocommit=True)
        self.work = work
        with self.connect() as connection:
            connection.execute(SCHEMA)

    def measure(self, state):
        """A night after the counters became those of `state`."""
        with self.connect() as connection:
            self.take(connection, state)
        # A new connection, so that its peak memory is the night's.
        with self.connect() as connection:
            process = connection.info.backend_pid
            started, busy = time.perf_counter(), time.process_time() + on_processor(process)
            self.work(connection)
            took, busy = time.perf_counter() - started, time.process_time() + on_processor(process) - busy
            peak = peak_memory(process)  # with the shared buffers that it touched
            rows = connection.execute("SELECT id, r, f, m FROM customers WHERE order_count > 0 ORDER BY id").fetchall()
        return {"ms": took * 1000, "cpu": busy * 1000, "peak": peak, "rows": fingerprint(*zip(*rows))}

    def take(self, connection, state):
        connection.execute("CREATE TEMP TABLE state (id bigint, last_order_at bigint, order_count bigint, total_spent bigint)")
        with connection.cursor().copy("COPY state FROM STDIN") as copy:
            for row in zip(*(column.tolist() for column in state)):
                copy.write_row(row)
        connection.execute(
            """INSERT INTO customers AS c SELECT * FROM state
               ON CONFLICT (id) DO UPDATE SET last_order_at = excluded.last_order_at,
                 order_count = excluded.order_count, total_spent = excluded.total_spent
               WHERE (c.last_order_at, c.order_count, c.total_spent)
                 <> (excluded.last_order_at, excluded.order_count, excluded.total_spent)"""
        )
        connection.execute("DROP TABLE state")
        connection.execute("VACUUM ANALYZE customers")
        connection.execute("CHECKPOINT")


def in_one_statement(connection):
    connection.execute(STATEMENT)


def in_chunks(connection):
    rows = connection.execute(f"SELECT id, {TILES} FROM customers WHERE order_count > 0").fetchall()
    for at in range(0, len(rows), CHUNK):
        ids, r, f, m = (list(column) for column in zip(*rows[at : at + CHUNK]))
        connection.execute(UPDATE, (ids, r, f, m, [segment(*scores) for scores in zip(r, f, m)]))


def in_chunks_at_once(connection):
    """In one transaction, which is kind to it."""
    with connection.transaction():
        in_chunks(connection)


def segment(r, f, m):
    if r >= 4 and f >= 4 and m >= 4:
        return "champion"
    if r >= 3 and f >= 3 and m >= 3:
        return "loyal"
    if r >= 4 and f <= 1:
        return "new"
    if r >= 3:
        return "potential"
    if f >= 2:
        return "at_risk"
    return "hibernating" if m >= 2 else "lost"


def on_processor(process):
    """Seconds that a process has been on a processor, user and system."""
    with open(f"/proc/{process}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
