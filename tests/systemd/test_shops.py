"""Two shops on one machine, each with a unit, a folder and ports of its own."""

import unittest

import machine
from machine import Service, run
from shop import TAKES_ORDERS, customers, send_order


def setUpModule():
    machine.unpack()


class Shops(unittest.TestCase):
    def test_neither_notices_the_other(self):
        berlin, paris = Service("berlin"), Service("paris")
        for shop in (berlin, paris):
            said = shop.install()
            self.assertIn(f"made      /var/lib/quintile-{shop.shop}\n", said)
            self.assertIn(f"systemctl enable --now quintile@{shop.shop}", said)
            shop.configure(TAKES_ORDERS)
            run("systemctl", "enable", "--now", shop.name)
        self.assertEqual([send_order(berlin, 1), send_order(paris, 1), send_order(paris, 2)], [200] * 3)
        self.assertEqual((customers(berlin), customers(paris)), (1, 2))

        before = paris.pid()
        berlin.stop()
        self.assertEqual(berlin.ask("/healthz")[0], 0)
        self.assertEqual(send_order(paris, 3), 200)
        self.assertEqual((paris.pid(), paris.show("NRestarts")), (before, "0"))
        # The program is one for both: an update of either restarts whichever runs, and starts nothing else.
        said = berlin.install()
        self.assertIn("restarted quintile@paris\n", said)
        self.assertIn("systemctl enable --now quintile@berlin\n", said)
        self.assertEqual(berlin.show("ActiveState"), "inactive")
        berlin.start()
        before = (berlin.pid(), paris.pid())
        said = berlin.install()
        self.assertIn("restarted quintile@berlin\nrestarted quintile@paris\n", said)
        self.assertNotIn("next", said)
        self.assertFalse({*before} & {berlin.pid(), paris.pid()})
        for shop in (berlin, paris):
            shop.remove()

    def test_the_second_with_the_first_ones_ports_says_what_to_change(self):
        berlin, paris = Service("berlin"), Service("paris")
        paris.dashboard, paris.webhooks = berlin.dashboard, berlin.webhooks
        for shop in (berlin, paris):
            shop.install()
            shop.configure()
        berlin.start()
        paris.start(check=False)
        self.assertTrue(paris.says("cannot listen on", "change [webhooks] listen in config.toml"), paris.journal())
        self.assertTrue(berlin.is_well())
        for shop in (berlin, paris):
            shop.remove()
