"""The job of the tests of sequences: a note, a row. `note` is for rq's worker; ours has RECIPE."""

import json
import os
import sqlite3

FUNCTION = "e2e.harness.notes.note"
TABLE = "CREATE TABLE notes (id INTEGER PRIMARY KEY, effect INTEGER NOT NULL)"
RECIPE = [
    {
        "functions": [FUNCTION],
        "record": "job.args[0]",
        "tables": [{"table": "notes", "columns": {"effect": "record.effect"}}],
    }
]


def note(text):
    effect = json.loads(text)["effect"]
    connection = sqlite3.connect(os.environ["NOTES"], timeout=60)
    with connection:
        connection.execute("INSERT INTO notes (effect) VALUES (?)", (effect,))
    connection.close()


def text(effect, good=True):
    return json.dumps({"effect": effect}) if good else json.dumps({"effect": effect})[:-1]
