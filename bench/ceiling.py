"""The same rows without a queue, by the fastest way each database has. Only the database's part is timed."""

import datetime
import json
import time

from e2e.harness.ParseCompany import COMPANY_COLUMNS, PARTNER_COLUMNS, company_row, insert, partner_row

ROWS_PER_INSERT = 500


def rows(lines):
    """Companies with ids of our own, and their partners, ready to be sent."""
    now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None).isoformat(sep=" ")
    parents, children = [], []
    for number, line in enumerate(lines, start=1):
        company = json.loads(line)["Company"]
        parents.append((number, *company_row(company, now)))
        children.extend(partner_row(number, partner, now) for partner in company["Partners"])
    return [("company_regist_info", ["id", *COMPANY_COLUMNS], parents), ("stockholder", PARTNER_COLUMNS, children)]


def load(database, lines):
    """Companies per second, partners included, committed once."""
    tables = rows(lines)
    connection = database.connect()
    ways = {"sqlite": one_transaction, "postgres": copy, "mariadb": multi_row_insert}
    ready = [prepare(database.kind, connection, *table) for table in tables]
    try:
        start = time.perf_counter()
        ways[database.kind](connection, ready)
        connection.commit()
        seconds = time.perf_counter() - start
    finally:
        connection.close()
    assert database.counts()[:2] == tuple(len(table[2]) for table in tables)
    database.empty()
    return len(lines) / seconds


def prepare(kind, connection, table, columns, values):
    if kind == "postgres":
        text = "".join("\t".join(field(value) for value in row) + "\n" for row in values)
        return f"COPY {table} ({', '.join(columns)}) FROM STDIN", text.encode("utf-8")
    if kind == "mariadb":
        head = f"INSERT INTO {table} ({', '.join(columns)}) VALUES "
        rows_of_text = [f"({', '.join(map(connection.literal, row))})" for row in values]
        return [
            head + ", ".join(rows_of_text[start : start + ROWS_PER_INSERT])
            for start in range(0, len(values), ROWS_PER_INSERT)
        ]
    return insert(table, columns, "?"), values


def field(value):
    return "\\N" if value is None else str(value).replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")


def copy(connection, ready):
    with connection.cursor() as cursor:
        for statement, text in ready:
            with cursor.copy(statement) as stream:
                for start in range(0, len(text), 1 << 18):
                    stream.write(text[start : start + (1 << 18)])


def one_transaction(connection, ready):
    connection.execute("PRAGMA synchronous = FULL")
    for statement, values in ready:
        connection.executemany(statement, values)


def multi_row_insert(connection, ready):
    with connection.cursor() as cursor:
        for statements in ready:
            for statement in statements:
                cursor.execute(statement)
