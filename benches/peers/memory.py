"""In memory: everyone is ranked, nothing is written back. One measurement per process:

    memory.py duckdb|pandas|polars STATE.npy

STATE holds id, last_order_at, order_count, total_spent by id. Prints time, time on the processor, peak memory and a fingerprint of the rows.
"""

import hashlib
import json
import sys
import time

import numpy

VALUES = ("last_order_at", "order_count", "total_spent")


def fingerprint(ids, *scores):
    """Equal for equal rows, by id."""
    rows = numpy.column_stack([numpy.asarray(column, dtype=numpy.int64) for column in (ids, *scores)])
    return hashlib.sha256(rows.tobytes()).hexdigest()[:16]


def ntile(place, count):
    """NTILE(5) of a place from 0: buckets differ by one at most, the larger ones first."""
    small, larger = divmod(count, 5)
    inside = larger * (small + 1)
    return numpy.where(place < inside, place // (small + 1), larger + (place - inside) // max(small, 1)) + 1


def duckdb(state):
    import duckdb

    connection = duckdb.connect()
    columns = dict(zip(("id", *VALUES), state))
    connection.register("state", columns)
    connection.execute("CREATE TABLE customers AS SELECT * FROM state")
    tiles = ", ".join(f"ntile(5) OVER (ORDER BY {value}, id)" for value in VALUES)

    def work():
        return list(connection.execute(f"SELECT id, {tiles} FROM customers ORDER BY id").fetchnumpy().values())

    return work


def pandas(state):
    import pandas

    frame = pandas.DataFrame(dict(zip(("id", *VALUES), state)))

    def work():
        # Equal values in the order of the rows, which is by id.
        places = (frame[value].rank(method="first").to_numpy().astype(numpy.int64) - 1 for value in VALUES)
        return [frame["id"], *(ntile(place, len(frame)) for place in places)]

    return work


def polars(state):
    import polars

    frame = polars.DataFrame(dict(zip(("id", *VALUES), state)))

    def work():
        ranked = frame.select("id", *(polars.col(value).rank("ordinal").cast(polars.Int64) - 1 for value in VALUES))
        return [ranked["id"], *(ntile(ranked[value].to_numpy(), len(frame)) for value in VALUES)]

    return work


def peak_memory(process):
    """Of a process, in MiB."""
    with open(f"/proc/{process}/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))


def main(engine, path):
    state = list(numpy.load(path))
    work = {"duckdb": duckdb, "pandas": pandas, "polars": polars}[engine](state)
    started, busy = time.perf_counter(), time.process_time()
    rows = work()
    took, busy = time.perf_counter() - started, time.process_time() - busy
    figures = {"ms": took * 1000, "cpu": busy * 1000, "peak": peak_memory("self")}
    print(json.dumps(figures | {"rows": fingerprint(*rows)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
