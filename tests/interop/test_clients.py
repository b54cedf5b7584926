"""curl and swaks as clients: what they send arrives, and what they are told is what the manual says."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.messages import without_trace
from tests.support.peers import program
from tests.support.server import Server, serving
from tests.support.source import ROOT
from tests.support.waiting import wait_until

pytestmark = pytest.mark.interop

LISTED = ("ENHANCEDSTATUSCODES", "SMTPUTF8", "CHUNKING", "BINARYMIME", "DSN")

CONF = """
hostname = "mx.example.com"
spoolbase = "{folder}/spool"
relay_domains = ( "example.com" )
ESMTP_Listener {
  smtp_extensions = ( ENHANCEDSTATUSCODES SMTPUTF8 CHUNKING BINARYMIME DSN )
  max_message_size = 1000000
  Listen "127.0.0.1:{port}" { }
}
maildir "m" { basedir = "{folder}/maildir"  domains = ( "example.com" ) }
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("clients"), CONF) as server:
        yield server


def _mailbox(server: Server, user: str) -> Path:
    return server.maildir / "example.com" / user / "new"


def _one_message(server: Server, user: str) -> bytes:
    folder = _mailbox(server, user)
    (file,) = wait_until(lambda: list(folder.glob("*")) if folder.exists() else [], f"mail for {user}")
    return file.read_bytes()


