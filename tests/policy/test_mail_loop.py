"""mail_loop: what counts as a loop, what it is answered, and what only the context tells."""

from __future__ import annotations

from pathlib import Path

import pytest

from gsmtp.policy.modules import mail_loop
from tests.config_meaning.loading import messages
from tests.support.inprocess import Client, Running, running

LISTEN = 'ESMTP_Listener { Listen "127.0.0.1:0" { Peer "127.0.7.0/24" { context = [ __bypass_mail_loop = "true" ] } } }'


def _body(count: int) -> bytes:
    return b"".join(b"Received: by host%d\r\n" % number for number in range(count)) + b"Subject: x\r\n\r\nhello\r\n"


def _conn(server: Running) -> dict[str, str]:
    (connection,) = server.supervisor._service.connections
    return connection.reception.context.conn


def test_a_field_too_many_is_a_loop(tmp_path: Path) -> None:
    with running(tmp_path, "mail_loop { }\n" + LISTEN) as server:
        client = server.client().greet()
        assert client.transaction(_body(20)).startswith(b"250 ")
        assert client.transaction(_body(21)) == b"554 5.4.6 mail loop: too many Received header fields\r\n"
        assert len(server.queued()) == 1
        assert _conn(server)["mail_loop_header_count"] == "21"
        client.close()
        client = server.client(source="127.0.7.1").greet()
        assert client.transaction(_body(21)).startswith(b"250 ")
        client.close()


def test_code_and_number_are_options(tmp_path: Path) -> None:
    with running(tmp_path, "mail_loop { max_received_headers = 2 code = 450 }\n" + LISTEN) as server:
        client = server.client().greet()
        assert client.transaction(_body(2)).startswith(b"250 ")
        assert client.transaction(_body(3)) == b"450 4.4.6 mail loop: too many Received header fields\r\n"
        client.close()


def test_code_250_only_sets_the_context(tmp_path: Path) -> None:
    with running(tmp_path, "mail_loop { max_received_headers = 2 code = 250 }\n" + LISTEN) as server:
        client = server.client().greet()
        assert client.transaction(_body(3)).startswith(b"250 ")
        assert _conn(server)["mail_loop_header_count"] == "3"
        client.close()


def test_a_module_that_is_switched_off_does_nothing(tmp_path: Path) -> None:
    with running(tmp_path, "mail_loop { max_received_headers = 0 enabled = false }\n" + LISTEN) as server:
        client = server.client().greet()
        assert client.transaction(_body(3)).startswith(b"250 ")
        client.close()


def test_this_machine_as_client_is_a_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail_loop, "own_addresses", lambda: frozenset(("127.0.0.9",)))
    with running(tmp_path, "mail_loop { use_ip = true }\n" + LISTEN) as server:
        client: Client = server.client(source="127.0.0.9").greet()
        said = client.say(b"MAIL FROM:<a@example.net>")
        assert said == b"554 5.4.6 mail loop: this server has connected to itself\r\n"
        assert _conn(server)["mail_loop_ip"] == "match"
        client.close()
        client = server.client(source="127.0.0.8").greet()
        assert client.code(b"MAIL FROM:<a@example.net>") == 250
        client.close()


def test_addresses_of_interfaces_are_read_as_linux_shows_them(tmp_path: Path) -> None:
    routes, addresses6 = tmp_path / "fib_trie", tmp_path / "if_inet6"
    routes.write_text(
        "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 127.0.0.1\n        /32 host LOCAL\n"
        "     |-- 192.0.2.2\n        /32 host LOCAL\n     |-- 192.0.2.255\n        /32 link BROADCAST\n"
    )
    addresses6.write_text(
        "20010db8000000000000000000000002 04 40 00 82     eth0\n00000000000000000000000000000001 01 80 10 80       lo\n"
    )
    assert mail_loop.own_addresses(str(routes), str(addresses6)) == {"192.0.2.2", "2001:db8::2"}
    assert mail_loop.own_addresses(str(tmp_path / "none"), str(tmp_path / "none")) == frozenset()


def test_codes_that_are_none_are_refused() -> None:
    assert "expected 250 or the code of a refusal, 400 to 599" in messages("mail_loop { code = 354 }")[0]
