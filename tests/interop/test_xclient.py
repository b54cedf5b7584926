"""Peers that speak for others: nginx and Dovecot send XCLIENT, Postfix sends XFORWARD; and Postfix's own smtpd, which
specifies XCLIENT, is asked the same as we are.

No program of Postfix sends XCLIENT: its smtpd takes it, its smtp sends XFORWARD.
"""

from __future__ import annotations

import base64
import json
import smtplib
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.support.nginx import nginx
from tests.support.peers import need_root, open_folder, program
from tests.support.ports import free_port, wait_for_port
from tests.support.postfix import postfix
from tests.support.server import Server, serving
from tests.support.tlsclient import TlsClient
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(240)]

CONF = """
hostname = "mx.example.com"
spoolbase = "{folder}/spool"
relay_domains = ( "example.com" )
suspend_delivery = true
ESMTP_Listener {
  Peer "127.0.5.0/24" { context = [ net = "five" ] }
  Listen "127.0.0.1:{port}" {
    Peer "127.0.0.1" { smtp_extensions = ( XCLIENT XFORWARD DSN ) context = [ net = "proxy" ] }
  }
}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("xclient"), CONF) as server:
        yield server


def newest(server: Server) -> tuple[dict[str, object], str]:
    """Envelope and text of the message that came last."""
    with closing(sqlite3.connect(server.folder / "spool" / "spool.db")) as database:
        envelope, body = database.execute("SELECT envelope, body FROM message ORDER BY id DESC LIMIT 1").fetchone()
    return json.loads(envelope), body.decode()


def context_of(envelope: dict[str, object]) -> dict[str, str]:
    """The connection variables that are kept with a message."""
    found = envelope.get("cctx", {})
    assert isinstance(found, dict)
    return found


TEXT = b"Subject: through a proxy\r\n\r\nhello\r\n"


def test_nginx_tells_who_the_client_is(server: Server, tmp_path: Path) -> None:
    with nginx(tmp_path, server.port) as port, TlsClient(port, "127.0.5.7") as client:
        assert client.reply().startswith(b"220 proxy.example ")
        client.say(b"EHLO client.example")
        assert client.message(TEXT).startswith(b"250 ")
        own_port = client.socket.getsockname()[1]
    envelope, text = newest(server)
    assert str(envelope["client"]).startswith("127.0.5.7:")
    assert envelope["helo"] == "client.example"
    assert envelope["proto"] == "ESMTP"
    assert text.split("\r\n")[1].startswith("Received: from [127.0.5.7] ")
    assert context_of(envelope)["net"] == "five"
    assert "can_relay" not in context_of(envelope)
    assert own_port


def test_nginx_tells_who_has_logged_in(server: Server, tmp_path: Path) -> None:
    with nginx(tmp_path, server.port) as port, TlsClient(port, "127.0.5.8") as client:
        assert client.reply().startswith(b"220 ")
        client.say(b"EHLO client.example")
        assert client.say(b"AUTH PLAIN " + base64.b64encode(b"\0tim@example.com\0secret")).startswith(b"235 ")
        assert client.message(TEXT, b"somebody@elsewhere.example").startswith(b"250 ")
    envelope, _ = newest(server)
    assert envelope["proto"] == "ESMTPA"
    assert {name: context_of(envelope)[name] for name in ("auth_name", "auth_status", "auth_user", "can_relay")} == {
        "auth_name": "XCLIENT",
        "auth_status": "pass",
        "auth_user": "tim@example.com",
        "can_relay": "true",
    }
    assert str(envelope["client"]).startswith("127.0.5.8:")


def test_what_gsmtp_refuses_nginx_passes_on(server: Server, tmp_path: Path) -> None:
    with nginx(tmp_path, server.port) as port, TlsClient(port, "127.0.5.9") as client:
        client.reply()
        client.say(b"EHLO client.example")
        assert client.message(TEXT, b"somebody@elsewhere.example") == b"550 5.7.1 relaying denied\r\n"


def test_a_client_behind_nginx_has_not_nginx_s_trust(server: Server, tmp_path: Path) -> None:
    """Once it has its server nginx hands on whatever the client says."""
    with nginx(tmp_path, server.port) as port, TlsClient(port, "127.0.5.10") as client:
        client.reply()
        client.say(b"EHLO client.example")
        assert client.say(b"MAIL FROM:<a@example.net>").startswith(b"250 ")
        assert client.say(b"RCPT TO:<b@example.com>").startswith(b"250 ")
        assert client.say(b"RSET").startswith(b"250 ")
        assert client.say(b"XCLIENT ADDR=127.0.0.1") == b"500 5.5.2 unrecognized command\r\n"


_DOVECOT = """\
base_dir = {base}/run
state_dir = {base}/state
log_path = {base}/log
protocols = submission
listen = 127.0.0.1
hostname = submit.example
ssl = no
disable_plaintext_auth = no
default_internal_user = dovecot
default_login_user = dovenull
first_valid_uid = 1
mail_location = maildir:~/Maildir
submission_relay_host = 127.0.0.1
submission_relay_port = {upstream}
submission_relay_trusted = yes
passdb {{
  driver = static
  args = nopassword=y
}}
userdb {{
  driver = static
  args = uid=mail gid=mail home={base}/mail/%Lu allow_all_users=yes
}}
service submission-login {{
  chroot =
  inet_listener submission {{
    address = 127.0.0.1
    port = {port}
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
"""


@contextmanager
def dovecot_submission(base: Path, upstream: int) -> Iterator[int]:
    """A Dovecot submission server that hands on to a loopback port as its trusted peer; gives its port."""
    need_root("Dovecot switches to users of its own")
    path = program("dovecot", "dovecot-core")
    program("submission", "dovecot-submissiond")
    port = free_port()
    (base / "mail").mkdir()
    subprocess.run(["chown", "mail:mail", str(base / "mail")], check=True)
    conf = base / "dovecot.conf"
    conf.write_text(_DOVECOT.format(base=base, port=port, upstream=upstream))
    process = subprocess.Popen([path, "-c", str(conf), "-F"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for_port(port)
        yield port
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def test_dovecot_s_submission_server_is_a_trusted_peer(server: Server) -> None:
    with open_folder("submission") as base, dovecot_submission(base, server.port) as port:
        client = smtplib.SMTP("127.0.0.1", port, "client.example", timeout=20, source_address=("127.0.5.11", 0))
        try:
            client.login("tim", "secret")
            client.sendmail("a@example.net", ["x@elsewhere.example"], TEXT)
        except smtplib.SMTPException as error:
            raise AssertionError((base / "log").read_text()) from error
        finally:
            client.close()
    envelope, text = newest(server)
    assert str(envelope["client"]).startswith("127.0.5.11:")
    assert context_of(envelope)["auth_user"] == "tim"
    assert context_of(envelope)["net"] == "five"
    assert "Subject: through a proxy" in text


def test_postfix_as_upstream_passes_on_where_it_has_a_message_from(server: Server) -> None:
    extra = "smtp_send_xforward_command = yes\nsmtpd_authorized_xclient_hosts = 127.0.0.0/8"
    with open_folder("xforward") as base, postfix(base, relayhost_port=server.port, extra=extra) as upstream:
        with TlsClient(upstream.port, "127.0.0.1") as client:
            client.reply()
            client.say(b"EHLO trusted.example")
            got = client.say(b"XCLIENT NAME=far.example ADDR=127.9.8.7 PORT=4711 PROTO=ESMTP HELO=far+2Eexample")
            assert got.startswith(b"220 "), got
            client.say(b"EHLO far.example")
            assert client.message(TEXT).startswith(b"250 ")
        wait_until(lambda: upstream.queued() == 0, "Postfix to hand the message on")
        wait_until(lambda: "status=sent" in upstream.log(), "Postfix to say so")
    envelope, _ = newest(server)
    found = context_of(envelope)
    assert found["xforward_addr"] == "127.9.8.7"
    assert found["xforward_name"] == "far.example"
    assert found["xforward_port"] == "4711"
    assert found["xforward_helo"] == "far.example"
    assert found["xforward_proto"] == "ESMTP"
    assert found["xforward_source"] == "REMOTE"
    assert found["xforward_ident"]
    assert found["net"] == "proxy", "XFORWARD decides nothing"
    assert str(envelope["client"]).startswith("127.0.0.1:")


ASKED = (
    b"XCLIENT",
    b"XCLIENT ADDR",
    b"XCLIENT ADDR=nonsense",
    b"XCLIENT ADDR=192.0.2.300",
    b"XCLIENT COLOUR=red",
    b"XCLIENT PORT=700000",
    b"XCLIENT PORT=x",
    b"XCLIENT PROTO=LMTP",
    b"XCLIENT NAME=a..b",
    b"XCLIENT HELO=a+ZZ",
    b"XCLIENT NAME=client.example PORT=4711",
    b"xclient addr=127.0.0.1 name=[unavailable]",
    b"XCLIENT NAME=[TEMPUNAVAIL] PORT=[UNAVAILABLE]",
    b"XCLIENT DESTADDR=127.0.0.3 DESTPORT=25",
    b"MAIL FROM:<a@example.net>",
    b"XCLIENT ADDR=127.0.5.23",
    b"RSET",
    b"XCLIENT HELO=client.example PROTO=ESMTP",
    b"MAIL FROM:<a@example.net>",
    b"RCPT TO:<b@example.com>",
    b"XCLIENT ADDR=127.0.5.24",
    b"RSET",
    b"XCLIENT LOGIN=tim",
    b"EHLO client.example",
    b"XCLIENT ADDR=127.0.0.1",
)
"""What a trusted peer says, without losing that trust."""

MOVES = (b"XCLIENT ADDR=127.0.5.20", b"XCLIENT ADDR=IPV6:2001:db8::1", b"XCLIENT ADDR=[UNAVAILABLE]")
"""What makes it somebody else, who is trusted no more."""


def test_each_command_is_answered_as_postfix_answers_it(server: Server) -> None:
    extra = (
        "smtpd_authorized_xclient_hosts = 127.0.0.1\nsmtpd_error_sleep_time = 0\ninet_protocols = all\n"
        "smtpd_hard_error_limit = 100\nrelay_domains = example.com\n"
    )
    answers = []
    with open_folder("smtpd") as base, postfix(base, extra=extra) as real:
        for port in (real.port, server.port):
            with TlsClient(port) as client:
                client.reply()
                client.say(b"EHLO proxy.example")
                answers.append([(line, client.say(line)[:3]) for line in ASKED])
            for move in MOVES:
                with TlsClient(port) as client:
                    client.reply()
                    answers[-1].append((move, client.say(move)[:3]))
                    assert b"XCLIENT" not in client.say(b"EHLO proxy.example")
                    assert client.say(b"XCLIENT ADDR=127.0.0.1")[:1] == b"5"
    different = [pair for pair in zip(*answers, strict=True) if pair[0] != pair[1]]
    assert not different, "\n".join(map(str, different))
