"""The companies recipe as a Python programmer would write it for an rq worker; the database is in COMPANIES_DATABASE.

The interop tests hold it beside our worker, and the benchmark runs against it.
"""

import datetime
import json
import os
import sqlite3
from urllib.parse import urlsplit

COMPANY_COLUMNS = [
    "name",
    "source_url",
    "registered_capital",
    "oper_name",
    "founded_date",
    "company_type",
    "status_of_operation",
    "business_scope",
    "registered_addr",
    "term_start",
    "term_end",
    "regist_authority",
    "check_date",
    "company_logo",
    "reg_num",
    "province",
    "city",
    "county",
    "created_time",
    "update_time",
]
PARTNER_COLUMNS = [
    "company_id",
    "stock_type",
    "stock_name",
    "certificate_type",
    "certificate_info",
    "subscribe_capital",
    "subs_capi_date",
    "subs_capi_way",
    "real_capital",
    "real_capi_date",
    "real_capi_way",
    "stock_percent",
    "created_time",
    "update_time",
]

_connections = {}


def connection():
    """One per process: a forked work horse cannot share its parent's."""
    pid = os.getpid()
    if pid not in _connections:
        _connections[pid] = connect(os.environ["COMPANIES_DATABASE"])
    return _connections[pid]


def connect(url):
    """(DB-API connection, its placeholder, how a new id is learnt)"""
    if url.startswith("sqlite:"):
        database = sqlite3.connect(url[len("sqlite:") :], timeout=60)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        return database, "?", "lastrowid"
    if url.startswith("postgres:"):
        import psycopg

        return psycopg.connect(url), "%s", "returning"
    import pymysql

    parts = urlsplit(url)
    return (
        pymysql.connect(
            host=parts.hostname,
            port=parts.port,
            user=parts.username,
            password=parts.password,
            database=parts.path[1:],
            charset="utf8mb4",
        ),
        "%s",
        "lastrowid",
    )


def iso_date(text):
    return None if text is None else datetime.date.fromisoformat(text[:10]).isoformat()


def chinese_date(text):
    return "1900-01-01" if text is None else datetime.datetime.strptime(text, "%Y年%m月%d日").date().isoformat()


def company_row(company, now):
    area = company["Area"]
    return (
        company["Name"],
        "http://example.com/company?unique=" + company["Unique"],
        company["RegistCapi"],
        company["OperName"],
        iso_date(company["StartDate"]),
        company["EconKind"],
        company["Status"],
        company["Scope"],
        company["Address"],
        iso_date(company["TermStart"]),
        iso_date(company["TeamEnd"]),
        company["BelongOrg"],
        iso_date(company["CheckDate"]),
        "",
        company["No"],
        area["Province"],
        area["City"],
        area["County"],
        now,
        now,
    )


def partner_row(company_id, partner, now):
    return (
        company_id,
        partner["StockType"],
        partner["StockName"],
        partner["IdentifyType"],
        partner["IdentifyNo"],
        partner["ShouldCapi"],
        chinese_date(partner["ShoudDate"]),
        partner["InvestType"],
        partner["RealCapi"],
        chinese_date(partner["CapiDate"]),
        partner["InvestType"],
        partner["StockPercent"],
        now,
        now,
    )


def insert(table, columns, placeholder):
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join([placeholder] * len(columns))})"


def parse_company(line, *_ignored, **_also_ignored):
    """One company and its partners in one transaction; nothing of either if anything is wrong."""
    company = json.loads(line)["Company"]
    now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None).isoformat(sep=" ")
    partners = company["Partners"] or []
    database, placeholder, ids = connection()
    cursor = database.cursor()
    try:
        statement = insert("company_regist_info", COMPANY_COLUMNS, placeholder)
        if ids == "returning":
            cursor.execute(statement + " RETURNING id", company_row(company, now))
            company_id = cursor.fetchone()[0]
        else:
            cursor.execute(statement, company_row(company, now))
            company_id = cursor.lastrowid
        cursor.executemany(
            insert("stockholder", PARTNER_COLUMNS, placeholder),
            [partner_row(company_id, partner, now) for partner in partners],
        )
        database.commit()
    except BaseException:
        database.rollback()
        raise
    return 1 + len(partners)
