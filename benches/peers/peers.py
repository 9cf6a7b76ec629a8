"""Measures one night after the other, every peer on the same data, and holds their rows equal.

Each night all of them work one after the other, so that whatever else the machine does falls on all;
figures are medians of the nights. See `run`.
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

import numpy

from cluster import Cluster
from postgres import PostgreSQL, in_chunks, in_chunks_at_once, in_one_statement
from quintile import Quintile

ROOT = pathlib.Path(__file__).resolve().parents[2]
NIGHTS = 3
BUSY = 3.0
# Enough for all of the data, and for the three sorts; durability as it comes (synchronous_commit on).
SETTINGS = ("shared_buffers=1GB", "work_mem=256MB", "max_wal_size=4GB", "autovacuum=off")

BEST = "PostgreSQL, one statement"
ORIGINAL = "PostgreSQL, the original's way"
AT_ONCE = "- in one transaction"
US = "quintile"
# At most so many times what another takes.
BOUNDS = {
    100_000: {("nightly", BEST): 1.0, ("first", ORIGINAL): 0.25},
    1_000_000: {("nightly", BEST): 0.6, ("first", BEST): 0.5, ("first", ORIGINAL): 0.15},
}
# Most memory of the whole program, in MiB.
MEMORY = 32
IN_MEMORY = {"duckdb": "DuckDB, ranks only", "pandas": "pandas, ranks only", "polars": "polars, ranks only"}


def size(text):
    units = {"k": 1_000, "m": 1_000_000}
    return int(text[:-1]) * units[text[-1].lower()] if text[-1].lower() in units else int(text)


def in_memory(engine, state):
    with tempfile.NamedTemporaryFile(suffix=".npy") as file:
        numpy.save(file, numpy.stack(state))
        file.flush()
        command = [sys.executable, pathlib.Path(__file__).with_name("memory.py"), engine, file.name]
        return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def measure(customers):
    """Figures per work ("first", "nightly") and peer, one of each night."""
    figures = {"first": {}, "nightly": {}}
    with Cluster(SETTINGS) as cluster:
        shop = Quintile(pathlib.Path(os.environ.get("QUINTILE", ROOT / "target/release/quintile")).resolve(), ROOT / f"target/peers/{customers}", customers)
        ways = {
            BEST: PostgreSQL(cluster, "best", in_one_statement),
            ORIGINAL: PostgreSQL(cluster, "original", in_chunks),
            AT_ONCE: PostgreSQL(cluster, "at_once", in_chunks_at_once),
        }
        for night in range(NIGHTS + 1):
            if night > 0:
                shop.order(night)
            state = shop.state()
            measured = {US: shop.measure(night)}
            for name, way in ways.items():
                measured[name] = way.measure(state)
            for engine, name in IN_MEMORY.items():
                measured[name] = in_memory(engine, state)
            different = {name: it["rows"] for name, it in measured.items() if it["rows"] != measured[US]["rows"]}
            if different:
                raise SystemExit(f"night {night}: these have other rows than quintile: {different}")
            share = 100 * measured[US]["changed"] / len(state[0])
            print(f"  night {night}: equal rows everywhere, {share:.1f} % in another segment", file=sys.stderr)
            for name, figure in measured.items():
                figures["nightly" if night else "first"].setdefault(name, []).append(figure)
    return figures


def table(customers, figures):
    """Prints the rows of one size; returns the sentences about its bounds, and whether all are met."""
    titles = {"first": "first run, everybody changes (once)", "nightly": f"nightly run (median of {NIGHTS})"}
    said, met = [], True
    for work, title in titles.items():
        medians = {
            name: {what: statistics.median(it[what] for it in nights) for what in ("ms", "cpu", "peak")}
            for name, nights in figures[work].items()
        }
        for (of, other), bound in BOUNDS.get(customers, {}).items():
            if of == work:
                ratio = medians[US]["ms"] / medians[other]["ms"]
                met &= ratio <= bound
                verdict = "ok" if ratio <= bound else "MISSED"
                said.append(f"{customers:,} customers, {title}: {ratio:.2f} x {other}, at most {bound}: {verdict}")
        peak = max(it["peak"] for it in figures[work][US])
        met &= peak <= MEMORY
        said.append(f"{customers:,} customers, {title}: {peak:.1f} MiB, at most {MEMORY}: {'ok' if peak <= MEMORY else 'MISSED'}")
        for name, it in medians.items():
            cells = [title, f"{customers:,}", name]
            for what in ("ms", "cpu"):
                cells.append(f"{it[what]:,.1f}")
                cells += [f"{it[what] / max(medians[other][what], 0.1):.2f}" for other in (BEST, US)]
            print("| " + " | ".join([*cells, f"{it['peak']:,.0f}"]) + " |", flush=True)
    return said, met


def main(sizes):
    load = lambda: ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{os.cpu_count()} cores, load {load()} at the start; all rows equal to plain NTILE's\n")
    ratios = "÷ PostgreSQL | ÷ quintile"
    print(f"| work | customers | by | ms | {ratios} | ms on the processor | {ratios} | peak MiB |")
    print("| --- | ---: | --- " + "| ---: " * 7 + "|", flush=True)
    bounds, all_met = [], True
    for customers in sizes:
        if customers > 100_000 and os.getloadavg()[0] >= BUSY:
            print(f"not measured: {customers:,} customers, since the load is {load()}", file=sys.stderr)
            all_met = False
            continue
        print(f"{customers:,} customers", file=sys.stderr)
        said, met = table(customers, measure(customers))
        bounds, all_met = bounds + said, all_met and met
    print("\n".join(["", *bounds, f"load {load()} at the end"]))
    if not all_met:
        raise SystemExit("a bound is missed, or a size not measured")


if __name__ == "__main__":
    main([size(text) for text in sys.argv[1:]] or [10_000, 100_000, 1_000_000])
