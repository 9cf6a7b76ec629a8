// Reads requests as JSON from standard input, prints for each library whether it accepts them.
import { readFileSync } from "node:fs";
import { Webhook as StandardWebhooks } from "standardwebhooks";
import { Webhook as Svix } from "svix";

const accepts = (Webhook) => ({ secret, headers, body }) => {
  try {
    new Webhook(secret).verify(Buffer.from(body, "base64"), headers);
    return true;
  } catch (error) {
    if (error.name !== "WebhookVerificationError" && error.constructor.name !== "WebhookVerificationError") throw error;
    return false;
  }
};

const requests = JSON.parse(readFileSync(0, "utf8"));
console.log(JSON.stringify({ standardwebhooks: requests.map(accepts(StandardWebhooks)), svix: requests.map(accepts(Svix)) }));
