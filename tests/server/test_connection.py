"""A connection's life: replies, bodies, and clients that misbehave."""

from __future__ import annotations

import socket
from pathlib import Path

import gevent
import pytest

from tests.support.inprocess import running

CONF = 'ESMTP_Listener { Listen "127.0.0.1:0" { } }'


def test_a_message_is_in_the_spool_byte_for_byte(tmp_path: Path) -> None:
    body = b"From: a@example.net\r\nDate: Wed, 01 Jan 2025 00:00:00 +0000\r\nMessage-ID: <1@x>\r\n\r\n"
    body += b"..dot\r\n\xff\xfe\r\n"
    with running(tmp_path, CONF) as server:
        client = server.client().greet()
        got = client.transaction(body)
        id_ = got.split()[-1].decode()
        assert got == f"250 OK {id_}\r\n".encode()
        assert server.queued() == [(id_, "b@example.com")]
        kept = b"".join(server.supervisor._spool.body(id_).pieces())
        trace, _, rest = kept.partition(b"From: ")
        assert rest == body.partition(b"From: ")[2].replace(b"..dot", b".dot")
        assert trace.startswith(b"Return-Path: <a@example.net>\r\nReceived: from ")
        assert id_.encode() in trace
        client.close()


def test_pipelined_commands_are_answered_in_order(tmp_path: Path) -> None:
    with running(tmp_path, CONF) as server:
        client = server.client()
        client.reply()
        client.send(
            b"HELO x\r\nMAIL FROM:<a@example.net>\r\nRCPT TO:<b@example.com>\r\nRCPT TO:<c@other.example>\r\n"
            b"DATA\r\nSubject: x\r\n\r\nx\r\n.\r\nRSET\r\nQUIT\r\n"
        )
        replies = [client.reply() for _ in range(8)]
        assert [reply[:3] for reply in replies] == [b"250", b"250", b"250", b"550", b"354", b"250", b"250", b"221"]
        assert client.is_closed()
        assert [address for _, address in server.queued()] == ["b@example.com"]


@pytest.mark.parametrize("cut", [b"", b"Subj", b"Subject: x\r\n\r\nbody\r\n", b"Subject: x\r\n\r\nbody\r\n."])
def test_a_connection_cut_in_data_leaves_nothing(tmp_path: Path, cut: bytes) -> None:
    with running(tmp_path, CONF) as server:
        client = server.client().greet()
        client.say(b"MAIL FROM:<a@example.net>")
        client.say(b"RCPT TO:<b@example.com>")
        assert client.code(b"DATA") == 354
        client.send(cut)
        client.reset() if cut else client.close()
        server.wait_for(lambda: server.sessions == 0)
        assert server.queued() == []


def test_a_connection_cut_in_a_large_body_leaves_no_file(tmp_path: Path) -> None:
    with running(tmp_path, "large_message_threshold = 65536\n" + CONF) as server:
        client = server.client().greet()
        client.say(b"MAIL FROM:<a@example.net>")
        client.say(b"RCPT TO:<b@example.com>")
        assert client.code(b"DATA") == 354
        client.send(b"Subject: x\r\n\r\n" + b"x" * 70 + b"\r\n" + (b"y" * 998 + b"\r\n") * 1000)
        client.reset()
        server.wait_for(lambda: server.sessions == 0)
        server.wait_for(lambda: not [one for one in (tmp_path / "spool" / "bodies").rglob("*") if one.is_file()])
        assert server.queued() == []


def test_a_megabyte_without_a_newline_costs_bounded_memory(tmp_path: Path) -> None:
    with running(tmp_path, CONF) as server:
        client = server.client().greet()
        (connection,) = server.supervisor._service.connections
        most = 0
        for _ in range(64):
            client.send(b"x" * 16384)
            gevent.sleep(0)
            most = max(most, connection.session.pending_bytes)
        assert client.reply() == b"500 5.5.2 line too long\r\n"
        assert client.is_closed(), "nobody sends more than 128 KiB without a line end by mistake"
        assert most <= 2 * 16384
        client.close()


def test_a_line_that_is_too_long_is_refused_and_the_session_goes_on(tmp_path: Path) -> None:
    with running(tmp_path, CONF) as server:
        client = server.client().greet()
        for _ in range(4):
            client.send(b"x" * 16384)
            gevent.sleep(0)
        assert client.say(b"") == b"500 5.5.2 line too long\r\n"
        assert client.code(b"NOOP") == 250
        client.close()


def test_a_client_that_never_reads_is_read_from_no_more(tmp_path: Path) -> None:
    conf = 'ESMTP_Listener { max_junk_commands = 0  Listen "127.0.0.1:0" { tcp_send_buffer_size = 4096 } }'
    with running(tmp_path, conf) as server:
        deaf = server.client()
        deaf.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sent = 0
        with gevent.Timeout(2, False):  # type: ignore[arg-type]  # False is gevent's "don't raise"
            while sent < 64 << 20:
                deaf.send(b"HELP\r\n" * 1000)
                sent += 6000
        assert sent < 64 << 20, "the server read everything although nobody reads its replies"
        (connection,) = server.supervisor._service.connections
        assert len(connection._out) < 1 << 20
        other = server.client().greet()
        assert other.transaction().startswith(b"250 ")
        other.close()
        deaf.reset()
        server.wait_for(lambda: server.sessions == 0)


