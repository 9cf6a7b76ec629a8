-- Who is ranked, with which values, and how NTILE(5) ranks them.
--
-- Portable on purpose: standard window functions, integers only, named parameters, NULLs placed
-- explicitly, and a total order in every window that ranks (the value, then the customer's id), so that the
-- same rows come out again on any day and on any engine: `tests/parity` runs this file on PostgreSQL,
-- DuckDB and Apache Spark. Where an engine has no named parameters, numbers are written in their place;
-- nothing else changes.
--
-- `people` followed by `quintiles` is the definition of the scores. Parameters:
--
--   :as_of                    orders after this instant (Unix milliseconds) do not exist
--   :window_start             only orders after this instant count for frequency and money;
--                             smaller than every instant: all of them do
--   :include_without_orders   1: customers without a counted order are ranked too, and get 1
--   :together                 1: customers with equal values get equal scores; 0: plain NTILE

-- part: people
-- One row per customer. The counters in `customers` are right for everyone who has not ordered
-- since :as_of; the few others are counted again from their orders, through a covering index.
-- recency IS NULL: has no counted order.
WITH people AS (
  SELECT
    c.id,
    CASE
      WHEN c.last_order_at IS NULL OR c.last_order_at <= :as_of THEN c.last_order_at
      ELSE (SELECT MAX(o.ordered_at) FROM orders o
            WHERE o.customer_id = c.id AND o.counted = 1 AND o.ordered_at <= :as_of)
    END AS recency,
    CASE
      WHEN c.last_order_at IS NULL OR (c.last_order_at <= :as_of AND c.first_order_at > :window_start)
        THEN c.order_count
      ELSE (SELECT COUNT(*) FROM orders o
            WHERE o.customer_id = c.id AND o.counted = 1 AND o.ordered_at <= :as_of AND o.ordered_at > :window_start)
    END AS frequency,
    CASE
      WHEN c.last_order_at IS NULL OR (c.last_order_at <= :as_of AND c.first_order_at > :window_start)
        THEN c.total_spent
      ELSE (SELECT COALESCE(SUM(o.net), 0) FROM orders o
            WHERE o.customer_id = c.id AND o.counted = 1 AND o.ordered_at <= :as_of AND o.ordered_at > :window_start)
    END AS monetary
  FROM customers c
  WHERE c.merged_into IS NULL AND c.deleted_at IS NULL AND c.redacted_at IS NULL
)

-- part: quintiles
-- The scores: best = 5, always ascending. NTILE alone cuts through equal values; "together" gives
-- all of them the lowest of the fifths that NTILE gave any. With distinct values it is NTILE.
-- Customers without a counted order come first in every window and get 1.
, ranked AS (
  SELECT id, recency, frequency, monetary
  FROM people
  WHERE recency IS NOT NULL OR :include_without_orders = 1
)
, fifths AS (
  SELECT
    id, recency, frequency, monetary,
    NTILE(5) OVER (ORDER BY recency   ASC NULLS FIRST, id ASC) AS r,
    NTILE(5) OVER (ORDER BY frequency ASC NULLS FIRST, id ASC) AS f,
    NTILE(5) OVER (ORDER BY monetary  ASC NULLS FIRST, id ASC) AS m
  FROM ranked
)
, together AS (
  SELECT
    id, recency, r, f, m,
    MIN(r) OVER (PARTITION BY recency)   AS r_together,
    MIN(f) OVER (PARTITION BY frequency) AS f_together,
    MIN(m) OVER (PARTITION BY monetary)  AS m_together
  FROM fifths
)
SELECT
  id,
  CASE WHEN recency IS NULL THEN 1 WHEN :together = 1 THEN r_together ELSE r END AS r,
  CASE WHEN recency IS NULL THEN 1 WHEN :together = 1 THEN f_together ELSE f END AS f,
  CASE WHEN recency IS NULL THEN 1 WHEN :together = 1 THEN m_together ELSE m END AS m
FROM together
ORDER BY id ASC

-- part: values
-- Counters as they stand, for the count of a large shop (see cuts.rs). Whose counters reach past
-- :as_of or before :window_start is asked for again with `recount`.
SELECT id, first_order_at, last_order_at, order_count, total_spent
FROM customers
WHERE merged_into IS NULL AND deleted_at IS NULL AND redacted_at IS NULL

-- part: standing
-- Everyone beside the scores in force, in the order in which changes are written.
-- gone: 1 deleted or erased, 2 merged into another customer.
SELECT
  c.id, c.first_order_at, c.last_order_at, c.order_count, c.total_spent,
  CASE
    WHEN c.merged_into IS NOT NULL THEN 2
    WHEN COALESCE(c.deleted_at, c.redacted_at) IS NOT NULL THEN 1
  END AS gone,
  s.order_count, s.total_spent, s.segment_id, s.r, s.f, s.m
FROM customers c
LEFT JOIN customer_scores s ON s.customer_id = c.id
ORDER BY c.id ASC

-- part: recount
-- The counters of :customer at :as_of, those of the window last.
SELECT
  MAX(ordered_at), COUNT(*), COALESCE(SUM(net), 0),
  COUNT(*) FILTER (WHERE ordered_at > :window_start),
  COALESCE(SUM(net) FILTER (WHERE ordered_at > :window_start), 0)
FROM orders
WHERE customer_id = :customer AND counted = 1 AND ordered_at <= :as_of
