# Reads requests as JSON from standard input, prints whether the library accepts them.
import base64
import json
import sys

from standardwebhooks.webhooks import Webhook, WebhookVerificationError


def accepts(request):
    try:
        Webhook(request["secret"]).verify(base64.b64decode(request["body"]), request["headers"])
        return True
    except WebhookVerificationError:
        return False


print(json.dumps({"standardwebhooks": [accepts(request) for request in json.load(sys.stdin)]}))