def test_a_large_message_goes_through_a_file_and_back(tmp_path: Path) -> None:
    body = b"Subject: big\r\n\r\n" + b"".join(b"%07d %s\r\n" % (number, b"z" * 90) for number in range(50_000))
    with running(tmp_path, CONF) as server:
        client = server.client().greet()
        got = client.transaction(body)
        assert got.startswith(b"250 "), got
        stored = server.supervisor._spool.body(got.split()[-1].decode())
        assert stored.data is None
        assert b"".join(stored.pieces()).endswith(body.partition(b"\r\n\r\n")[2])
        client.close()


def test_a_reply_that_closes_is_not_lost_to_unread_input(tmp_path: Path) -> None:
    with running(tmp_path, "max_receptions_per_connection = 1\n" + CONF) as server:
        client = server.client().greet()
        assert client.transaction().startswith(b"250 ")
        client.send(b"MAIL FROM:<a@example.net>\r\n" + b"NOOP\r\n" * 5000)
        assert client.reply() == b"421 4.5.3 Service unavailable, batch limit reached\r\n"
        client.close()
        server.wait_for(lambda: server.sessions == 0)


def test_after_quit_the_connection_is_gone_at_once(tmp_path: Path) -> None:
    with running(tmp_path, CONF) as server:
        client = server.client().greet()
        assert client.code(b"QUIT") == 221
        assert client.is_closed()
        assert server.sessions == 0, "nothing more can come: its end need not be waited for"
        client.close()


def test_a_goodbye_is_not_lost_to_what_followed_quit(tmp_path: Path) -> None:
    with running(tmp_path, CONF) as server:
        client = server.client().greet()
        client.send(b"QUIT\r\nNOOP\r\n")
        assert client.reply()[:3] == b"221"
        assert client.is_closed()
        assert server.sessions == 1, "read until the client closes: a reset could overtake the goodbye"
        client.close()
        server.wait_for(lambda: server.sessions == 0)


def test_what_happened_is_in_the_log_with_one_id(tmp_path: Path) -> None:
    with running(tmp_path, CONF) as server:
        client = server.client().greet()
        id_ = client.transaction().split()[-1].decode()
        client.transaction(recipient=b"b@other.example")
        client.close()
        lines = str(server.log).splitlines()
        (received,) = [line for line in lines if " received " in line]
        assert f"id={id_} " in received
        assert "sender=<a@example.net>" in received
        assert "recipients=<b@example.com>" in received
        (rejected,) = [line for line in lines if " rejected " in line]
        assert 'reply="550 5.7.1 relaying denied"' in rejected
        assert "phase=rcptto" in rejected
        session = received.split("session=")[1].split()[0]
        assert f"session={session} " in rejected


def test_a_log_line_cannot_be_forged(tmp_path: Path) -> None:
    with running(tmp_path, CONF) as server:
        client = server.client().greet()
        client.transaction(recipient=b'"x\x1b[2J y"@other.example')
        client.close()
        assert "\x1b" not in str(server.log)


def test_a_message_that_the_format_rules_refuse_is_in_the_log(tmp_path: Path) -> None:
    with running(tmp_path, CONF) as server:
        client = server.client().greet()
        got = client.transaction(b"Subject: x\r\n\r\nlone\nfeed\r\n")
        assert got == b"550 5.6.0 Lone CR or LF in body (see RFC2822 section 2.3)\r\n"
        client.close()
        (rejected,) = [line for line in str(server.log).splitlines() if " rejected " in line]
        assert "phase=body" in rejected
        assert 'sender="MAIL FROM:<a@example.net>"' in rejected
        assert server.queued() == []


def test_a_client_that_drips_after_the_last_word_does_not_keep_its_slot(tmp_path: Path) -> None:
    conf = 'ESMTP_Listener { max_receptions_per_connection = 1  Listen "127.0.0.1:0" { } }'
    with running(tmp_path, conf) as server:
        client = server.client().greet()
        assert client.transaction().startswith(b"250 ")
        assert client.code(b"MAIL FROM:<a@example.net>") == 421

        def is_gone() -> bool:
            try:
                client.send(b"x")
            except OSError:
                return True
            gevent.sleep(0.2)
            return server.sessions == 0

        server.wait_for(is_gone, "a byte now and then held the session after its end")
        client.close()


def test_the_last_reply_to_a_client_that_read_late_is_not_lost(tmp_path: Path) -> None:
    conf = 'ESMTP_Listener { max_junk_commands = 0  Listen "127.0.0.1:0" { tcp_send_buffer_size = 4096 } }'
    with running(tmp_path, conf) as server:
        client = server.client()
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.send(b"HELP\r\n" * 2000 + b"QUIT\r\n" + b"NOOP\r\n" * 3000)
        server.wait_for(lambda: any(one._out for one in server.supervisor._service.connections))
        replies = [client.reply()]
        while replies[-1] and not replies[-1].startswith(b"221 "):
            replies.append(client.reply())
        assert replies[-1].startswith(b"221 "), f"the connection was reset after {len(replies)} replies"
        client.close()
