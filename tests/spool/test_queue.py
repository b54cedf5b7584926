"""`gsmtp queue`: reads beside a running server, of a stopped one and after a crash; streams; is friendly."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tracemalloc
from itertools import islice
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent.event import Event

from gsmtp.cli.main import main
from gsmtp.core.envelope import Envelope, Recipient
from gsmtp.core.errors import SpoolError, SpoolUnhealthy
from gsmtp.spool.base import State
from gsmtp.spool.inspect import Inspector, NoSpool
from gsmtp.spool.selection import Selection
from tests.support.source import ROOT
from tests.support.spool import (
    THRESHOLD,
    WAIT_S,
    WALL,
    accept,
    commit,
    delivered,
    make_envelope,
    note,
    open_spool,
    queued,
)


def _listed(base: Path, state: str = "", limit: int = 0, **wanted: Any) -> list[str]:
    inspector = Inspector(str(base))
    selection = Selection(states=(state,) if state else (), **wanted)
    try:
        return [message.envelope.message_id for message in inspector.messages(selection, limit=limit)]
    finally:
        inspector.close()


def _files(base: Path) -> dict[str, int]:
    return {str(path): path.stat().st_size for path in base.rglob("*") if path.is_file()}


def test_messages_by_state_domain_and_limit(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    first = accept(spool, b"1", "a@one.example", "b@two.example")
    second = accept(spool, b"2", "a@two.example")
    third = accept(spool, b"3" * THRESHOLD * 2, "a@three.example")
    note(spool, queued(first, 1, 0, state=State.DEAD), delivered(first, 0))
    assert _listed(tmp_path) == [first, second, third], "beside a running server"
    spool.close()
    before = _files(tmp_path)
    assert _listed(tmp_path) == [first, second, third]
    assert _listed(tmp_path, state=State.QUEUED) == [second, third]
    assert _listed(tmp_path, state=State.DEAD) == [first]
    assert _listed(tmp_path, domain="two.example") == [first, second]
    assert _listed(tmp_path, domain="two.example", state=State.QUEUED) == [second]
    assert _listed(tmp_path, limit=2) == [first, second]
    assert _files(tmp_path) == before, "nothing was written"


def test_a_message_shows_every_recipient(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    message_id = accept(spool, b"12345", "a@one.example", "b@two.example")
    note(spool, queued(message_id, 1, WALL + 60.5, attempts=3))
    inspector = Inspector(str(tmp_path))
    message = inspector.message(message_id)
    assert message is not None
    assert message.envelope == spool.envelope(message_id)
    assert message.envelope.size_bytes == 5
    one, two = message.recipients
    assert (one.address, one.state, one.attempts, one.reply) == ("a@one.example", State.QUEUED, 0, "")
    assert (two.domain, two.due_wall, two.attempts) == ("two.example", WALL + 60.5, 3)
    assert (two.reply, two.hop, two.when_wall) == ("451 4.3.0 later", "127.0.0.1:25", WALL)
    assert inspector.message("00/00-00000-FFFFFFFF") is None
    inspector.close()
    spool.close()


def test_twenty_thousand_messages_stream(tmp_path: Path) -> None:
    spool = open_spool(tmp_path, fsync=False)
    answers: list[SpoolError | None] = []
    over = Event()
    many = 20_000

    def done(problem: SpoolError | None) -> None:
        answers.append(problem)
        if len(answers) == many:
            over.set()

    for number in range(many):
        body = spool.open()
        body.write(b"x" * 200)
        spool.commit(make_envelope(0), body, done)
        if number % 500 == 0:
            gevent.sleep(0)
    assert over.wait(WAIT_S * 3)
    assert answers == [None] * many
    inspector = Inspector(str(tmp_path))
    tracemalloc.start()
    messages = inspector.messages()
    assert len(list(islice(messages, 300))) == 300
    accept(spool, b"meanwhile")
    rest = sum(1 for _ in messages)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rest == many - 300 + 1
    assert peak < 3_000_000
    inspector.close()
    spool.close()


def test_no_spool_and_damage(tmp_path: Path) -> None:
    with pytest.raises(NoSpool, match="there is no spool at"):
        Inspector(str(tmp_path / "nowhere"))
    (tmp_path / "spool.db").write_bytes(b"")
    with pytest.raises(NoSpool, match="is being made"):
        Inspector(str(tmp_path))
    (tmp_path / "spool.db").write_bytes(b"no database" * 1000)
    with pytest.raises(SpoolUnhealthy, match=r"can't read the spool .*spool\.db: file is not a database"):
        Inspector(str(tmp_path))


def test_reading_after_a_crash_takes_nothing_from_the_next_start(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "tests.support.spool_child",
        "after the commit, before the callback",
        str(tmp_path),
    ]
    subprocess.run(command, cwd=ROOT, timeout=60, check=False)
    assert len(_listed(tmp_path)) == 1
    spool = open_spool(tmp_path)
    assert len(spool.due(WALL, 10)) == 1
    spool.close()


def test_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spool = open_spool(tmp_path)
    message_id = accept(spool, b"x" * 1500, "a@one.example", "b@two.example")
    note(spool, queued(message_id, 1, 0, state=State.DEAD))
    spool.close()
    assert main(["queue", "list", "--spool", str(tmp_path)]) == 0
    header, first, second, total = capsys.readouterr().out.splitlines()
    assert header.split() == ["ID", "AGE", "SIZE", "STATE", "NEXT", "TRY", "SENDER", "RECIPIENT", "LAST", "REPLY"]
    assert first.split()[0] == message_id
    assert first.split()[2:] == ["1.5", "KiB", "queued", "now", "<sender@example.net>", "a@one.example"]
    assert second.split() == ["dead", "-", "b@two.example", "451", "4.3.0", "later"]
    assert header.index("RECIPIENT") == first.index("a@one.example") == second.index("b@two.example")
    assert total == "1 message"


def test_json_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spool = open_spool(tmp_path)
    ids = [accept(spool, b"x", f"{name}@example.com") for name in "abc"]
    note(spool, queued(ids[1], 0, WALL + 60, attempts=2))
    spool.close()
    assert main(["queue", "list", "--json", "--spool", str(tmp_path)]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["id"] for row in rows] == ids
    assert rows[1]["received"] == WALL
    assert rows[1]["recipients"] == [
        {
            "index": 0,
            "address": "b@example.com",
            "domain": "example.com",
            "state": "queued",
            "next_try": WALL + 60,
            "attempts": 2,
            "reply": "451 4.3.0 later",
            "hop": "127.0.0.1:25",
            "last_change": WALL,
            "in_doubt_since": None,
            "wish": "",
            "history": [
                {
                    "when": WALL,
                    "state": "queued",
                    "attempts": 2,
                    "hop": "127.0.0.1:25",
                    "reply": "451 4.3.0 later",
                }
            ],
        }
    ]


def test_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spool = open_spool(tmp_path)
    message_id = accept(spool, b"x" * 5, "a@one.example", "b@two.example")
    note(spool, queued(message_id, 1, WALL + 60, attempts=1))
    assert main(["queue", "show", message_id.lower(), "00/00-00000-FFFFFFFF", "--spool", str(tmp_path)]) == 1
    output = capsys.readouterr()
    assert output.err == "00/00-00000-FFFFFFFF is not in the spool: delivered, or never accepted\n"
    assert message_id in output.out
    assert "received    2025-01-01 00:00:00Z, " in output.out
    assert "size        5 bytes, 7BIT\n" in output.out
    assert "recipient   <a@one.example> queued, 0 attempts, next try 2025-01-01 00:00:00Z (now)\n" in output.out
    assert "recipient   <b@two.example> queued, 1 attempt, next try 2025-01-01 00:01:00Z (now)\n" in output.out
    assert "2025-01-01 00:00:00Z from 127.0.0.1:25: 451 4.3.0 later\n" in output.out
    spool.close()


def test_the_spool_comes_from_the_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spool = open_spool(tmp_path / "spool")
    message_id = accept(spool, b"x")
    spool.close()
    conf = tmp_path / "ecelerity.conf"
    conf.write_text(f'spoolbase = "{tmp_path}/spool"\nESMTP_Listener {{ Listen ":25" {{ }} }}\n')
    assert main(["queue", "list", str(conf)]) == 0
    assert message_id in capsys.readouterr().out
    assert main(["queue", "show", str(conf), message_id]) == 0
    assert message_id in capsys.readouterr().out
    conf.write_text('spoolbase = "half\n')
    assert main(["queue", "list", str(conf)]) == 1
    assert f"{conf}:1:" in capsys.readouterr().err


def test_friendly_when_there_is_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["queue", "list", "--spool", str(tmp_path / "no")]) == 0
    assert capsys.readouterr().err == f"there is no spool at {tmp_path}/no: it is made when the server first starts\n"
    open_spool(tmp_path).close()
    assert main(["queue", "list", "--spool", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "the queue is empty\n"
    accept_one = open_spool(tmp_path)
    accept(accept_one, b"x")
    accept_one.close()
    assert main(["queue", "list", "--spool", str(tmp_path), "--domain", "other.example"]) == 0
    assert capsys.readouterr().out == "no message matches\n"
    assert main(["queue", "show", "--spool", str(tmp_path), "nonsense"]) == 1
    assert "'nonsense' is not a message id" in capsys.readouterr().err


def test_what_a_client_wrote_does_not_reach_the_terminal_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spool = open_spool(tmp_path)
    envelope = Envelope(
        "00/00-00001-00000001", "", "evil\x1b[2J\udcff@x", [Recipient("a\r\n@example.com", "example.com")]
    )
    assert commit(spool, envelope, b"x") is None
    spool.close()
    assert main(["queue", "list", "--spool", str(tmp_path)]) == 0
    assert main(["queue", "show", "--spool", str(tmp_path), envelope.message_id]) == 0
    output = capsys.readouterr().out
    assert "\x1b" not in output
    assert "evil\\x1b[2J\\udcff@x" in output
    assert "a\\r\\n@example.com" in output


def test_the_command_loads_no_gevent() -> None:
    code = "import sys, gsmtp.cli.queue; sys.exit('gevent' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60, check=False).returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: becomes another user")
def test_a_reader_without_permission_is_told(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    accept(spool, b"x")
    # Everything is loaded before the change: the interpreter itself may be out of that user's reach.
    code = """
import os, sys
from gsmtp.spool.inspect import Inspector
os.setuid(65534)
try:
    Inspector(sys.argv[1])
except Exception as error:
    print(type(error).__name__, error)
"""
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert run.stdout == f"SpoolUnhealthy can't read the spool at {tmp_path}: Permission denied\n"
    spool.close()
