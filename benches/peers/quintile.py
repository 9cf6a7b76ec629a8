"""The release build of quintile itself: the shop is imported, scored and read back."""

import json
import shutil
import sqlite3
import subprocess
import sys
from datetime import datetime, timezone

import numpy

import data
from memory import fingerprint

# Plain NTILE, as the peers have it; every run is written, none waits, nothing is sent.
CONFIG = """[shop]
currency = "EUR"
[scoring]
ties = "split"
hold_above_percent = 100
"""

# Runs a command and tells its processor time and the most memory it had. A process of its own: what is
# started takes over the peak of who starts it, and ours has held a whole shop.
MEASURED = """
import json, resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, text=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
cpu = 1000 * (used.ru_utime + used.ru_stime)
print(json.dumps({"output": done.stdout, "cpu": cpu, "peak": used.ru_maxrss / 1024}))
sys.exit(done.returncode)
"""


class Quintile:
    def __init__(self, program, folder, customers):
        self.program, self.folder, self.customers = program, folder, customers
        made = folder / "made.db"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.toml").write_text(CONFIG)
        if not made.exists():
            self.remove()
            data.history(folder / "orders.csv", customers)
            self.run("import", "orders.csv")
            (folder / "orders.csv").unlink()
            (folder / "quintile.db").rename(made)
        self.remove()
        shutil.copyfile(made, folder / "quintile.db")

    def remove(self):
        for suffix in ("", "-wal", "-shm", ".lock"):
            (self.folder / f"quintile.db{suffix}").unlink(missing_ok=True)

    def run(self, *arguments):
        """Standard output, time on the processor (ms) and the most memory (MiB) of the process."""
        command = [sys.executable, "-c", MEASURED, self.program, *arguments]
        done = subprocess.run(command, cwd=self.folder, stdout=subprocess.PIPE, text=True)
        if done.returncode != 0:
            raise SystemExit(f"quintile {' '.join(arguments)} failed")
        return json.loads(done.stdout)

    def order(self, night):
        """The day before this night."""
        data.night(self.folder / "night.csv", self.customers, night)
        self.run("import", "night.csv")

    def query(self, sql):
        connection = sqlite3.connect(self.folder / "quintile.db")
        try:
            return [numpy.array(column, dtype=numpy.int64) for column in zip(*connection.execute(sql).fetchall())]
        finally:
            connection.close()

    def state(self):
        columns = "id, last_order_at, order_count, total_spent"
        return self.query(f"SELECT {columns} FROM customers WHERE order_count > 0 ORDER BY id")

    def measure(self, night):
        as_of = datetime.fromtimestamp(data.END + night * data.DAY, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        done = self.run("score", "--as-of", as_of, "--format", "json")
        said = json.loads(done["output"])
        rows = self.query("SELECT customer_id, r, f, m FROM scores WHERE r IS NOT NULL ORDER BY customer_id")
        figures = {"ms": said["durationMs"], "cpu": done["cpu"], "peak": done["peak"]}
        return figures | {"rows": fingerprint(*rows), "changed": said["changed"]}
