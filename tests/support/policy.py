"""Servers with a policy of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent
from typing import Any

from tests.support.inprocess import Client, Running, running

LISTENER = 'ESMTP_Listener { Listen "127.0.0.1:0" { } }\n'
TWO = (b"b@example.com", b"c@example.com")
BODY = b"Subject: x\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\nMessage-ID: <1@x>\r\n\r\nhello\r\n"


def script(options: str = "", name: str = "p", source: str = "p.py") -> str:
    """A scriptlet stanza with one script."""
    return f'scriptlet "scriptlet" {{ script "{name}" {{ source = "{source}"\n{options} }} }}\n'


@contextmanager
def policed(folder: Path, code: str, options: str = "", conf: str = "") -> Iterator[Running]:
    """Run a server with a policy; `code` is its module, indented or not."""
    (folder / "p.py").write_text("from gsmtp.api import *\n" + dedent(code))
    with running(folder, script(options) + conf + LISTENER) as server:
        yield server


def hook_of(server: Running, number: int = 0) -> Any:
    """The object of the n-th script or module."""
    return server.supervisor._resources.scripts.installed[number].hooks[0]


def play(client: Client, recipients: tuple[bytes, ...] = TWO, body: bytes = BODY) -> dict[str, bytes]:
    """One session up to QUIT or the end: the reply of each step; steps that make no sense any more are left out."""
    replies = {"connect": client.reply()}
    if not replies["connect"].startswith(b"220"):
        return replies
    replies["ehlo"] = client.say(b"EHLO client.example")
    if not replies["ehlo"].startswith(b"250"):
        return replies
    replies["mailfrom"] = client.say(b"MAIL FROM:<a@example.net>")
    if not replies["mailfrom"].startswith(b"250"):
        return replies
    taken = 0
    for recipient in recipients:
        reply = client.say(b"RCPT TO:<%s>" % recipient)
        replies[recipient.decode()] = reply
        if not reply:
            return replies
        taken += reply.startswith(b"250")
    if taken:
        assert client.say(b"DATA").startswith(b"354")
        client.send(body + b".\r\n")
        replies["data"] = client.reply()
    return replies


def spooled(server: Running) -> list[dict[str, Any]]:
    """What is in the spool: message, body, recipients with state and reply, and both contexts."""
    import json
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(server.path.parent / "spool" / "spool.db")) as database:
        found = []
        for number, name, size, text, body in database.execute("SELECT id, name, size, envelope, body FROM message"):
            if body is None:
                path = next((server.path.parent / "spool" / "bodies").glob(f"*/*/{number:012X}"))
                body = path.read_bytes()
            rows = database.execute(
                "SELECT address, state, reply, hop FROM recipient WHERE message = ? ORDER BY idx", (number,)
            ).fetchall()
            envelope = json.loads(text)
            found.append({
                "id": name, "size": size, "body": body, "recipients": rows,
                "conn": envelope.get("cctx", {}), "mess": envelope.get("mctx", {}), "envelope": envelope,
            })  # fmt: skip
    return found