def _run(*words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(words, input=stdin, capture_output=True, timeout=60, check=False)


def _curl(server: Server, recipient: str, *more: str) -> subprocess.CompletedProcess[bytes]:
    return _run(
        program("curl", "curl"),
        *("-sS", "-v", f"smtp://127.0.0.1:{server.port}/client.example.net", "--mail-from", "you@example.org"),
        *("--mail-rcpt", recipient, *more),
    )


def _replies(result: subprocess.CompletedProcess[bytes]) -> list[str]:
    """The server's lines as ``curl -v`` shows them."""
    return [line[2:].rstrip() for line in result.stderr.decode().splitlines() if line.startswith("< ")]


def test_the_first_mail_of_the_readme_arrives(server: Server) -> None:
    """The command of README.md and `make run`, with the port of this test."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    line = next(line.strip() for line in readme.splitlines() if line.strip().startswith("curl smtp://"))
    program("curl", "curl")
    result = subprocess.run(
        line.replace(":2525", f":{server.port}"), shell=True, cwd=ROOT, capture_output=True, timeout=60, check=False
    )
    assert (result.returncode, result.stdout) == (0, b"")
    sample = (ROOT / "conf" / "examples" / "first-mail.eml").read_bytes().replace(b"\n", b"\r\n")
    header, _, body = _one_message(server, "hello").partition(b"\r\n\r\n")
    sent_header, _, sent_body = sample.partition(b"\r\n\r\n")
    assert body == sent_body
    assert sent_header in header
    assert header.startswith(b"Return-Path: <you@example.org>\r\nReceived: from ")


def test_curl_sees_the_documented_replies(server: Server, tmp_path: Path) -> None:
    mail = tmp_path / "mail"
    mail.write_bytes(b"Subject: x\r\nDate: Sat, 01 Nov 2025 12:00:00 +0000\r\nMessage-ID: <1@x>\r\n\r\n.dot\r\n")
    result = _curl(server, "curl@example.com", "--upload-file", str(mail))
    assert result.returncode == 0
    replies = _replies(result)
    assert re.fullmatch(
        r"220 mx\.example\.com ESMTP gsmtp \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}", replies[0]
    )
    assert replies[1] == "250-mx.example.com says EHLO to 127.0.0.1"
    offered = {line[4:] for line in replies[2:-4]}
    assert offered == {"PIPELINING", "8BITMIME", "SIZE 1000000", *LISTED}
    assert replies[-4:-1] == [
        "250 2.1.0 MAIL FROM accepted",
        "250 2.1.5 RCPT TO accepted.",
        r'354 continue.  finished with "\r\n.\r\n"',
    ]
    assert re.fullmatch(r"250 2\.0\.0 OK [0-9A-F]{2}/[0-9A-F]{2}-\d{5}-[0-9A-F]{8}", replies[-1])
    stored = _one_message(server, "curl")
    assert without_trace(stored) == mail.read_bytes()


def test_curl_is_told_that_relaying_is_denied(server: Server, tmp_path: Path) -> None:
    mail = tmp_path / "mail"
    mail.write_bytes(b"Subject: x\r\n\r\nx\r\n")
    result = _curl(server, "somebody@elsewhere.example", "--upload-file", str(mail))
    assert result.returncode == 55  # curl's "failed sending data", for any refused recipient
    assert "550 5.7.1 relaying denied" in _replies(result)


def test_curl_is_told_that_a_message_is_too_big(server: Server, tmp_path: Path) -> None:
    mail = tmp_path / "mail"
    mail.write_bytes(b"Subject: x\r\n\r\n" + b"x" * 70 + b"\r\n" * 600_000)
    result = _curl(server, "big@example.com", "--upload-file", str(mail))
    assert result.returncode == 55
    assert "552 5.3.4 message size limit exceeded" in _replies(result)
    assert not _mailbox(server, "big").exists()


def test_swaks_dialogue_whole(server: Server) -> None:
    """Every line of the server, in order."""
    result = _run(
        program("swaks", "swaks"),
        *("--server", f"127.0.0.1:{server.port}", "--ehlo", "client.example.net", "--from", "you@example.org"),
        *("--to", "swaks1@example.com,swaks2@example.com", "--data", "Subject: x\\n\\n.dot\\nbody"),
    )
    assert result.returncode == 0, result.stderr
    lines = [line[4:] for line in result.stdout.decode().splitlines() if line.startswith("<-  ")]
    assert lines[0].startswith("220 mx.example.com ESMTP gsmtp ")
    assert lines[1] == "250-mx.example.com says EHLO to 127.0.0.1"
    assert {line[4:] for line in lines[2:-6]} == {"PIPELINING", "8BITMIME", "SIZE 1000000", *LISTED}
    assert lines[-6:-2] == [
        "250 2.1.0 MAIL FROM accepted",
        "250 2.1.5 RCPT TO accepted.",
        "250 2.1.5 RCPT TO accepted.",
        r'354 continue.  finished with "\r\n.\r\n"',
    ]
    assert lines[-2].startswith("250 2.0.0 OK ")
    assert lines[-1] == "221 2.0.0 mx.example.com closing connection"
    for user in ("swaks1", "swaks2"):
        assert _one_message(server, user).endswith(b"\r\n\r\n.dot\r\nbody\r\n")


def test_swaks_pipelines(server: Server) -> None:
    result = _run(
        program("swaks", "swaks"),
        *("--server", f"127.0.0.1:{server.port}", "--pipeline", "--from", "you@example.org"),
        *("--to", "pipe1@example.com,nobody@elsewhere.example,pipe2@example.com", "--data", "Subject: x\\n\\nx"),
    )
    text = result.stdout.decode()
    assert "<** 550 5.7.1 relaying denied" in text
    for user in ("pipe1", "pipe2"):
        assert _one_message(server, user).endswith(b"\r\n\r\nx\r\n")


def test_swaks_hears_lmtp_and_auth_refused(server: Server) -> None:
    """Verbs that are not offered get their documented refusals, and the session ends well."""
    result = _run(
        program("swaks", "swaks"),
        *("--server", f"127.0.0.1:{server.port}", "--protocol", "LMTP", "--to", "a@example.com"),
    )
    assert "<** 500 5.5.2 unrecognized command" in result.stdout.decode()
    auth = _run(
        program("swaks", "swaks"),
        *("--server", f"127.0.0.1:{server.port}", "--auth", "LOGIN", "-au", "u", "-ap", "p", "--to", "a@example.com"),
    )
    assert auth.returncode == 28  # swaks: the server doesn't offer it
