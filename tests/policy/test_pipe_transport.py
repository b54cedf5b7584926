"""pipe_transport: what the program gets, what its exit status does, and that it can't hold anybody up."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.config_meaning.loading import messages
from tests.support.inprocess import Running, running

CONF = """
pipe_transport {{
  program_name = "{program}"
  domain = ( "pipe.example" )
  code = [ 3 = "450 4.2.0 later" 4 = "550 never" 5 = "250 fine" ]
  output_file = "{folder}/out"
  error_file = "{folder}/err"
  timeout = 20
}}
relay_domains = ( "pipe.example" "example.com" )
ESMTP_Listener {{ Listen "127.0.0.1:0" {{ Peer "127.0.7.0/24" {{ context = [ __bypass_pipe_transport = "true" ] }} }} }}
"""
BODY = b"Subject: x\r\n\r\nhello\r\n"


def _program(folder: Path, script: str) -> str:
    path = folder / "program"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def _send(server: Running, *recipients: bytes, body: bytes = BODY, source: str = "") -> bytes:
    client = server.client(source=source).greet()
    assert client.code(b"MAIL FROM:<a@example.net>") == 250
    for recipient in recipients:
        assert client.code(b"RCPT TO:<%s>" % recipient) == 250
    assert client.code(b"DATA") == 354
    client.send(body + b".\r\n")
    reply = client.reply()
    client.close()
    return reply


def test_the_program_gets_message_and_envelope(tmp_path: Path) -> None:
    program = _program(tmp_path, 'cat; env >&2; echo "args: $@" >&2')
    with running(tmp_path, CONF.format(program=f"{program} 'a b' c", folder=tmp_path)) as server:
        reply = _send(server, b"u@pipe.example", b"v@PIPE.example")
        assert reply.startswith(b"250 ")
        assert server.queued() == []
    out, said = (tmp_path / "out").read_bytes(), (tmp_path / "err").read_text()
    assert out.startswith(b"Return-Path: <a@example.net>\r\nReceived: ")
    assert out.endswith(b"\r\n\r\nhello\r\n")
    assert "RECIPIENTS=u@pipe.example\nv@PIPE.example\n" in said
    for line in ("SENDER=a@example.net", "RECIPIENT=u@pipe.example", "CLIENT_ADDRESS=127.0.0.1", "args: a b c"):
        assert line in said.splitlines()
    assert f"SIZE={len(out)}" in said.splitlines()
    message_id = next(line for line in said.splitlines() if line.startswith("MESSAGE_ID=")).partition("=")[2]
    assert message_id.encode() in reply
    assert "PASSWORD" not in said


def test_a_large_message_comes_whole(tmp_path: Path) -> None:
    program = _program(tmp_path, "cat")
    text = b"0123456789abcdef\r\n" * 50_000
    with running(tmp_path, CONF.format(program=program, folder=tmp_path)) as server:
        assert _send(server, b"u@pipe.example", body=b"Subject: x\r\n\r\n" + text).startswith(b"250 ")
    assert (tmp_path / "out").read_bytes().endswith(b"\r\n\r\n" + text)


@pytest.mark.parametrize(
    ("status", "reply"),
    [
        (1, b"504 5.5.0 pipe transport gave exit status 1\r\n"),
        (3, b"450 4.2.0 later\r\n"),
        (4, b"550 never\r\n"),
    ],
)
def test_the_exit_status_decides(tmp_path: Path, status: int, reply: bytes) -> None:
    program = _program(tmp_path, f"exit {status}")
    with running(tmp_path, CONF.format(program=program, folder=tmp_path)) as server:
        assert _send(server, b"u@pipe.example", b"w@example.com") == reply
        assert server.queued() == []


def test_a_status_that_stands_for_success(tmp_path: Path) -> None:
    program = _program(tmp_path, "exit 5")
    with running(tmp_path, CONF.format(program=program, folder=tmp_path)) as server:
        assert _send(server, b"u@pipe.example").startswith(b"250 ")


def test_other_domains_go_their_usual_way(tmp_path: Path) -> None:
    program = _program(tmp_path, 'printf "%s" "$RECIPIENTS"')
    with running(tmp_path, CONF.format(program=program, folder=tmp_path)) as server:
        assert _send(server, b"w@example.com").startswith(b"250 ")
        assert not (tmp_path / "out").exists()
        assert _send(server, b"u@pipe.example", b"w@example.com").startswith(b"250 ")
        assert (tmp_path / "out").read_text() == "u@pipe.example"
        assert [address for _, address in server.queued()] == ["w@example.com", "w@example.com"]
        assert _send(server, b"u@pipe.example", source="127.0.7.1").startswith(b"250 ")
        assert [address for _, address in server.queued()][2:] == ["u@pipe.example"]


def test_a_program_that_hangs_is_killed_and_holds_nobody_up(tmp_path: Path) -> None:
    program = _program(tmp_path, "sleep 60")
    conf = CONF.format(program=program, folder=tmp_path).replace("timeout = 20", "timeout = 1")
    with running(tmp_path, conf) as server:
        slow = server.client().greet()
        slow.say(b"MAIL FROM:<a@example.net>")
        slow.say(b"RCPT TO:<u@pipe.example>")
        slow.say(b"DATA")
        slow.send(BODY + b".\r\n")
        assert _send(server, b"w@example.com").startswith(b"250 ")
        assert slow.reply() == b"451 4.3.0 pipe transport failed\r\n"
        assert "was killed: it had not ended after 1 s" in str(server.log)
        slow.close()


def test_a_program_that_is_not_there_is_a_matter_of_now(tmp_path: Path) -> None:
    with running(tmp_path, CONF.format(program="/no/such/program", folder=tmp_path)) as server:
        assert _send(server, b"u@pipe.example") == b"451 4.3.0 pipe transport failed\r\n"
        assert "/no/such/program can't be started" in str(server.log)


def test_what_is_said_at_load() -> None:
    text = 'pipe_transport { program_name = "cat" code = [ 300 = "250 ok" ] }'
    assert messages(text) == [
        '1:1: error: pipe_transport has no domain [set domain = ( "example.com" )]',
        "1:33: error: value 'cat' is not valid for option 'program_name': expected the whole path of a program"
        " [arguments may follow; blanks in them are quoted as for a shell, which is not used]",
        "1:46: error: value [ … ] is not valid for option 'code': '300' is no exit status: expected 0 to 255",
    ]
    assert (
        "'ok' is no reply" in messages('pipe_transport { program_name = "/x" domain = "a.b" code = [ 1 = "ok" ] }')[0]
    )
