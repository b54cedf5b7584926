"""The spool's files and tables: where they are, how a database is made, opened and recognised.

    SPOOLBASE/lock               held (flock) by the process that uses the spool; its pid is in it
    SPOOLBASE/spool.db           SQLite in WAL mode, with spool.db-wal and spool.db-shm beside it
    SPOOLBASE/ballast            8 MiB of nothing, given up when the disk is full (spool/ballast.py)
    SPOOLBASE/bodies/1F/00/…     bodies above the threshold, one file each, named by the message's number
    SPOOLBASE/bodies/new/…       bodies on their way in

No gevent: `gsmtp queue` uses it. Settings that were measured (docs/spool-states.md, "Measurements"): 4 KiB pages
(larger ones write more WAL for no gain), auto_vacuum=INCREMENTAL (gives space back after a burst; no cost seen), no
mmap (an I/O error would be a SIGBUS instead of an error), secure_delete off (Debian's default of on writes every
deleted page).
"""

from __future__ import annotations

import os
import sqlite3
from urllib.parse import quote

from gsmtp.core.errors import SpoolUnhealthy

SCHEMA_VERSION = 2
APPLICATION_ID = 1735617908  # the bytes "gsmt": what `file` shows, and how another program's database is told from ours
OLDEST_SQLITE = (3, 38, 0)  # the first with -> and ->> (2022-02-22)
PAGE_BYTES = 4096
WAL_KEEP_BYTES = 16 << 20

DATABASE = "spool.db"
LOCK = "lock"
BALLAST = "ballast"
BODIES = "bodies"
INCOMING = "new"

TABLES = """
BEGIN;
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE message (
    id INTEGER PRIMARY KEY,     -- core.ids.number(name): grows with time
    name TEXT NOT NULL,         -- the message id as the 250 said it
    size INTEGER NOT NULL,      -- of the body in bytes
    received INTEGER NOT NULL,  -- wall time in microseconds
    envelope TEXT NOT NULL,     -- versioned JSON, spool/codec.py
    body BLOB                   -- NULL: in a file under bodies/
);
CREATE INDEX message_filed ON message (id) WHERE body IS NULL;
CREATE TABLE recipient (
    message INTEGER NOT NULL,   -- message.id
    idx INTEGER NOT NULL,       -- place in the envelope, from 0
    address TEXT NOT NULL,
    domain TEXT NOT NULL,
    state TEXT NOT NULL,        -- spool/base.py: State
    due INTEGER NOT NULL,       -- wall time in microseconds; 0 unless queued
    attempts INTEGER NOT NULL,
    reply TEXT NOT NULL,        -- the last answer
    hop TEXT NOT NULL,          -- who gave it
    changed INTEGER NOT NULL,   -- wall time in microseconds of the last record
    since INTEGER NOT NULL DEFAULT 0,   -- wall time in microseconds from which it expires; 0: the message's reception
    doubt INTEGER NOT NULL DEFAULT 0,   -- wall time in microseconds of a hand-off without an outcome; 0: none
    warned INTEGER NOT NULL DEFAULT 0,  -- notices of delay that were sent
    wish TEXT NOT NULL DEFAULT '',      -- spool/base.py: Wish
    history TEXT NOT NULL DEFAULT '',   -- a JSON array a line: [changed, state, attempts, hop, reply]
    PRIMARY KEY (message, idx)
) WITHOUT ROWID;
CREATE INDEX recipient_due ON recipient (due, message, idx, domain) WHERE state = 'queued';
CREATE INDEX recipient_wish ON recipient (message, idx) WHERE wish <> '';
INSERT INTO meta VALUES ('opens', 0), ('probe', 0);
PRAGMA application_id = 1735617908;
PRAGMA user_version = 2;
COMMIT;
"""

