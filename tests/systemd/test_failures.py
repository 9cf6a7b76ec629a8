"""What goes wrong, and what the unit makes of it: killed, hung, busy, misled, damaged."""

import re
import shlex
import socket
import threading
import time
import unittest

import machine
from machine import ROOT, Service, eventually, run
from shop import TAKES_ORDERS, customers, send_order

# Customers of a shop whose first run writes for seconds.
MANY = 2_000_000


def setUpModule():
    machine.unpack()


def serving(*drop_in):
    """An installed shop that takes orders."""
    service = Service()
    service.install()
    service.configure(TAKES_ORDERS)
    if drop_in:
        service.set(*drop_in)
    service.start()
    return service


def large_shop(*drop_in):
    """A shop of `MANY` customers that was never scored, and serves."""
    service = serving(*drop_in)
    service.stop()
    file = ROOT / "tmp/orders.csv"
    with file.open("w") as rows:
        rows.write("order_id,customer_id,ordered_at,total\n")
        for n in range(MANY):
            rows.write(f"{n},{n},2026-0{1 + n % 9}-1{n % 10},{n % 997}.00\n")
    service.command("import", "/tmp/orders.csv")
    service.start()
    return service


def last_run(service):
    """State of the latest run, and for how many milliseconds it wrote, or "" as yet."""
    asked = "SELECT state, write_ms FROM runs ORDER BY id DESC LIMIT 1"
    said = service.by_its_user("sqlite3", "-cmd", ".timeout 5000", f"{service.folder}/quintile.db", asked)
    return tuple(said.strip().split("|")) if said else ("none", "")


class Killed(unittest.TestCase):
    def test_it_comes_back_within_seconds_and_has_every_order_it_took(self):
        service = serving()
        taken, stop = [], threading.Event()

        def send():
            number = 0
            while not stop.is_set():
                number += 1
                if send_order(service, number) == 200:
                    taken.append(number)

        sender = threading.Thread(target=send)
        sender.start()
        eventually("some orders", lambda: len(taken) > 20)
        service.signal("KILL")
        killed = time.monotonic()
        eventually("a new start", service.is_started_again)
        self.assertLess(time.monotonic() - killed, 10)
        after = len(taken)
        eventually("more orders", lambda: len(taken) > after + 20)
        stop.set()
        sender.join()
        # An order that was stored and not answered is no loss.
        self.assertGreaterEqual(customers(service), len(taken))
        service.command("check", "--deep")


class Watchdog(unittest.TestCase):
    def test_what_hangs_is_killed_and_started_again(self):
        service = serving("WatchdogSec=3s")
        self.assertEqual(send_order(service, 1), 200)
        hung = service.pid()
        service.signal("STOP")
        eventually("a new start", service.is_started_again)
        self.assertTrue(service.says("Failed with result 'watchdog'"), service.journal())
        self.assertNotEqual(service.pid(), hung)
        self.assertEqual(send_order(service, 2), 200)
        self.assertEqual(customers(service), 2)
        service.command("check", "--deep")
        self.assertEqual(run("find", service.folder, "-name", "core*"), "", "its memory in a file")

    def test_what_is_well_is_left_alone(self):
        service = serving("WatchdogSec=2s")
        time.sleep(13)
        self.assertEqual((service.show("NRestarts"), service.show("ActiveState")), ("0", "active"))

    def test_a_long_write_is_no_hang(self):
        service = large_shop("WatchdogSec=2s")
        self.assertEqual(service.ask("/api/v1/runs", b"")[0], 202)
        eventually("its end", lambda: last_run(service)[0] in ("done", "failed"), patience=120)
        self.assertEqual((last_run(service)[0], service.show("NRestarts")), ("done", "0"))
        print("it wrote for", last_run(service)[1], "ms", end=" ... ", flush=True)
        self.assertGreater(int(last_run(service)[1]), 2500, "too short to show anything; make the shop larger")

    def test_a_database_that_somebody_else_holds_is_no_hang(self):
        # Each try waits five seconds, and what comes meanwhile as long again; a restart would not free it.
        service = serving("WatchdogSec=24s")
        other = machine.begin("sqlite3", f"{service.folder}/quintile.db")
        self.addCleanup(other.kill)
        other.stdin.write("BEGIN IMMEDIATE;\n")
        other.stdin.flush()
        eventually("the lock", lambda: send_order(service, 1) == 503)
        until = time.monotonic() + 36
        while time.monotonic() < until:
            self.assertEqual(send_order(service, 1), 503)
        other.communicate("ROLLBACK;\n")
        self.assertEqual(send_order(service, 2), 200)
        self.assertEqual(service.show("NRestarts"), "0")


