"""A made-up shop: n customers, 4n orders over two years, a few customers with most of them; and days
in it on which one customer in a hundred orders. The same numbers on every machine."""

import numpy
import polars

END = 1_780_272_000  # 1 June 2026: no order of the first file is later
DAY = 86_400
TWO_YEARS = 730 * DAY


def random(seed, count, below):
    """SplitMix64 (Steele, Lea, Flood 2014), each number below `below`."""
    with numpy.errstate(over="ignore"):
        bits = numpy.uint64(seed) + numpy.arange(1, count + 1, dtype=numpy.uint64) * numpy.uint64(0x9E3779B97F4A7C15)
        bits = (bits ^ (bits >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
        bits = (bits ^ (bits >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
        bits = bits ^ (bits >> numpy.uint64(31))
    return (bits % numpy.uint64(below)).astype(numpy.int64)


def write(path, first_number, owners, seconds, cents):
    numbers = numpy.arange(first_number, first_number + len(owners))
    frame = polars.DataFrame({"order_id": numbers, "owner": owners, "at": seconds * 1_000_000, "cents": cents})
    frame.select(
        "order_id",
        polars.format("c{}", "owner").alias("customer_id"),
        polars.format("c{}@example.com", "owner").alias("email"),
        polars.from_epoch("at", time_unit="us").dt.strftime("%Y-%m-%dT%H:%M:%SZ").alias("ordered_at"),
        polars.format("{}.{}", polars.col("cents") // 100, (polars.col("cents") % 100).cast(str).str.zfill(2)).alias("total"),
    ).write_csv(path)


def history(path, customers):
    """Everyone once; the rest mostly by the first of them."""
    more = 3 * customers
    skewed = random(1, more, customers) * random(2, more, customers) // customers
    owners = numpy.concatenate([numpy.arange(customers), skewed])
    seconds = END - random(3, len(owners), TWO_YEARS)
    write(path, 1, owners, seconds, 500 + random(4, len(owners), 30_000))


def night(path, customers, number):
    """The orders of day `number` (1, 2, …) after the history."""
    count = customers // 100
    seconds = END + (number - 1) * DAY + random(10 * number + 1, count, DAY)
    owners = random(10 * number + 2, count, customers)
    write(path, 4 * customers + 1 + (number - 1) * count, owners, seconds, 500 + random(10 * number + 3, count, 30_000))
