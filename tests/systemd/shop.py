"""What is around quintile: a shop that sends signed orders, and a tool that takes signed events."""

import base64
import hashlib
import hmac
import json
import threading
import time
import uuid
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = "whsec_" + base64.b64encode(b"a secret of twenty-four.").decode()


def sign(secret, identity, moment, body):
    """As standardwebhooks.com says."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = hmac.digest(key, f"{identity}.{moment}.".encode() + body, hashlib.sha256)
    return "v1," + base64.b64encode(signed).decode()


def send_order(service, number, secret=SECRET):
    """An order of a customer of its own; returns the answer's status."""
    now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    customer = {"id": f"c{number}", "email": f"c{number}@example.com"}
    order = {"id": str(number), "customer": customer, "orderedAt": now, "total": f"{number}.50", "status": "paid"}
    body = json.dumps({"orders": [{**order, "currency": "EUR"}]}).encode()
    identity, moment = f"msg_{uuid.uuid4().hex}", str(int(time.time()))
    headers = {
        "webhook-id": identity,
        "webhook-timestamp": moment,
        "webhook-signature": sign(secret, identity, moment, body),
        "content-type": "application/json",
    }
    return service.ask("/webhooks/orders", body, headers, service.webhooks)[0]


def customers(service):
    """How many there are, told by the command beside the running service."""
    return len(json.loads(service.command("customers", "--format", "json")))


class Tool:
    """Takes events on a port of its own and keeps those that are signed well, until closed."""

    def __init__(self, secret=SECRET):
        self.events, tool = [], self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                wanted = sign(secret, self.headers["webhook-id"], self.headers["webhook-timestamp"], body)
                good = wanted in self.headers["webhook-signature"].split(" ")
                if good:
                    tool.events.append(json.loads(body))
                self.send_response(204 if good else 401)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def section(self, secret=f'secret = "{SECRET}"'):
        """The lines of config.toml that lead here."""
        # By its name, which is looked up in the sandbox too.
        address = f"http://localhost:{self.server.server_port}/"
        wants = 'events = ["rfm/segment.changed"]'
        return f'[[destination]]\nname = "tool"\nkind = "webhook"\nurl = "{address}"\nallow_http = true\n{wants}\n{secret}\n'

    def close(self):
        self.server.shutdown()
        self.server.server_close()


# Settings: who may sign orders, and that the first run goes out, to a tool on this machine.
TAKES_ORDERS = {"webhooks.orders.secrets": f'["{SECRET}"]'}
SENDS = {"forwarder.baseline": '"send"', "forwarder.allow_private": '["127.0.0.0/8"]'}