class Waiting(unittest.TestCase):
    def test_a_start_waits_for_a_database_that_somebody_else_holds(self):
        # For longer than a start may take that says nothing.
        service = serving("TimeoutStartSec=15s")
        self.assertEqual(send_order(service, 1), 200)
        service.stop()
        other = machine.begin("sqlite3", f"{service.folder}/quintile.db")
        self.addCleanup(other.kill)
        other.stdin.write("BEGIN IMMEDIATE;\n")
        other.stdin.flush()
        run("systemctl", "reset-failed", service.name, check=False)
        run("systemctl", "start", "--no-block", service.name)
        wanted = "not started yet: another program is writing to the file"
        eventually("the reason", lambda: wanted in service.show("StatusText"))
        time.sleep(25)
        self.assertEqual((service.show("ActiveState"), service.show("NRestarts")), ("activating", "0"))
        said = [text for priority, text in service.journal() if priority == 3 and wanted in text]
        self.assertEqual(len(said), 1, said)

        # Who wants it to stop is not kept waiting either.
        self.assertLess(service.stop(), 2)
        self.assertEqual((service.show("Result"), service.show("ExecMainStatus")), ("success", "0"))
        run("systemctl", "start", "--no-block", service.name)
        eventually("the reason", lambda: wanted in service.show("StatusText"))
        other.communicate("ROLLBACK;\n")
        eventually("the start", service.is_well)
        self.assertEqual(service.show("NRestarts"), "0")
        self.assertEqual(send_order(service, 2), 200)
        self.assertEqual(customers(service), 2)

    def test_a_start_waits_for_room_on_a_full_disk(self):
        service = serving()
        self.assertEqual(send_order(service, 1), 200)
        service.stop()
        disk = f"cp -a {service.folder} /tmp/shop && mount -t tmpfs -o size=4m tmpfs {service.folder}"
        run("sh", "-c", f"{disk} && cp -a /tmp/shop/. {service.folder} && rm -r /tmp/shop")
        self.addCleanup(run, "umount", service.folder)
        self.addCleanup(service.stop)
        run("dd", "if=/dev/zero", f"of={service.folder}/filler", check=False)
        run("systemctl", "start", "--no-block", service.name)
        wanted = "not started yet: the disk is full"
        eventually("the reason", lambda: service.show("StatusText") == wanted)
        run("rm", f"{service.folder}/filler")
        eventually("the start", service.is_well)
        self.assertEqual(service.show("NRestarts"), "0")
        self.assertEqual(send_order(service, 2), 200)
        self.assertEqual(customers(service), 2)


class Stopped(unittest.TestCase):
    def test_in_the_middle_of_a_run(self):
        service = large_shop()
        self.assertEqual(service.ask("/api/v1/runs", b"")[0], 202)
        eventually("the run's begin", lambda: last_run(service)[0] == "scoring")
        self.assertLess(service.stop(), 15)
        self.assertEqual((service.show("Result"), service.show("ExecMainStatus")), ("success", "0"))
        service.start()
        self.assertEqual(service.ask("/api/v1/runs", b"")[0], 202)
        eventually("another run", lambda: last_run(service)[0] in ("scoring", "scored"))
        begun = time.monotonic()
        run("systemctl", "restart", service.name)
        self.assertLess(time.monotonic() - begun, 15)
        self.assertTrue(service.is_well())
        service.command("check", "--deep")