MIGRATIONS = {
    1: """
BEGIN;
ALTER TABLE recipient ADD COLUMN since INTEGER NOT NULL DEFAULT 0;
ALTER TABLE recipient ADD COLUMN doubt INTEGER NOT NULL DEFAULT 0;
ALTER TABLE recipient ADD COLUMN warned INTEGER NOT NULL DEFAULT 0;
ALTER TABLE recipient ADD COLUMN wish TEXT NOT NULL DEFAULT '';
ALTER TABLE recipient ADD COLUMN history TEXT NOT NULL DEFAULT '';
UPDATE recipient SET state = 'dead' WHERE state = 'failed';
CREATE INDEX recipient_wish ON recipient (message, idx) WHERE wish <> '';
PRAGMA user_version = 2;
COMMIT;
""",
}
"""What brings a database of a version to the next one; each in one transaction."""


def database_path(base: str) -> str:
    """The database of the spool at `base`."""
    return os.path.join(base, DATABASE)


def text_from_disk(data: bytes) -> str:
    """Text columns may hold lone surrogates (client bytes that were not UTF-8), as three bytes each.

    A damaged byte is one row's trouble: were it an error, no list with that row could be read, nor the queue go on.
    """
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return data.decode("utf-8", "replace")


def connect(path: str, *, query: str = "mode=rw", timeout_s: float = 5.0) -> sqlite3.Connection:
    """A connection in autocommit mode that any one thread at a time may use. Raises sqlite3.Error."""
    connection = sqlite3.connect(
        f"file:{quote(path)}?{query}",
        uri=True,
        timeout=timeout_s,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=64,
    )
    connection.text_factory = text_from_disk
    return connection


def connect_writer(path: str, *, fsync: bool) -> sqlite3.Connection:
    """The connection that writes. Checkpoints are the keeper's, never a by-product of a commit."""
    connection = connect(path)
    try:
        connection.execute(f"PRAGMA synchronous={'FULL' if fsync else 'NORMAL'}")
        connection.execute("PRAGMA wal_autocheckpoint=0").fetchall()
        connection.execute("PRAGMA secure_delete=OFF").fetchall()
        connection.execute("PRAGMA temp_store=MEMORY")
        connection.execute("PRAGMA cache_size=-16384")  # KiB: the spine of all trees, at a million rows
        connection.execute(f"PRAGMA journal_size_limit={WAL_KEEP_BYTES}").fetchall()
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def create_or_check(connection: sqlite3.Connection, path: str) -> None:
    """Make the tables in a new database; refuse one that is newer, damaged or somebody else's.

    Raises:
        SpoolUnhealthy: with a sentence for the operator.
        sqlite3.Error: when it can't be read or written.
    """
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise SpoolUnhealthy(f"SQLite {sqlite3.sqlite_version} is too old: the spool needs 3.38")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == 0 and not connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
        connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        connection.execute("PRAGMA journal_mode=WAL").fetchall()
        connection.executescript(TABLES)
        return
    while version in MIGRATIONS and _is_ours(connection):
        connection.executescript(MIGRATIONS[version])
        version = connection.execute("PRAGMA user_version").fetchone()[0]
    check_version(connection, path)
    mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
    if mode != "wal":
        raise SpoolUnhealthy(f"{path}: can't be put into WAL mode (it is {mode})")


def _is_ours(connection: sqlite3.Connection) -> bool:
    return bool(connection.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID)


def check_version(connection: sqlite3.Connection, path: str) -> None:
    """Refuse a database of another program or of a newer gsmtp."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    if application != APPLICATION_ID:
        raise SpoolUnhealthy(f"{path} is not a gsmtp spool (its application_id is {application:#x})")
    if version < SCHEMA_VERSION:
        raise SpoolUnhealthy(
            f"{path} was written by an older gsmtp (its schema has version {version}, this one's is {SCHEMA_VERSION}): "
            "the server brings it up to date at its next start"
        )
    if version != SCHEMA_VERSION:
        raise SpoolUnhealthy(
            f"{path} was written by a newer gsmtp: its schema has version {version}, this one knows {SCHEMA_VERSION}"
        )


def checkpoint_all(connection: sqlite3.Connection) -> None:
    """Copy the whole WAL into the database and begin it anew in the room it has, so that a full disk can be opened."""
    connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
