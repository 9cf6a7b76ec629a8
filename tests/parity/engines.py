"""The engines: each loads an export and runs a statement; rows come back as tuples of integers."""

import os
import sqlite3

# What score.sql asks of the two tables. All integers.
CUSTOMERS = "id first_order_at last_order_at order_count total_spent merged_into deleted_at redacted_at".split()
ORDERS = "customer_id ordered_at net counted".split()
TABLES = {"customers": CUSTOMERS, "orders": ORDERS}


def read_export(path):
    """The rows of customers and orders from the COPY blocks of quintile.sql."""
    rows = {table: [] for table in TABLES}
    wanted = None
    with open(path, encoding="utf-8", newline="\n") as file:
        for line in file:
            line = line.rstrip("\n")
            if line.startswith("COPY "):
                table = line.split('"')[1]
                names = [name.strip('" ') for name in line[line.index("(") + 1 : line.rindex(")")].split(",")]
                wanted = [names.index(name) for name in TABLES.get(table, [])]
            elif line == "\\.":
                wanted = None
            elif wanted:
                cells = line.split("\t")
                rows[table].append(tuple(None if cells[at] == "\\N" else int(cells[at]) for at in wanted))
    return rows


class SQLite:
    """The database itself, before it was exported."""

    name = f"SQLite {sqlite3.sqlite_version}"

    def __init__(self, home, **_):
        self.connection = sqlite3.connect(f"file:{home}/quintile.db?mode=ro", uri=True)

    def rows(self, statement):
        return self.connection.execute(statement).fetchall()

    def close(self):
        self.connection.close()


class PostgreSQL:
    def __init__(self, home, cluster, shop, **_):
        import psycopg

        self.name = f"PostgreSQL {cluster.version()}"
        cluster.create(shop)
        cluster.load(shop, f"{home}/export/quintile.sql")
        self.connection = psycopg.connect(cluster.dsn(shop), autocommit=True)

    def rows(self, statement):
        return self.connection.execute(statement).fetchall()

    def close(self):
        self.connection.close()


class DuckDB:
    def __init__(self, home, **_):
        import duckdb

        self.name = f"DuckDB {duckdb.__version__}"
        self.connection = duckdb.connect()
        for table, rows in read_export(f"{home}/export/quintile.sql").items():
            columns = TABLES[table]
            self.connection.execute(f"CREATE TABLE {table} ({', '.join(f'{name} BIGINT' for name in columns)})")
            if rows:
                self.connection.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(columns))})", rows)

    def rows(self, statement):
        return self.connection.execute(statement).fetchall()

    def close(self):
        self.connection.close()


class Spark:
    session = None

    def __init__(self, home, **_):
        import pyspark
        from pyspark.sql.types import LongType, StructField, StructType

        self.name = f"Spark {pyspark.__version__}"
        spark = Spark.start()
        for table, rows in read_export(f"{home}/export/quintile.sql").items():
            schema = StructType([StructField(name, LongType()) for name in TABLES[table]])
            spark.createDataFrame(rows, schema).createOrReplaceTempView(table)
            spark.catalog.cacheTable(table)

    @classmethod
    def start(cls):
        if cls.session is None:
            from pyspark.sql import SparkSession

            os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
            settings = {
                "spark.ui.enabled": "false",
                "spark.sql.shuffle.partitions": "1",
                "spark.ui.showConsoleProgress": "false",
                "spark.driver.memory": "1g",
                "spark.log.level": "ERROR",
            }
            builder = SparkSession.builder.master("local[1]").appName("parity")
            for key, value in settings.items():
                builder = builder.config(key, value)
            cls.session = builder.getOrCreate()
        return cls.session

    def rows(self, statement):
        return [tuple(row) for row in self.session.sql(statement).collect()]

    def close(self):
        for table in TABLES:
            self.session.catalog.uncacheTable(table)


ENGINES = [SQLite, PostgreSQL, DuckDB, Spark]