class Misled(unittest.TestCase):
    def setUp(self):
        self.service = Service()
        self.service.install()
        self.service.configure()

    def test_a_mistake_in_the_configuration_is_said_once(self):
        service = self.service
        service.configure(also="[scorign]")
        service.start(check=False)
        time.sleep(5)
        self.assertEqual((service.show("NRestarts"), service.show("ExecMainStatus")), ("0", "2"))
        said = [(priority, text) for priority, text in service.journal() if "config.toml" in text]
        self.assertEqual(len(said), 1, said)
        self.assertEqual(said[0][0], 3)
        self.assertRegex(said[0][1], r"^error: /var/lib/quintile/config\.toml:\d+:\d+: .*scoring")

    def test_a_missing_configuration(self):
        run("rm", f"{self.service.folder}/config.toml")
        self.service.start(check=False)
        self.assertTrue(self.service.says("no config.toml at", "`quintile init` writes one"), self.service.journal())
        self.assertEqual(self.service.show("NRestarts"), "0")

    def test_a_port_that_is_taken(self):
        with socket.create_server(("127.0.0.1", self.service.dashboard)):
            self.service.start(check=False)
            self.assertTrue(self.service.says("cannot listen on", "change [dashboard] listen"), self.service.journal())
        # It is free again: no hand is needed.
        eventually("a start", self.service.is_well)

    def test_files_that_belong_to_root(self):
        for name in ("config.toml", "quintile.db"):
            path = f"{self.service.folder}/{name}"
            run("chown", "root:root", path)
            self.service.start(check=False)
            told = self.service.says(f"cannot read {path}", "belong to the user that quintile runs as")
            self.assertTrue(told, self.service.journal())
            run("systemctl", "stop", self.service.name)
            run("chown", "quintile:quintile", path)
        # A folder that does is given back by systemd, with what is in it.
        run("chown", "-R", "root:root", self.service.folder)
        run("systemctl", "reset-failed", self.service.name, check=False)
        self.service.start()
        self.assertTrue(self.service.is_well())

    def test_a_second_one_by_hand(self):
        self.service.start()
        said = self.service.command("serve", check=False)
        self.assertRegex(said, r"in use by process \d+ \(quintile serve\); stop it first")
        self.assertTrue(self.service.is_well())

    def test_what_root_makes_in_the_folder_is_the_services(self):
        service = self.service
        run("rm", "-rf", service.folder)
        run("install", "-d", "-o", "quintile", "-g", "quintile", "-m", "0700", service.folder)
        run("quintile", "init", service.folder)
        service.configure()
        service.start()
        self.assertTrue(service.is_well())
        self.assertEqual(run("find", service.folder, "!", "-user", "quintile"), "")


class Damaged(unittest.TestCase):
    def test_it_ends_and_the_command_in_the_journal_brings_it_back(self):
        service = serving()
        self.assertEqual(send_order(service, 1), 200)
        run("install", "-d", "-o", "quintile", "-m", "0700", f"{service.folder}/backups")
        service.command("backup", f"{service.folder}/backups/quintile-20260101T020000Z.db")
        service.stop()
        with (ROOT / service.folder[1:] / "quintile.db").open("r+b") as file:
            file.seek(4096)
            file.write(b"\xa5" * 20 * 4096)
        service.start(check=False)
        eventually("the end of trying", lambda: service.says("Start request repeated too quickly"))
        self.assertEqual(service.show("ActiveState"), "failed")

        said = next(text for priority, text in service.journal() if priority == 3 and "restore" in text)
        command = re.search("`(quintile --config [^`]+ restore [^`]+)`", said).group(1)
        # As whoever reads it will run it: as root, at once.
        self.assertIn("1 orders", run(*shlex.split(command)))
        run("systemctl", "reset-failed", service.name)
        service.start()
        self.assertTrue(service.is_well())
        self.assertEqual(customers(service), 1)
