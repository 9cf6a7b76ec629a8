"""A PostgreSQL of one's own: a fresh cluster in a temporary folder, reached through a socket there.

Needs Debian's postgresql-15 (or later). PostgreSQL does not run as root; root starts it as `postgres`.
"""

import glob
import os
import shutil
import signal
import subprocess
import tempfile
import time


def newest_bin():
    """The folder with `postgres` and `initdb` of the newest version that is installed."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda path: float(path.split("/")[-2]))
    if not found:
        raise SystemExit("PostgreSQL is not installed: apt-get install postgresql-15")
    return found[-1]


class Cluster:
    """`with Cluster() as cluster: psycopg.connect(cluster.dsn("name"))`"""

    def __init__(self, settings=()):
        self.settings = settings

    def __enter__(self):
        self.bin = newest_bin()
        self.user = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
        self.folder = tempfile.mkdtemp(prefix="quintile-postgres-")
        if self.user:
            shutil.chown(self.folder, "postgres", "postgres")
        data = os.path.join(self.folder, "data")
        self.run(f"{self.bin}/initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8")
        # A socket alone: no port that could be taken. Settings are PostgreSQL's own unless given.
        arguments = ["-D", data, "-k", self.folder, "-c", "listen_addresses="]
        for setting in self.settings:
            arguments += ["-c", setting]
        self.log = open(os.path.join(self.folder, "log"), "wb")
        self.server = subprocess.Popen(
            [f"{self.bin}/postgres", *arguments], stdout=self.log, stderr=self.log, cwd=self.folder, **self.user
        )
        for _ in range(300):
            ready = subprocess.run([f"{self.bin}/pg_isready", "-q", "-h", self.folder])
            if ready.returncode == 0:
                return self
            if self.server.poll() is not None:
                break
            time.sleep(0.1)
        with open(self.log.name) as log:
            said = log.read()
        self.__exit__()
        raise SystemExit(f"PostgreSQL did not start:\n{said}")

    def __exit__(self, *_):
        if self.server.poll() is None:
            self.server.send_signal(signal.SIGINT)  # a fast shutdown
            self.server.wait()
        self.log.close()
        shutil.rmtree(self.folder)

    def run(self, *command):
        done = subprocess.run(command, capture_output=True, text=True, cwd=self.folder, **self.user)
        if done.returncode != 0:
            raise SystemExit(f"{command[0]} failed:\n{done.stdout}{done.stderr}")

    def create(self, name):
        """An empty database."""
        subprocess.run([f"{self.bin}/createdb", "-h", self.folder, "-U", "postgres", name], check=True)

    def load(self, name, file):
        """What a person would do: `psql -f`."""
        command = [f"{self.bin}/psql", "-X", "-q", "-h", self.folder, "-U", "postgres", "-d", name, "-f", file]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0 or done.stderr:
            raise SystemExit(f"psql -f {file} failed:\n{done.stdout}{done.stderr}")

    def dsn(self, name):
        return f"host={self.folder} user=postgres dbname={name}"

    def version(self):
        return subprocess.run([f"{self.bin}/postgres", "-V"], capture_output=True, text=True).stdout.split()[2]
