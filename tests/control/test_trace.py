"""``trace inbound``: both sides of a session in a file, nothing secret in it; without a trace nobody looks."""

from __future__ import annotations

import base64
import re
from pathlib import Path

from gsmtp.smtp.session import Session
from tests.support.console import console_of
from tests.support.inprocess import Running, running

CONF = """
trace_smtp_mode = 0600
ESMTP_Listener {{
  SMTP_Extensions = ( "AUTH PLAIN LOGIN CRAM-MD5" )
  AuthPlainParameters = [ uri = "file://{folder}/users" ]
  AuthLoginParameters = [ uri = "file://{folder}/users" ]
  AuthCramMD5Parameters = [ uri = "file://{folder}/users" ]
  Auth_Failure_Delay = 0
  Auth_Failures_Per_Session = 0
  Listen "127.0.0.1:0" {{ }}
}}
Control_Listener {{ Listen "{folder}/control" {{ }} }}
"""


def _conf(folder: Path) -> str:
    (folder / "users").write_text("alice:s3cret\n")
    return CONF.format(folder=folder)


def _text(server: Running, path: Path, wanted: str) -> list[str]:
    """The lines of a trace without time and session, once a text is in it."""
    server.wait_for(lambda: path.exists() and wanted in path.read_text(), f"no {wanted!r} in the trace")
    lines = path.read_text().splitlines()
    assert all(
        re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z \S+ 127\.0\.0\.\d+:\d+ [CS]: ", line) for line in lines
    )
    return [line.split(" ", 3)[3] for line in lines]


def test_a_session_is_written_down(tmp_path: Path) -> None:
    with running(tmp_path, _conf(tmp_path)) as server:
        console = console_of(server)
        trace = tmp_path / "trace"
        assert console.lines(f"trace inbound add 127.0.0.0/8 {trace}") == ["Registered inbound tracer #1"]
        assert trace.stat().st_mode & 0o777 == 0o600
        client = server.client().greet()
        assert client.transaction().startswith(b"250 ")
        client.say(b"QUIT")
        lines = _text(server, trace, "QUIT")
        assert lines[0].startswith("S: 220 mx.example.com ESMTP")
        assert lines[1] == "C: EHLO client.example"
        at = lines.index("C: MAIL FROM:<a@example.net>")
        assert lines[at : at + 10] == [
            "C: MAIL FROM:<a@example.net>",
            "S: 250 MAIL FROM accepted",
            "C: RCPT TO:<b@example.com>",
            "S: 250 RCPT TO accepted.",
            "C: DATA",
            'S: 354 continue.  finished with "\\r\\n.\\r\\n"',
            "C: Subject: x",
            "C: ",
            "C: hello",
            "C: .",
        ]
        client.close()


def test_passwords_and_auth_lines_are_masked(tmp_path: Path) -> None:
    secret = base64.b64encode(b"\0alice\0s3cret")
    with running(tmp_path, _conf(tmp_path)) as server:
        console = console_of(server)
        trace = tmp_path / "trace"
        console.lines(f"trace inbound add * {trace}")
        client = server.client().greet()
        assert client.say(b"auth login") == b"334 VXNlcm5hbWU6\r\n"
        client.say(base64.b64encode(b"alice"))
        assert client.code(base64.b64encode(b"wrong")) == 535
        # cut in the middle of the line, and behind the end of a message in the same piece
        client.send(b"AUTH PLAIN " + secret[:5])
        server.wait_for(lambda: "535" in trace.read_text())
        client.send(secret[5:] + b"\r\n")
        assert client.reply().startswith(b"235 ")
        client.close()
        client = server.client().greet()
        for line in (b"MAIL FROM:<a@example.net>", b"RCPT TO:<b@example.com>", b"DATA"):
            client.say(line)
        client.send(b"Subject: x\r\n\r\nauthors\r\n.\r\nAUTH PLAIN " + secret + b"\r\nNOOP\r\nQUIT\r\n")
        assert client.reply().startswith(b"250 ")
        assert client.reply().startswith(b"235 ")
        lines = _text(server, trace, "221")
        for word in ("s3cret", secret.decode(), secret[5:].decode(), base64.b64encode(b"wrong").decode()):
            assert not [line for line in lines if word in line]
        assert "C: AUTH PLAIN [masked]" in lines
        assert "C: auth login" in lines
        assert "S: 334 [masked]" in lines
        assert "C: authors" in lines
        client.close()


def test_only_the_networks_that_were_named_are_written(tmp_path: Path) -> None:
    with running(tmp_path, _conf(tmp_path)) as server:
        console = console_of(server)
        one, other = tmp_path / "one", tmp_path / "other"
        console.lines(f"trace inbound add 127.0.0.2 {one}")
        console.lines(f"trace inbound add 127.0.0.3/32 {other}")
        for ip in ("127.0.0.2", "127.0.0.3", "127.0.0.4"):
            client = server.client(source=ip).greet()
            client.say(b"NOOP " + ip.encode())
            client.close()
        assert "C: NOOP 127.0.0.2" in _text(server, one, "NOOP")
        assert "C: NOOP 127.0.0.3" in _text(server, other, "NOOP")
        assert "NOOP 127.0.0.4" not in one.read_text() + other.read_text()


def test_traces_are_listed_and_removed(tmp_path: Path) -> None:
    with running(tmp_path, _conf(tmp_path)) as server:
        console = console_of(server)
        assert server.supervisor.service.make_session is Session
        console.lines(f"trace inbound add * {tmp_path}/a")
        assert server.supervisor.service.make_session is not Session
        console.lines(f"trace inbound add 127.0.0.0/8 {tmp_path}/b")
        assert console.lines("trace inbound list") == [
            "[     1]  network: *",
            f"             file: {tmp_path}/a @ 0",
            "[     2]  network: 127.0.0.0/8",
            f"             file: {tmp_path}/b @ 0",
        ]
        assert console.data("trace inbound list")[1] == {
            "id": 2,
            "network": "127.0.0.0/8",
            "file": f"{tmp_path}/b",
            "bytes": 0,
        }
        assert console.lines("trace inbound remove 1") == ["Removed inbound tracer #1"]
        assert console.say("trace inbound remove 1") == ["ERR there is no inbound tracer #1"]
        console.lines("trace inbound remove 2")
        assert server.supervisor.service.make_session is Session  # nobody looks any more


def test_what_can_not_be_traced_is_refused(tmp_path: Path) -> None:
    with running(tmp_path, _conf(tmp_path)) as server:
        console = console_of(server)
        say = console.say
        assert say("trace inbound add 10.0.0.0/33 /x")[0].startswith("ERR '10.0.0.0/33' is no network: ")
        assert say("trace inbound add * x")[0].startswith("ERR 'x' is no absolute path")
        assert "its folder /nowhere doesn't exist" in say("trace inbound add * /nowhere/x")[0]
        assert (
            say("trace inbound add *")[0] == "ERR a network and a file are expected: trace inbound add NETWORK|* FILE"
        )
        console.lines(f"trace inbound add * {tmp_path}/a")
        assert say(f"trace inbound add * {tmp_path}/a") == [f"ERR {tmp_path}/a is written by another trace"]
