"""src/scoring/score.sql gives the same rows on SQLite, PostgreSQL, DuckDB and Apache Spark.

    tests/run --full                                          with everything installed that it needs
    QUINTILE=target/debug/quintile target/parity/bin/python tests/parity/parity.py

Each shop is imported, scored and exported by the program itself; PostgreSQL loads the export with
psql. The statement is the file's text, its two parts one after the other. Not all engines know named
parameters, so each `:name` is replaced by its number; nothing else is touched.
"""

import itertools
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
from datetime import datetime, timezone

from cluster import Cluster
from engines import ENGINES, PostgreSQL, SQLite
from shops import SHOPS

ROOT = pathlib.Path(__file__).resolve().parents[2]
QUINTILE = pathlib.Path(os.environ.get("QUINTILE", ROOT / "target/debug/quintile")).resolve()
SMALLEST = -(2**63)  # what `window_days = 0` binds


def millis(text):
    return int(datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp() * 1000)


NOW, EARLIER, SPRING = millis("2026-11-23T02:00:00"), millis("2026-07-01T00:00:00"), millis("2026-04-01T00:00:00")


def statement(**parameters):
    text = (ROOT / "src/scoring/score.sql").read_text()
    parts = dict(re.findall(r"^-- part: (\w+)\n(.*?)(?=^-- part: |\Z)", text, re.M | re.S))
    query = parts["people"] + parts["quintiles"]
    return re.sub(r":(\w+)", lambda found: str(parameters[found[1]]), query)


def run(home, *arguments):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("QUINTILE")}
    done = subprocess.run([QUINTILE, *arguments], cwd=home, capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        raise SystemExit(f"quintile {' '.join(arguments)}: {done.stderr}{done.stdout}")


def make(home, rows, ties):
    """A shop that the program has imported, scored and exported."""
    home.mkdir()
    (home / "config.toml").write_text(f'[shop]\ncurrency = "EUR"\n[scoring]\nties = "{ties}"\n')
    (home / "orders.csv").write_text("\n".join(rows) + "\n")
    run(home, "import", "orders.csv")
    run(home, "score", "--as-of", "2026-11-23T02:00:00Z")
    run(home, "export", "--to", "export", "--format", "sql")


def cases(shop):
    """Parameters of the statement: all combinations for the large shop."""
    tie_rules, without = (1, 0), (0, 1)
    instants = (NOW, EARLIER) if shop == "eventful" else (NOW,)
    windows = (SMALLEST, SPRING) if shop == "eventful" else (SMALLEST,)
    for together, include, as_of, start in itertools.product(tie_rules, without, instants, windows):
        yield dict(together=together, include_without_orders=include, as_of=as_of, window_start=start)


def check_export(home, sqlite, postgres):
    """What psql loaded is what was exported: counts, sums, and the readable views."""
    for table in json.loads((home / "export/manifest.json").read_text())["tables"]:
        count = f"SELECT count(*) FROM {table['table']}"
        assert postgres.rows(count) == sqlite.rows(count) == [(table["rows"],)], table
    for sums in [
        "sum(total_spent), sum(order_count), sum(last_order_at), count(last_order_at), count(email) FROM customers",
        "sum(gross), sum(refunded), sum(net), sum(counted), sum(ordered_at) FROM orders",
        "sum(r), sum(f), sum(m), count(DISTINCT segment) FROM scores",
        "sum(seq), count(DISTINCT customer_id) FROM outbox",
    ]:
        assert postgres.rows(f"SELECT {sums}") == sqlite.rows(f"SELECT {sums}"), sums
    [(minor, names)] = sqlite.rows("SELECT sum(total_spent), group_concat(DISTINCT last_name) FROM customers")
    [(spent, last)] = postgres.rows("SELECT sum(total_spent) * 100, max(last_name) FROM readable_customers")
    assert spent == minor and last == names, (spent, minor, last, names)
    [(newest,)] = sqlite.rows("SELECT max(ordered_at) FROM orders")
    [(read, paid)] = postgres.rows("SELECT max(ordered_at), count(*) FILTER (WHERE counted) FROM readable_orders")
    assert read == datetime.fromtimestamp(newest / 1000, timezone.utc)
    assert [(paid,)] == sqlite.rows("SELECT sum(counted) FROM orders")


def compare(shop, ties, engines, home):
    """Every engine's rows beside SQLite's, and those of the night beside the program's own scores."""
    for case in cases(shop):
        query = statement(**case)
        expected = engines[0].rows(query)
        assert expected or case["include_without_orders"] == 0
        for engine in engines[1:]:
            rows = [tuple(int(value) for value in row) for row in engine.rows(query)]
            assert rows == expected, f"{engine.name}, {shop}, {case}: {first_difference(rows, expected)}"
        is_the_night = (case["as_of"], case["window_start"], case["include_without_orders"]) == (NOW, SMALLEST, 0)
        if is_the_night and case["together"] == (ties == "together"):
            scores = engines[0].rows("SELECT customer_id, r, f, m FROM scores WHERE r IS NOT NULL ORDER BY 1")
            assert expected == scores, first_difference(expected, scores)
            print(f"  {shop}, ties = {ties}: {len(scores)} customers, as `quintile score` has them")
    return sum(1 for _ in cases(shop))


def first_difference(rows, expected):
    pairs = itertools.zip_longest(rows, expected)
    return next(((got, wanted) for got, wanted in pairs if got != wanted), None)


def main():
    compared = 0
    with tempfile.TemporaryDirectory() as folder, Cluster() as cluster:
        for number, (shop, ties) in enumerate(itertools.product(SHOPS, ("together", "split"))):
            home = pathlib.Path(folder) / f"{shop}-{ties}"
            make(home, SHOPS[shop](), ties)
            engines = [engine(home=home, cluster=cluster, shop=f"shop{number}") for engine in ENGINES]
            if number == 0:
                print("comparing " + ", ".join(engine.name for engine in engines))
            check_export(home, *(it for it in engines if isinstance(it, (SQLite, PostgreSQL))))
            compared += compare(shop, ties, engines, home)
            for engine in engines:
                engine.close()
    print(f"the same rows in {compared} cases on {len(ENGINES)} engines")
    return 0


if __name__ == "__main__":
    sys.exit(main())
