"""The three databases of the companies example, real ones: started, restarted, and asked what they hold."""

from .mariadb import Mariadb
from .postgres import Postgres
from .sqlite import Sqlite

KINDS = ("sqlite", "postgres", "mariadb")


def start(kind, directory, host=None, tls=None, shared=False):
    """A fresh database of that kind with the example's two tables; a server also listens at `host`, for pods. `tls`
    is a directory of certificates (harness.certificates): whoever comes from elsewhere must then bring one. One that
    is `shared` by many tests takes more connections, and does not wait for the disk: no test takes its power away."""
    if kind == "sqlite":
        database = Sqlite(directory)
    else:
        database = {"postgres": Postgres, "mariadb": Mariadb}[kind](directory, host, tls, shared)
    database.create_tables()
    return database
