"""Limits of sessions, messages, recipients, time and size, as a client meets them."""

from __future__ import annotations

from pathlib import Path

from tests.support.inprocess import running

FULL = b"421 4.4.5 Service unavailable, concurrency limit reached\r\n"


def test_listener_sessions_counts_the_socket_that_sets_it(tmp_path: Path) -> None:
    conf = """ESMTP_Listener {
      Listen "127.0.0.1:0" { listener_sessions = 2 }
      Listen "127.0.0.2:0" { }
    }"""
    with running(tmp_path, conf) as server:
        first, second = server.client().greet(), server.client().greet()
        third = server.client()
        assert third.reply() == FULL
        assert third.is_closed()
        server.client(1).greet().close()
        first.say(b"QUIT")
        server.wait_for(lambda: server.sessions == 1)
        server.client().greet().close()
        second.close()


def test_listener_sessions_in_a_peer_counts_its_clients(tmp_path: Path) -> None:
    conf = """ESMTP_Listener { Listen "127.0.0.1:0" { Peer "127.0.1.0/24" { listener_sessions = 1 } } }"""
    with running(tmp_path, conf) as server:
        first = server.client(source="127.0.1.1").greet()
        assert server.client(source="127.0.1.2").reply() == FULL
        server.client(source="127.0.2.1").greet().close()
        first.close()


def test_service_sessions_counts_all_sockets(tmp_path: Path) -> None:
    conf = """ESMTP_Listener { service_sessions = 2  Listen "127.0.0.1:0" { } Listen "127.0.0.2:0" { } }"""
    with running(tmp_path, conf) as server:
        first, second = server.client(0).greet(), server.client(1).greet()
        assert server.client(0).reply() == FULL
        assert server.client(1).reply() == FULL
        first.close()
        second.close()
        server.wait_for(lambda: server.sessions == 0)
        server.client(0).greet().close()


def test_max_sessions_of_a_pool_lets_clients_wait(tmp_path: Path) -> None:
    conf = """ESMTP_Listener { Listen "127.0.0.1:0" { concurrency = 1  pool_name = "p" } }
    ThreadPool "p" { concurrency = 1  max_sessions = 1 }"""
    with running(tmp_path, conf) as server:
        first = server.client().greet()
        second = server.client()
        first.code(b"NOOP")
        assert server.sessions == 1
        first.say(b"QUIT")
        second.greet()
        second.close()


def test_an_idle_client_is_told_and_closed(tmp_path: Path) -> None:
    with running(tmp_path, 'ESMTP_Listener { idle_time = 1  Listen "127.0.0.1:0" { } }') as server:
        client = server.client().greet()
        assert client.reply() == b"421 4.4.2 idle timeout, closing connection\r\n"
        assert client.is_closed()
        client.close()
        server.wait_for(lambda: server.sessions == 0)


def test_an_idle_client_within_data_leaves_nothing(tmp_path: Path) -> None:
    with running(tmp_path, 'ESMTP_Listener { idle_time = 1  Listen "127.0.0.1:0" { } }') as server:
        client = server.client().greet()
        client.say(b"MAIL FROM:<a@example.net>")
        client.say(b"RCPT TO:<b@example.com>")
        assert client.code(b"DATA") == 354
        client.send(b"Subject: half\r\n\r\nhalf")
        assert client.reply() == b"421 4.4.2 idle timeout, closing connection\r\n"
        assert server.queued() == []
        client.close()


def test_a_client_that_drips_is_not_idle_and_bothers_nobody(tmp_path: Path) -> None:
    with running(tmp_path, 'ESMTP_Listener { idle_time = 2  Listen "127.0.0.1:0" { } }') as server:
        slow, quick = server.client().greet(), server.client().greet()
        for one in b"MAIL FROM:<a@example.net>\r\n":
            slow.send(bytes([one]))
            assert quick.transaction().startswith(b"250 ")
        assert slow.reply() == b"250 MAIL FROM accepted\r\n"
        slow.close()
        quick.close()


def test_receptions_per_connection(tmp_path: Path) -> None:
    conf = 'max_receptions_per_connection = 2\nESMTP_Listener { Listen "127.0.0.1:0" { } }'
    with running(tmp_path, conf) as server:
        client = server.client().greet()
        assert client.transaction().startswith(b"250 ")
        assert client.transaction().startswith(b"250 ")
        assert client.transaction() == b"421 4.5.3 Service unavailable, batch limit reached\r\n"
        assert client.is_closed()
        client.close()


def test_recipients_per_message_and_connection(tmp_path: Path) -> None:
    conf = """ESMTP_Listener { max_recipients_per_message = 2  max_recipients_per_connection = 3
      Listen "127.0.0.1:0" { } }"""
    with running(tmp_path, conf) as server:
        client = server.client().greet()
        client.say(b"MAIL FROM:<a@example.net>")
        assert [client.code(b"RCPT TO:<%d@example.com>" % number) for number in range(2)] == [250, 250]
        assert client.say(b"RCPT TO:<c@example.com>") == (
            b"452 4.5.3 Service unavailable, recipients per message limit reached\r\n"
        )
        client.say(b"RSET")
        client.say(b"MAIL FROM:<a@example.net>")
        assert client.code(b"RCPT TO:<d@example.com>") == 250
        assert client.say(b"RCPT TO:<e@example.com>") == (
            b"421 4.5.3 Service unavailable, recipients per connection limit reached\r\n"
        )
        assert client.is_closed()
        client.close()
