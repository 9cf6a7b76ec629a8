"""The booted system, and a service in it, as somebody at its console would use them."""

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

LEADER = os.environ["LEADER"]
# The system's files, seen from outside.
ROOT = Path(f"/proc/{LEADER}/root")
# Longer than anything here takes that goes well.
PATIENCE = 60


def inside(command):
    """A command in the system, as root."""
    environment = ["env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8"]
    return ["nsenter", "--target", LEADER, "--all", "--wd=/", *environment, *command]


def run(*command, check=True):
    """Runs a command in the system, as root; returns what it printed, on both outputs."""
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    done = subprocess.run(inside(command), **output, stdin=subprocess.DEVNULL, text=True, timeout=300)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(command)} ended with {done.returncode}: {done.stdout}")
    return done.stdout


def begin(*command):
    """Starts a command in the system that reads what is written to it."""
    return subprocess.Popen(inside(command), stdin=subprocess.PIPE, text=True)


def unpack():
    """The release's archive, as it is downloaded: install.sh is in /root/quintile then."""
    (archive,) = Path(os.environ["ARCHIVE"]).glob("*.tar.gz")
    shutil.copy(archive, ROOT / "root/quintile.tar.gz")
    # A minimal Debian has none.
    (ROOT / "etc/hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")
    run("sh", "-c", "mkdir -p /root/quintile && tar -xzf /root/quintile.tar.gz -C /root/quintile --strip-components=1")


def eventually(what, ready, patience=PATIENCE):
    """Asks until `ready` returns something true, and returns that."""
    until = time.monotonic() + patience
    while time.monotonic() < until:
        if found := ready():
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what} did not happen within {patience} s")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Service:
    """One shop's unit, from nothing."""

    def __init__(self, shop=None):
        self.shop = shop
        self.name = f"quintile@{shop}" if shop else "quintile"
        self.folder = f"/var/lib/quintile-{shop}" if shop else "/var/lib/quintile"
        self.secrets = f"/etc/quintile/{shop or 'quintile'}.env"
        self.drop_in = f"/run/systemd/system/{self.name}.service.d"
        self.dashboard, self.webhooks = free_port(), free_port()
        self.remove()
        # What the journal says of this life of it.
        self.cursor = run("journalctl", "-n0", "--show-cursor").split("cursor: ")[-1].strip()

    def remove(self):
        run("systemctl", "disable", "--now", self.name, check=False)
        run("systemctl", "reset-failed", self.name, check=False)
        run("rm", "-rf", self.folder, self.secrets, self.drop_in)
        run("systemctl", "daemon-reload")

    def install(self):
        """What install.sh says."""
        return run("/root/quintile/install.sh", *(["--shop", self.shop] if self.shop else []))

    def configure(self, settings=None, also=""):
        """Writes into config.toml: ports of its own, `settings` ("scoring.cron": "…", as TOML writes it), and `also`
        at the end."""
        path = ROOT / self.folder[1:] / "config.toml"
        lines = path.read_text().splitlines()
        ports = {"webhooks.listen": f'"127.0.0.1:{self.webhooks}"', "dashboard.listen": f'"127.0.0.1:{self.dashboard}"'}
        for name, value in {**ports, **(settings or {})}.items():
            section, key = name.rsplit(".", 1)
            begin = lines.index(f"[{section}]")
            at = next(at for at in range(begin, len(lines)) if lines[at].startswith(f"{key} = "))
            lines[at] = f"{key} = {value}"
        path.write_text("\n".join([*lines, also, ""]))

    def set(self, *lines):
        """A drop-in of the unit, as `systemctl edit` writes it."""
        folder = ROOT / self.drop_in[1:]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "test.conf").write_text("\n".join(["[Service]", *lines, ""]))
        run("systemctl", "daemon-reload")

    def start(self, check=True):
        return run("systemctl", "start", self.name, check=check)

    def stop(self):
        """Returns how many seconds it took."""
        begun = time.monotonic()
        run("systemctl", "stop", self.name)
        return time.monotonic() - begun

    def show(self, what):
        return run("systemctl", "show", "--value", f"--property={what}", self.name).strip()

    def pid(self):
        return int(self.show("MainPID"))

    def signal(self, name):
        run("systemctl", "kill", f"--signal={name}", self.name)

    def is_started_again(self, times=1):
        return int(self.show("NRestarts")) >= times and self.show("ActiveState") == "active"

    def by_its_user(self, *command, check=True):
        return run("runuser", "-u", "quintile", "--", *command, check=check)

    def command(self, *arguments, check=True):
        """A command of quintile on this shop."""
        return self.by_its_user("quintile", *arguments, "--config", f"{self.folder}/config.toml", check=check)

    def journal(self):
        """The lines of the unit's processes and of systemd about them: `(priority, text)` each."""
        run("journalctl", "--sync")
        lines = run("journalctl", f"--after-cursor={self.cursor}", f"--unit={self.name}", "--output=json", "--all")
        entries = [json.loads(line) for line in lines.splitlines() if line.startswith("{")]
        return [(int(entry["PRIORITY"]), entry["MESSAGE"]) for entry in entries]

    def says(self, *words):
        """Whether a line of the journal has all these words."""
        return any(all(word in text for word in words) for _, text in self.journal())

    def ask(self, path, body=None, headers=None, port=None):
        """Status and body of what it answers; 0 when nobody does."""
        address = f"http://127.0.0.1:{port or self.dashboard}"
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(address + path, data, {"Origin": address, **(headers or {})})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def is_well(self):
        return self.ask("/readyz")[0] == 200
