"""conntrol: the banner that waits, clients that don't, and what is counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.config_meaning.loading import messages
from tests.support.inprocess import Running, running

LISTEN = 'ESMTP_Listener { Listen "127.0.0.1:0" { Peer "127.0.7.0/24" { context = [ __bypass_conntrol = "true" ] } } }'
RATWARE = 'conntrol { pause_time = 1 disconnect_ratware = "521 5.7.1 mx.example.com speaks first" }\n' + LISTEN


def _conn(server: Running) -> dict[str, str]:
    (connection,) = server.supervisor._service.connections
    return connection.reception.context.conn


def test_who_waits_gets_the_banner(tmp_path: Path) -> None:
    with running(tmp_path, RATWARE) as server:
        client = server.client().greet()
        assert client.transaction().startswith(b"250 ")
        assert "early_talker" not in _conn(server)
        client.close()


def test_who_speaks_first_gets_the_configured_reply_instead(tmp_path: Path) -> None:
    with running(tmp_path, RATWARE) as server:
        client = server.client()
        client.send(b"EHLO early.example\r\n")
        assert client.reply() == b"521 5.7.1 mx.example.com speaks first\r\n"
        assert client.is_closed()
        assert "check=conntrol" in str(server.log)


def test_without_a_reply_it_is_only_told_to_scripts(tmp_path: Path) -> None:
    with running(tmp_path, "conntrol { pause_time = 1 }\n" + LISTEN) as server:
        client = server.client()
        client.send(b"EHLO early.example\r\n")
        assert client.reply().startswith(b"220 ")
        assert client.reply().startswith(b"250-")
        assert _conn(server)["early_talker"] == "yes"
        client.close()


def test_others_do_not_wait_for_it(tmp_path: Path) -> None:
    conf = "conntrol { pause_time = 60 }\n" + LISTEN
    with running(tmp_path, conf) as server:
        slow = [server.client() for _ in range(20)]
        quick = server.client(source="127.0.7.1").greet()
        assert quick.transaction().startswith(b"250 ")
        for client in (*slow, quick):
            client.close()


@pytest.mark.parametrize(
    ("banner", "wanted"),
    [
        (r"220-Welcome\r\n", b"220-Welcome\r\n220 mx.example.com ESMTP gsmtp "),
        (r"220-a\r\n220-b\r\n", b"220-a\r\n220-b\r\n220 mx.example.com ESMTP gsmtp "),
        (r"220-a\r\n220 b", b"220-a\r\n220 b\r\n"),
        ("220 only", b"220 only\r\n"),
    ],
)
def test_banners(tmp_path: Path, banner: str, wanted: bytes) -> None:
    with running(tmp_path, f'conntrol {{ banner = "{banner}" }}\n{LISTEN}') as server:
        client = server.client()
        assert client.reply().startswith(wanted)
        assert client.code(b"EHLO client.example") == 250
        client.close()


def test_what_a_client_gets_wrong_is_counted(tmp_path: Path) -> None:
    with running(tmp_path, "conntrol { }\n" + LISTEN) as server:
        client = server.client().greet()
        for line in (b"FOO", b"MAIL FROM:nonsense", b"BAR x", b"XYZZY"):
            assert client.code(line) in (500, 501)
        assert client.code(b"MAIL FROM:<a@example.net>") == 250
        conn = _conn(server)
        assert (conn["conntrol_bad_commands"], conn["conntrol_unrecognized_commands"]) == ("1", "3")
        client.close()


def test_what_is_said_at_load() -> None:
    assert "expected a whole reply" in messages('conntrol { disconnect_ratware = "go away" }')[0]
    assert "expected lines that begin with 220" in messages('conntrol { banner = "Welcome" }')[0]
    assert "from 0 to 300" in messages("conntrol { pause_time = 301 }")[0]
