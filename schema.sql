-- The whole current schema of a quintile database. `db::migrate` runs it on an empty file and
-- brings older files up to it; each table's comment names the one module that writes it.
--
-- Conventions: money is INTEGER minor units of the shop's currency; times are INTEGER Unix
-- milliseconds, UTC; ids given by a shop are TEXT (they pass 2^53). Ids without a comment are ours.
-- In tables that take many rows a CHECK of words is written with OR: for an IN of three or more, SQLite
-- builds a table in memory at every row, which takes longer than storing it.

-- Which version of the program brought this file to which schema, when it was put in place from a
-- backup, the key of the tombstones and of sessions, and which sessions were ended before their time.
-- Written by db.
CREATE TABLE meta (
  key   TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- What the shop sent, byte for byte, and what became of it. Of an erased person only what an order
-- is worth stays in a body, and 90 days after it came nothing at all, unless it is quarantined: then
-- body is empty. Written by intake.
CREATE TABLE inbox (
  id           INTEGER PRIMARY KEY,
  source       TEXT    NOT NULL CHECK (source = 'shopify' OR source = 'woocommerce' OR source = 'api'),
  topic        TEXT    NOT NULL,
  delivery_key TEXT,                       -- the sender's id of this message, if it gave one
  body_hash    BLOB    NOT NULL,           -- SHA-256 of the body as it came
  headers      TEXT    NOT NULL,           -- JSON object, signatures left out
  body         BLOB    NOT NULL,
  state        TEXT    NOT NULL CHECK (state = 'done' OR state = 'stale' OR state = 'ignored' OR state = 'quarantined'),
  reason       TEXT,                       -- why it is not simply done; a sentence for the merchant
  duplicates   INTEGER NOT NULL DEFAULT 0, -- how many more copies came
  received_at  INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX inbox_delivery ON inbox (delivery_key, topic, source, body_hash) WHERE delivery_key IS NOT NULL;
CREATE INDEX inbox_body ON inbox (body_hash);
-- Counted at every scrape of the metrics, so never from the bodies.
CREATE INDEX inbox_state ON inbox (state);
CREATE INDEX inbox_quarantined ON inbox (id) WHERE state = 'quarantined';
-- What the merchant has to know of; the Overview asks at every look.
CREATE INDEX inbox_notices ON inbox (topic, id) WHERE topic IN ('app/uninstalled', 'customers/data_request', 'customers/redact', 'shop/redact');

-- What is still to be done for a person: the search for what the inbox holds of an erased one, or the
-- file that answers a request for data. Gone when done, and with it what is looked for. Written by
-- intake.
CREATE TABLE privacy_tasks (
  id        INTEGER PRIMARY KEY,
  kind      TEXT    NOT NULL CHECK (kind IN ('erase', 'export')),
  keys      TEXT    NOT NULL,              -- JSON: ids, e-mails, phones and orders to look for
  position  INTEGER NOT NULL,              -- the inbox is searched up to and including this id
  last      INTEGER NOT NULL,              -- up to which it is searched: what came later was looked at when it came
  inbox_id  INTEGER,                       -- the message that asked for it, if one did
  begun_at  INTEGER NOT NULL
) STRICT;

-- Files that came in through the page, and what became of them. Written by intake.
CREATE TABLE imports (
  id          INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again: a page may still be open
  file_name   TEXT    NOT NULL,            -- as the browser named it
  state       TEXT    NOT NULL CHECK (state IN ('uploading', 'ready', 'refused', 'trying', 'importing', 'done', 'interrupted', 'failed')),
  size        INTEGER NOT NULL DEFAULT 0,  -- bytes
  format      TEXT,                        -- what it is, in words
  reason      TEXT,                        -- why it stands where it does; a sentence for the merchant
  foreseen    TEXT,                        -- JSON: what the last dry run found
  report      TEXT,                        -- JSON: what the import did
  has_file    INTEGER NOT NULL DEFAULT 0 CHECK (has_file IN (0, 1)), -- the file is there to be imported
  created_at  INTEGER NOT NULL,
  finished_at INTEGER
) STRICT;

-- People. A customer is known by the source's id (external_id) or, a guest, by e-mail alone.
-- Counters are recomputed from orders in the transaction that touches an order. Written by ledger.
CREATE TABLE customers (
  id              INTEGER PRIMARY KEY,
  source          TEXT    NOT NULL CHECK (source = 'shopify' OR source = 'woocommerce' OR source = 'csv' OR source = 'api'),
  external_id     TEXT,                    -- NULL: a guest
  email           TEXT,                    -- as given
  email_key       TEXT,                    -- trimmed and lower-cased
  first_name      TEXT,
  last_name       TEXT,
  phone           TEXT,
  consent         TEXT,                    -- e-mail marketing: subscribed, unsubscribed, pending, …; NULL: unknown
  tags            TEXT,
  -- Which message each field was last taken from (ledger::Version: the source's updated_at, then when
  -- it was sent), so that messages in any order end in the same row. With a version, a NULL field was
  -- cleared; without one it was never told, or told by a file.
  email_version      INTEGER,
  first_name_version INTEGER,
  last_name_version  INTEGER,
  phone_version      INTEGER,
  consent_version    INTEGER,
  tags_version       INTEGER,
  order_count     INTEGER NOT NULL DEFAULT 0,
  total_spent     INTEGER NOT NULL DEFAULT 0,
  avg_order_value INTEGER NOT NULL DEFAULT 0,
  first_order_at  INTEGER,
  last_order_at   INTEGER,
  merged_into     INTEGER REFERENCES customers (id), -- counts there; this row holds nothing any more
  redacted_at     INTEGER,
  deleted_at      INTEGER,
  created_at      INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX customers_external ON customers (external_id, source) WHERE external_id IS NOT NULL;
CREATE UNIQUE INDEX customers_guest ON customers (email_key) WHERE external_id IS NULL AND email_key IS NOT NULL;
CREATE INDEX customers_email ON customers (email_key) WHERE email_key IS NOT NULL AND external_id IS NOT NULL;

-- Who an id or a guest's e-mail stands for now: the shop merged two customers, or an id came with
-- a guest's e-mail. Deleting a row undoes it, since orders keep their own id and e-mail. Written by ledger.
CREATE TABLE aliases (
  kind        TEXT    NOT NULL CHECK (kind IN ('id', 'email')),
  source      TEXT    NOT NULL,            -- '' for kind email: a guest is one person in all sources
  key         TEXT    NOT NULL,            -- external id, or normalised e-mail
  customer_id INTEGER NOT NULL REFERENCES customers (id),
  created_at  INTEGER NOT NULL,
  PRIMARY KEY (kind, source, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX aliases_customer ON aliases (customer_id);

-- By what erased people were known, as keyed hashes (HMAC-SHA256 under the key in meta), so that no
-- way in brings them back: their orders count for the nameless customer. Written by ledger.
CREATE TABLE tombstones (
  kind        TEXT    NOT NULL CHECK (kind IN ('id', 'email', 'phone')),
  source      TEXT    NOT NULL,            -- '' for e-mail and phone
  hash        BLOB    NOT NULL,
  customer_id INTEGER NOT NULL REFERENCES customers (id),
  erased_at   INTEGER NOT NULL,
  PRIMARY KEY (kind, source, hash)
) STRICT, WITHOUT ROWID;

-- One row per order of the shop, its latest known state. Written by ledger.
CREATE TABLE orders (
  id                INTEGER PRIMARY KEY,
  source            TEXT    NOT NULL CHECK (source = 'shopify' OR source = 'woocommerce' OR source = 'csv' OR source = 'api'),
  source_id         TEXT    NOT NULL,
  customer_id       INTEGER REFERENCES customers (id), -- NULL: neither id nor e-mail
  customer_ref      TEXT,                  -- the source's customer id on the order
  email             TEXT,                  -- as given on the order
  email_key         TEXT,
  name              TEXT,                  -- "#1001"
  status            TEXT    NOT NULL CHECK (status = 'paid' OR status = 'pending' OR status = 'authorized' OR status = 'partially_paid' OR status = 'partially_refunded' OR status = 'refunded' OR status = 'voided' OR status = 'expired' OR status = 'cancelled' OR status = 'unknown'),
  is_test           INTEGER NOT NULL DEFAULT 0 CHECK (is_test IN (0, 1)),
  currency          TEXT    NOT NULL,
  gross             INTEGER NOT NULL,      -- as placed
  current           INTEGER,               -- after edits and refunds, where the source says
  outstanding       INTEGER,               -- not paid yet, where the source says
  refunded          INTEGER NOT NULL DEFAULT 0,
  net               INTEGER NOT NULL CHECK (net >= 0), -- what it is worth: ledger::net
  counted           INTEGER NOT NULL CHECK (counted IN (0, 1)), -- does it count for its customer
  ordered_at        INTEGER,               -- NULL only in a tombstone: deleted before it was seen
  created_at        INTEGER,
  cancelled_at      INTEGER,
  deleted_at        INTEGER,
  source_updated_at INTEGER,               -- the version; NULL: from a file without one
  triggered_at      INTEGER,               -- breaks ties of source_updated_at
  origin            TEXT    NOT NULL CHECK (origin = 'webhook' OR origin = 'sync' OR origin = 'csv' OR origin = 'api'),
  historical        INTEGER NOT NULL DEFAULT 0 CHECK (historical IN (0, 1)), -- imported, not live
  received_at       INTEGER NOT NULL,
  CHECK (counted = 0 OR (ordered_at IS NOT NULL AND deleted_at IS NULL))
) STRICT;
CREATE UNIQUE INDEX orders_source ON orders (source_id, source);
-- Covers the recomputation of one customer's counters: as cheap as incrementing them.
CREATE INDEX orders_customer ON orders (customer_id, ordered_at, net, counted);
CREATE INDEX orders_guest ON orders (email_key) WHERE customer_ref IS NULL AND email_key IS NOT NULL;

-- Every segment that somebody was ever in. Written by scoring.
CREATE TABLE segments (
  id   INTEGER PRIMARY KEY,
  name TEXT    NOT NULL UNIQUE
) STRICT;

-- The scores in force. No row: never ranked. segment_id NULL: ranked once, has no counted order now.
-- Each night changes rows all over this table, so they are short: segments and instants by number.
-- Who reads them reads `scores`. Written by scoring.
CREATE TABLE customer_scores (
  customer_id         INTEGER PRIMARY KEY,   -- customers (id); not checked, a row there never goes
  r                   INTEGER CHECK (r BETWEEN 1 AND 5),
  f                   INTEGER CHECK (f BETWEEN 1 AND 5),
  m                   INTEGER CHECK (m BETWEEN 1 AND 5),
  segment_id          INTEGER,               -- segments (id), not checked
  previous_segment_id INTEGER,
  segment_run         INTEGER,               -- runs (id), not checked: the one that last changed the segment
  -- The customer's counters at the last run, its as-of: what the next run tells the cause of a
  -- change from (an order, a refund, or only others moved).
  order_count         INTEGER NOT NULL DEFAULT 0,
  total_spent         INTEGER NOT NULL DEFAULT 0
) STRICT;
-- Within a segment it goes by customer_id, as every index does.
CREATE INDEX scores_segment ON customer_scores (segment_id);

CREATE VIEW scores AS
SELECT
  s.customer_id, s.r, s.f, s.m,
  (SELECT name FROM segments WHERE id = s.segment_id) AS segment,
  (SELECT name FROM segments WHERE id = s.previous_segment_id) AS previous_segment,
  (SELECT scored_at FROM runs WHERE id = s.segment_run) AS segment_since,
  s.order_count, s.total_spent
FROM customer_scores AS s;

-- One row per scoring run. slot is the local date of a nightly run: the UNIQUE keeps a night from
-- being scored twice, across restarts and clocks that jump. Written by scoring.
CREATE TABLE runs (
  id            INTEGER PRIMARY KEY,
  trigger       TEXT    NOT NULL CHECK (trigger IN ('scheduled', 'catch_up', 'manual', 'backfill')),
  slot          TEXT    UNIQUE,
  state         TEXT    NOT NULL CHECK (state IN ('scoring', 'scored', 'done', 'failed')),
  as_of         INTEGER NOT NULL,
  started_at    INTEGER NOT NULL,
  scored_at     INTEGER,                   -- step 1 committed: scores, events and statistics are visible
  emitted_at    INTEGER,                   -- step 2 done: every event has its deliveries
  finished_at   INTEGER,
  attempts      INTEGER NOT NULL DEFAULT 1,
  retry_at      INTEGER,                   -- a failed run is due again then
  error         TEXT,
  baseline      INTEGER NOT NULL DEFAULT 0 CHECK (baseline IN (0, 1)), -- the first run: everyone is new
  remap         INTEGER NOT NULL DEFAULT 0 CHECK (remap IN (0, 1)),    -- the segment rules changed
  held          INTEGER NOT NULL DEFAULT 0 CHECK (held IN (0, 1)),     -- its deliveries wait for the merchant
  missed        INTEGER NOT NULL DEFAULT 0, -- nights a catch-up stands for beside its own
  ties          TEXT    NOT NULL CHECK (ties IN ('together', 'split')),
  window_days   INTEGER NOT NULL,
  rules         TEXT    NOT NULL,          -- hash of the segment rules
  scored        INTEGER NOT NULL DEFAULT 0,
  changed       INTEGER NOT NULL DEFAULT 0, -- another segment than before, first-time scored included
  first_seq     INTEGER,                   -- its events in the outbox: first_seq..=last_seq
  last_seq      INTEGER,
  emit_position INTEGER,                   -- fan-out has done all events up to and including this seq
  score_ms      INTEGER,
  rank_ms       INTEGER,                   -- part of score_ms: ranking, no write lock
  write_ms      INTEGER,                   -- part of score_ms: the write transaction
  emit_ms       INTEGER
) STRICT;
CREATE UNIQUE INDEX runs_open ON runs ((1)) WHERE state = 'scoring' AND trigger <> 'backfill';
CREATE INDEX runs_as_of ON runs (as_of) WHERE scored_at IS NOT NULL;

-- Statistics of a run, so that no page ever counts customers. Written by scoring.
CREATE TABLE run_segments (
  run_id    INTEGER NOT NULL REFERENCES runs (id),
  segment   TEXT    NOT NULL,
  rank      INTEGER NOT NULL,              -- 0 is the best
  customers INTEGER NOT NULL,
  revenue   INTEGER NOT NULL,
  PRIMARY KEY (run_id, segment)
) STRICT, WITHOUT ROWID;
CREATE TABLE run_cells (
  run_id    INTEGER NOT NULL REFERENCES runs (id),
  r         INTEGER NOT NULL,
  f         INTEGER NOT NULL,
  m         INTEGER NOT NULL,
  customers INTEGER NOT NULL,
  revenue   INTEGER NOT NULL,
  PRIMARY KEY (run_id, r, f, m)
) STRICT, WITHOUT ROWID;
CREATE TABLE run_quintiles (
  run_id    INTEGER NOT NULL REFERENCES runs (id),
  dimension TEXT    NOT NULL CHECK (dimension IN ('r', 'f', 'm')),
  quintile  INTEGER NOT NULL,
  customers INTEGER NOT NULL,
  lowest    INTEGER NOT NULL,              -- real minimum and maximum of the value inside it:
  highest   INTEGER NOT NULL,              -- r: last_order_at, f: order_count, m: total_spent
  PRIMARY KEY (run_id, dimension, quintile)
) STRICT, WITHOUT ROWID;
CREATE TABLE run_moves (
  run_id    INTEGER NOT NULL REFERENCES runs (id),
  old       TEXT    NOT NULL,              -- '' for none: first-time scored
  new       TEXT    NOT NULL,              -- '' for none: no counted order any more
  customers INTEGER NOT NULL,
  PRIMARY KEY (run_id, old, new)
) STRICT, WITHOUT ROWID;

-- Every change of a score or a segment, for the customer's timeline. Written by scoring.
-- By run first, so that a run appends: by customer, each night would rewrite pages all over a table
-- that grows for years. One customer's rows are one look-up per run:
-- FROM runs r CROSS JOIN history h ON h.run_id = r.id AND h.customer_id = ?
CREATE TABLE history (
  customer_id INTEGER NOT NULL,            -- customers (id); not checked, a row there never goes
  run_id      INTEGER NOT NULL,            -- runs (id); not checked
  r           INTEGER,
  f           INTEGER,
  m           INTEGER,
  segment     TEXT,
  moved       INTEGER NOT NULL CHECK (moved IN (0, 1)), -- the segment changed: an outbox row exists
  PRIMARY KEY (run_id, customer_id)
) STRICT, WITHOUT ROWID;

-- Events, each written in the transaction that made it true. Holds ids; personal data is joined
-- when a delivery is rendered. Written by outbox.
CREATE TABLE outbox (
  seq         INTEGER PRIMARY KEY AUTOINCREMENT,
  event_id    BLOB    NOT NULL,            -- 16 bytes, UUID v7; shown as evt_…
  type        TEXT    NOT NULL,
  customer_id INTEGER,                     -- customers (id); not checked, a row there never goes
  run_id      INTEGER,                     -- runs (id); not checked
  old_segment TEXT,
  new_segment TEXT,
  cause       TEXT    CHECK (cause = 'order' OR cause = 'refund' OR cause = 'ranking' OR cause = 'baseline' OR cause = 'remap'),
  r           INTEGER,
  f           INTEGER,
  m           INTEGER,
  at          INTEGER NOT NULL,            -- eventTimestamp
  lapsed_days INTEGER                      -- of customer/lapsed: the threshold that was passed
) STRICT;
-- Once per customer for ever; asked only when a customer's first order counts.
CREATE UNIQUE INDEX outbox_first_order ON outbox (customer_id) WHERE type = 'customer/first_order';

-- Events that belong to no run and have no deliveries yet. A run's events need no rows here: its
-- emit_position says how far they are. Written by outbox.
CREATE TABLE unqueued (
  seq INTEGER PRIMARY KEY REFERENCES outbox (seq)
) STRICT;

-- HTTP messages: what goes, went or failed to go to one destination. Body and message id are
-- frozen at the first claim. Written by outbox.
CREATE TABLE deliveries (
  id           INTEGER PRIMARY KEY,
  message_id   BLOB    NOT NULL,           -- 16 bytes, UUID v7; shown as msg_…, sent as webhook-id
  destination  TEXT    NOT NULL,
  seq          INTEGER NOT NULL REFERENCES outbox (seq),
  customer_id  INTEGER,
  run_id       INTEGER,
  state        TEXT    NOT NULL CHECK (state = 'waiting' OR state = 'sending' OR state = 'retrying' OR state = 'held' OR state = 'delivered' OR state = 'dead' OR state = 'superseded' OR state = 'discarded'),
  hold         TEXT    CHECK (hold = 'baseline' OR hold = 'run' OR hold = 'consent' OR hold = 'destination' OR hold = 'restored'), -- why it is held
  events       INTEGER NOT NULL DEFAULT 1,
  attempts     INTEGER NOT NULL DEFAULT 0, -- counted in the claim, before the call
  spared       INTEGER NOT NULL DEFAULT 0, -- of these, those that do not bring it nearer to its end (429)
  due_at       INTEGER,                    -- when it may be claimed; 0: never tried, at its turn by id; NULL: not due by itself (behind an older one of its customer, held, done)
  claim        TEXT,                       -- boot id : number, of the claim in flight
  body         BLOB,
  last_status  INTEGER,
  last_error   TEXT,
  created_at   INTEGER NOT NULL,
  finished_at  INTEGER,
  step         INTEGER NOT NULL DEFAULT 0, -- requests of it that are done, where a destination takes several
  replay_of    BLOB                        -- message_id of the delivery that the merchant had sent again
) STRICT;
-- By destination first: what waits for one that hangs is never walked over on the way to another's.
CREATE INDEX deliveries_due ON deliveries (destination, due_at, id) WHERE due_at IS NOT NULL;
CREATE INDEX deliveries_open ON deliveries (destination, customer_id, id) WHERE finished_at IS NULL;
CREATE INDEX deliveries_state ON deliveries (state, id);
CREATE INDEX deliveries_run ON deliveries (run_id, destination, state, events);
-- Appended in order, so nearly free; finds what became of one event, and lets old events be deleted.
CREATE INDEX deliveries_seq ON deliveries (seq);

-- A destination takes a batch that was sent once before anything else.
CREATE INDEX deliveries_batches ON deliveries (destination) WHERE events > 1 AND finished_at IS NULL;
-- A receipt counts what was sent again once.
CREATE INDEX deliveries_replays ON deliveries (run_id, destination) WHERE replay_of IS NOT NULL;

-- The events of a delivery that holds several: put together when they were queued, or at a claim
-- those that had been queued alone. Written by outbox.
CREATE TABLE batched (
  delivery_id INTEGER NOT NULL,            -- deliveries (id); not checked: put together a hundred at a time
  seq         INTEGER NOT NULL,            -- outbox (seq); not checked, as above
  customer_id INTEGER,
  row_id      INTEGER NOT NULL,            -- kept free for a delivery of its own, if the batch is split or dissolved
  PRIMARY KEY (delivery_id, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX batched_seq ON batched (seq);

-- How each destination fares. No row: active, nothing has failed. Written by outbox.
CREATE TABLE destinations (
  name          TEXT PRIMARY KEY,
  state         TEXT    NOT NULL CHECK (state IN ('active', 'failing', 'paused', 'disabled')),
  reason        TEXT,                      -- why it is in this state; a sentence for the merchant
  since         INTEGER NOT NULL,
  failures      INTEGER NOT NULL DEFAULT 0, -- in a row
  failing_since INTEGER,                   -- the first of them
  probes        INTEGER NOT NULL DEFAULT 0, -- failed ones since it is failing
  probe_at      INTEGER,                   -- failing: one delivery is tried then
  wait_until    INTEGER,                   -- it asked for a pause (429)
  batch_limit   INTEGER                    -- events per request at most, learnt from a 413
) STRICT, WITHOUT ROWID;

-- Each try of a delivery. Written by outbox.
CREATE TABLE attempts (
  delivery_id INTEGER NOT NULL REFERENCES deliveries (id),
  number      INTEGER NOT NULL,
  started_at  INTEGER NOT NULL,
  duration_ms INTEGER,
  status      INTEGER,                     -- HTTP status; NULL: no answer
  error       TEXT,
  answer      BLOB,                        -- first 4 KiB
  PRIMARY KEY (delivery_id, number)
) STRICT, WITHOUT ROWID;

-- Pulls from the shop's own API, one row each, those that failed included. Written by sync.
CREATE TABLE syncs (
  id            INTEGER PRIMARY KEY,
  trigger       TEXT    NOT NULL CHECK (trigger IN ('scheduled', 'before_scoring', 'manual')),
  mode          TEXT    NOT NULL CHECK (mode IN ('full', 'incremental')), -- full: a bulk operation of the shop
  state         TEXT    NOT NULL CHECK (state IN ('running', 'done', 'failed')),
  since         INTEGER, -- what changed from then on; NULL: everything
  watermark     INTEGER NOT NULL, -- done: the next one asks from here on
  position      TEXT, -- where to go on, JSON; NULL: at the start, or done
  started_at    INTEGER NOT NULL,
  finished_at   INTEGER,
  attempts      INTEGER NOT NULL DEFAULT 1, -- taken up again after a crash or a failure
  orders_read       INTEGER NOT NULL DEFAULT 0,
  orders_new        INTEGER NOT NULL DEFAULT 0,
  orders_updated    INTEGER NOT NULL DEFAULT 0,
  orders_rejected   INTEGER NOT NULL DEFAULT 0,
  orders_deleted    INTEGER NOT NULL DEFAULT 0, -- gone from the shop without a word
  orders_missed     INTEGER, -- states that no webhook had told of; NULL: there are no webhooks
  customers_read    INTEGER NOT NULL DEFAULT 0,
  customers_new     INTEGER NOT NULL DEFAULT 0,
  customers_updated INTEGER NOT NULL DEFAULT 0,
  customers_rejected INTEGER NOT NULL DEFAULT 0,
  customers_deleted INTEGER NOT NULL DEFAULT 0,
  subscribed    INTEGER NOT NULL DEFAULT 0, -- webhooks made in the shop
  swept         INTEGER NOT NULL DEFAULT 0 CHECK (swept IN (0, 1)), -- it looked for what was deleted
  remarks       TEXT, -- what the merchant should know, a sentence per line
  error         TEXT
) STRICT;
CREATE UNIQUE INDEX syncs_running ON syncs ((1)) WHERE state = 'running';
