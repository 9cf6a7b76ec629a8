"""A shop that is well: installed, ready when systemd says so, a night in its sandbox, stopped."""

import json
import unittest
from datetime import datetime, timedelta, timezone

import machine
from machine import ROOT, Service, eventually, run
from shop import SECRET, SENDS, TAKES_ORDERS, Tool, customers, send_order


def setUpModule():
    machine.unpack()


class Installing(unittest.TestCase):
    def test_it_makes_what_it_says_and_starts_nothing(self):
        service = Service()
        said = service.install()
        self.assertIn("made      /var/lib/quintile\n", said)
        self.assertIn("systemctl enable --now quintile", said)
        self.assertIn("nologin", run("getent", "passwd", "quintile"))
        for path, wanted in [
            ("/var/lib/quintile", "700 quintile"),
            ("/var/lib/quintile/config.toml", "600 quintile"),
            ("/var/lib/quintile/quintile.db", "600 quintile"),
            ("/etc/quintile", "700 root"),
            ("/etc/quintile/quintile.env", "600 root"),
        ]:
            self.assertEqual(run("stat", "-c", "%a %U", path).strip(), wanted, path)
        self.assertEqual(service.show("UnitFileState"), "disabled")
        self.assertEqual(service.show("ActiveState"), "inactive")

    def test_again_it_restarts_what_runs_and_keeps_what_is_there(self):
        service = Service()
        service.install()
        service.configure(TAKES_ORDERS)
        run("systemctl", "enable", "--now", service.name)
        before = service.pid()
        self.assertEqual(send_order(service, 1), 200)
        said = service.install()
        self.assertIn("kept      /var/lib/quintile\n", said)
        self.assertIn("restarted quintile\n", said)
        self.assertNotEqual(service.pid(), before)
        self.assertEqual(customers(service), 1)
        self.assertEqual(service.show("UnitFileState"), "enabled")

    def test_systemd_finds_nothing_wrong_with_the_units(self):
        Service().install()
        units = [f"/etc/systemd/system/{name}.service" for name in ("quintile", "quintile@shop")]
        self.assertEqual(run("systemd-analyze", "verify", *units), "")
        # In tenths: 0 is shut off from everything, 100 from nothing.
        said = run("systemd-analyze", "security", "--no-pager", "--threshold=15", "quintile.service")
        print(said.strip().splitlines()[-1])


class Serving(unittest.TestCase):
    def setUp(self):
        self.service = Service()
        self.service.install()

    def test_it_is_active_when_it_answers_and_not_before(self):
        service = self.service
        service.configure()
        for _ in range(10):
            run("systemctl", "start", "--no-block", service.name)
            eventually("the start", lambda: service.show("ActiveState") == "active")
            self.assertEqual(service.ask("/readyz")[0], 200)
            self.assertEqual(service.ask("/healthz", port=service.webhooks)[0], 200)
            service.stop()
            run("systemctl", "reset-failed", service.name, check=False)
        service.start()
        self.assertEqual(service.show("Type"), "notify")
        self.assertIn(f"http://127.0.0.1:{service.dashboard}", service.show("StatusText"))

    def test_orders_come_in_and_only_the_service_can_read_them(self):
        service = self.service
        service.configure(TAKES_ORDERS)
        service.start()
        self.assertEqual(send_order(service, 1), 200)
        self.assertEqual(send_order(service, 2, secret="whsec_bm90IHRoaXMgb25lLCBidXQgYW5vdGhlcg=="), 401)
        self.assertEqual(customers(service), 1)
        others = run("find", service.folder, "(", "!", "-user", "quintile", "-o", "-perm", "/077", ")")
        self.assertEqual(others, "", "files of others, or that others can read")

    def test_stopping_and_starting_by_hand(self):
        service = self.service
        service.configure()
        service.start()
        # More often than a few times, as somebody does who edits the configuration.
        for _ in range(6):
            run("systemctl", "restart", service.name)
            self.assertTrue(service.is_well())
        self.assertLess(service.stop(), 15)
        self.assertEqual((service.show("Result"), service.show("ExecMainStatus")), ("success", "0"))

    def test_the_journal_has_each_line_once_with_how_grave_it_is(self):
        service = self.service
        service.configure()
        run("chmod", "0644", f"{service.folder}/config.toml")
        service.start()
        said = [(priority, text) for priority, text in service.journal() if "others can read the secrets" in text]
        self.assertEqual(len(said), 1, said)
        priority, text = said[0]
        self.assertEqual(priority, 4)
        self.assertTrue(text.startswith("WARN others can"), text)


