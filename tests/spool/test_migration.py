"""A spool that an older gsmtp has written is brought up to date at the next start, with everything in it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gsmtp.core.errors import SpoolUnhealthy
from gsmtp.spool.base import State
from gsmtp.spool.inspect import Inspector
from gsmtp.spool.verify import verify
from tests.support.spool import WALL, open_spool

VERSION_1 = """
PRAGMA page_size = 4096;
PRAGMA auto_vacuum = INCREMENTAL;
PRAGMA journal_mode = WAL;
BEGIN;
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE message (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, size INTEGER NOT NULL, received INTEGER NOT NULL,
    envelope TEXT NOT NULL, body BLOB
);
CREATE INDEX message_filed ON message (id) WHERE body IS NULL;
CREATE TABLE recipient (
    message INTEGER NOT NULL, idx INTEGER NOT NULL, address TEXT NOT NULL, domain TEXT NOT NULL, state TEXT NOT NULL,
    due INTEGER NOT NULL, attempts INTEGER NOT NULL, reply TEXT NOT NULL, hop TEXT NOT NULL, changed INTEGER NOT NULL,
    PRIMARY KEY (message, idx)
) WITHOUT ROWID;
CREATE INDEX recipient_due ON recipient (due, message, idx, domain) WHERE state = 'queued';
INSERT INTO meta VALUES ('opens', 1), ('probe', 0);
INSERT INTO message VALUES (1, '00/00-00007-00000001', 4, 1735689600000000,
    '{"v":1,"from":"s@example.net","conn":"00/00-00007-00000002","time":1735689600.0,"to":['
    || '{"addr":"a@a.example","dom":"a.example"},{"addr":"b@b.example","dom":"b.example"}]}', x'626F6479');
INSERT INTO recipient VALUES
    (1, 0, 'a@a.example', 'a.example', 'queued', 1735689600000000, 2, '451 later', '10.0.0.1:25', 1735689600000000),
    (1, 1, 'b@b.example', 'b.example', 'failed', 0, 1, '550 no', '10.0.0.2:25', 1735689600000000);
PRAGMA application_id = 1735617908;
PRAGMA user_version = 1;
COMMIT;
"""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A spool of schema version 1 with a message of which one recipient failed."""
    with closing(sqlite3.connect(tmp_path / "spool.db", isolation_level=None)) as database:
        database.executescript(VERSION_1)
    return tmp_path


def test_it_is_brought_up_to_date_and_what_failed_is_a_dead_letter(old: Path) -> None:
    spool = open_spool(old)
    (due,) = spool.due(WALL + 1e6, 10)
    assert (due.address, due.attempts, due.binding, due.warned, due.wish) == ("a@a.example", 2, "", 0, "")
    assert spool.body(due.message_id).data == b"body"
    spool.close()
    inspector = Inspector(str(old))
    (message,) = inspector.messages()
    inspector.close()
    assert [(one.state, one.reply, one.history) for one in message.recipients] == [
        (State.QUEUED, "451 later", ()),
        (State.DEAD, "550 no", ()),
    ]
    assert verify(str(old)).findings == []


def test_before_that_it_can_be_looked_at_by_nobody_and_says_why(old: Path) -> None:
    with pytest.raises(SpoolUnhealthy, match=r"written by an older gsmtp .*brings it up to date at its next start"):
        Inspector(str(old))