class Night(unittest.TestCase):
    def test_it_goes_well_in_the_sandbox(self):
        allowed, forbidden, tool = Service(), Service("elsewhere"), Tool()
        self.addCleanup(forbidden.remove)
        self.addCleanup(tool.close)
        for service, copies in ((allowed, "/srv/copies"), (forbidden, "/srv/others")):
            service.install()
            service.configure({**TAKES_ORDERS, **SENDS, "backup.copy_to": f'"{copies}"'})
            run("install", "-d", "-o", "quintile", "-m", "0700", copies)
        allowed.set("ReadWritePaths=/srv/copies")
        allowed.configure(also=tool.section())
        for service in (allowed, forbidden):
            service.start()
            self.assertEqual([send_order(service, number) for number in range(5)], [200] * 5)
        # Only a night that comes after the first order is one of the shop's.
        night = datetime.now(timezone.utc) + timedelta(seconds=65)
        for service in (allowed, forbidden):
            service.configure({"scoring.cron": f'"{night.minute} {night.hour} * * *"'})
            run("systemctl", "restart", service.name)

        eventually("the night's backup", lambda: allowed.says("made a verified backup"), patience=150)
        eventually("five events", lambda: len(tool.events) == 5)
        self.assertEqual({event["data"]["customer"]["externalId"] for event in tool.events}, {f"c{n}" for n in range(5)})
        (night_run,) = json.loads(allowed.command("runs", "--format", "json"))
        self.assertEqual((night_run["trigger"], night_run["state"], night_run["scored"]), ("scheduled", "done", 5))
        copies = run("ls", "/srv/copies").split()
        self.assertEqual([name.rsplit(".")[-1] for name in copies], ["db", "shop"])
        self.assertEqual(run("ls", f"{allowed.folder}/backups").split(), copies)
        allowed.command("check", "--deep")
        self.assertEqual([line for line in allowed.journal() if line[0] <= 4], [], "warnings and errors")

        # The other's unit has no leave to write there, which must not go by in silence.
        eventually("word of it", lambda: forbidden.says("/srv/others", "Read-only file system"))


class Secrets(unittest.TestCase):
    def test_they_may_stand_in_the_environment_file_or_come_from_systemd(self):
        service, tool = Service(), Tool()
        self.addCleanup(tool.close)
        service.install()
        with (ROOT / service.secrets[1:]).open("a") as file:
            file.write(f"TOOL_SECRET={SECRET}\n")
        orders = ROOT / "etc/quintile/orders.secret"
        orders.write_text(SECRET + "\n")
        orders.chmod(0o600)
        service.set(
            "LoadCredential=orders:/etc/quintile/orders.secret",
            "Environment=QUINTILE_WEBHOOKS__ORDERS__SECRETS_FILE=%d/orders",
        )
        service.configure(SENDS, tool.section('secret_env = "TOOL_SECRET"'))
        service.start()
        self.assertEqual(send_order(service, 1), 200)
        self.assertEqual(service.ask("/api/v1/runs", b"")[0], 202)
        eventually("an event that the tool believes", lambda: tool.events)

        # The same file, named by the configuration.
        service.set("LoadCredential=tool:/etc/quintile/orders.secret")
        secret = 'secret_file = "/run/credentials/quintile.service/tool"'
        service.configure(also=tool.section(secret).replace('name = "tool"', 'name = "another"'))
        run("systemctl", "restart", service.name)
        before = len(tool.events)
        self.assertEqual(service.ask("/api/v1/destinations/another/test", b"")[0], 200)
        self.assertEqual(len(tool.events), before + 1)
