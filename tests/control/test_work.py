"""The console beside mail at work: what floats, what pools do, TLS in use, listings of many sessions."""

from __future__ import annotations

import re
import socket as sockets
from pathlib import Path

import gevent.event
import pytest
from gevent import ssl

from gsmtp.policy import chain as chains
from gsmtp.policy.chain import Chain, Hook
from gsmtp.policy.context import Context
from gsmtp.policy.decision import Phase
from tests.support.certificates import Authority
from tests.support.console import ConsoleClient, console_of
from tests.support.inprocess import running
from tests.support.server import serving
from tests.support.sink import Sink
from tests.support.waiting import wait_until


def test_a_session_for_which_a_hook_works_floats(tmp_path: Path) -> None:
    go_on = gevent.event.Event()

    def wait(_context: Context, _event: object) -> None:
        go_on.wait(10)

    hook = Hook("slow", Phase.MAIL, 10, wait, may_block=True)
    conf = f"""ThreadPool "mail" {{ concurrency = 1 }}
    ESMTP_Listener {{ Listen "127.0.0.1:0" {{ Pool_Name = "mail" }} }}
    Control_Listener {{ Listen "{tmp_path}/control" {{ }} }}"""
    with running(tmp_path, conf) as server:
        server.supervisor.service.chain = Chain([*chains.HOOKS, hook])
        console = console_of(server)
        clients = [server.client().greet() for _ in range(3)]
        for client in clients:
            client.send(b"MAIL FROM:<a@example.net>\r\n")
        server.wait_for(lambda: server.supervisor.pools.get("mail").waiting == 2)
        lines = console.lines("show inbound")  # the pool for mail is stuck, the console is not
        shape = r"\d+: \[inbound/esmtp_message_factory\] IPv4 127\.0\.0\.1:\d+ (.+) \(for \d+\.\d{3}s\)  \[floating\]"
        assert [re.fullmatch(shape, line) is not None for line in lines] == [True] * 3
        row = next(row for row in console.data("threads stats") if row["pool"] == "mail")
        assert (row["concurrency"], row["running"], row["waiting"]) == (1, 1, 2)
        go_on.set()
        assert [client.reply()[:3] for client in clients] == [b"250"] * 3
        row = next(row for row in console.data("threads stats") if row["pool"] == "mail")
        assert (row["invocations"] >= 2, row["running"], row["waiting"]) == (True, 0, 0)
        assert row["saturation"] > 0
        assert row["observed_concurrency"] == 1.0
        assert not [line for line in console.lines("show inbound") if "floating" in line]


def test_tls_contexts_are_shown_and_made_anew(tmp_path: Path) -> None:
    authority = Authority("test")
    pem = authority.issue("mx.example.com").write(tmp_path / "mx.pem")
    conf = f"""ESMTP_Listener {{
      SMTP_Extensions = ( "STARTTLS" )
      TLS_Certificate = "{pem}"
      Listen "127.0.0.1:0" {{ }}
    }}
    Control_Listener {{ Listen "{tmp_path}/control" {{ }} }}"""
    with running(tmp_path, conf) as server:
        console = console_of(server)
        lines = console.lines("tls show cache")
        assert lines[0] == "1: server context"
        assert re.fullmatch(r"  age: \d+ seconds old", lines[1])
        assert lines[2:5] == ["  in use by: 0 sessions", f"  certificate: {pem}", "  ca list: "]
        assert lines[5].startswith("  ciphers: ")
        assert lines[6:] == ["Temp RSA key is uncached."]
        client = server.client().greet()
        assert client.code(b"STARTTLS") == 220
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=authority.certificate.decode())
        secured = context.wrap_socket(client.socket, server_hostname="mx.example.com")
        secured.sendall(b"NOOP\r\n")
        assert secured.recv(100).startswith(b"250")
        assert console.data("tls show cache")[0]["sessions"] == 1
        good = pem.read_text()
        pem.write_text("broken")
        assert console.say("tls flush cache")[0].startswith("ERR ")
        assert server.client().greet().code(b"STARTTLS") == 220  # a broken file changed nothing
        pem.write_text(good)
        before = server.supervisor.service.tls
        assert console.lines("tls flush cache") == ["Cache flush request submitted."]
        assert server.supervisor.service.tls is not before
        secured.sendall(b"NOOP\r\n")
        assert secured.recv(100).startswith(b"250")  # who was there keeps what they have
        secured.close()


def test_connections_to_next_hops_are_shown(tmp_path: Path) -> None:
    conf = """
    spoolbase = "{folder}/spool"
    spool_reserve = 0
    relay_domains = ( "example.com" )
    ESMTP_Listener { Listen "127.0.0.1:{port}" { } }
    Control_Listener { Listen "{folder}/control" { } }
    Domain "example.com" { gateway = "GATEWAY" delivery_method = "LMTP" }
    """
    with Sink(lmtp=True) as sink, serving(tmp_path, conf.replace("GATEWAY", sink.gateway)) as server:
        console = ConsoleClient(str(tmp_path / "control"))
        assert console.lines("show outbound") == []
        with server.client() as client:
            client.sendmail("a@example.net", ["b@example.com"], b"Subject: x\r\n\r\nx\r\n")
        wait_until(lambda: console.data("summary")["delivered"] == 1, "the delivery")
        (line,) = console.lines("show outbound")  # it waits for more mail
        assert re.fullmatch(rf"\d+: \[outbound/lmtp\] {re.escape(sink.gateway)} IPv4 127\.0\.0\.1", line)
        assert console.data("summary")["total_queue"] == 0
        console.close()


@pytest.mark.durability
def test_a_thousand_sessions_are_listed_while_mail_goes_on(tmp_path: Path) -> None:
    conf = """
    spoolbase = "{folder}/spool"
    spool_reserve = 0
    suspend_delivery = true
    relay_domains = ( "example.com" )
    ESMTP_Listener { Listen "127.0.0.1:{port}" { } }
    Control_Listener { Listen "{folder}/control" { } }
    """
    with serving(tmp_path, conf) as server:
        idle = [sockets.create_connection(("127.0.0.1", server.port), 10) for _ in range(1000)]
        plain = sockets.socket(sockets.AF_UNIX)
        plain.connect(str(tmp_path / "control"))
        plain.settimeout(20)
        file = plain.makefile("rb")

        def answer() -> list[bytes]:
            lines = []
            while (line := file.readline()) not in (b".\n", b""):
                lines.append(line)
            return lines

        answer()

        def listed() -> int:
            plain.sendall(b"show inbound\n")
            return len(answer()) - 1

        wait_until(lambda: listed() == 1000, "a thousand sessions")
        for _ in range(20):  # and reads none of the answers
            plain.sendall(b"json show inbound\ncount SMTP 0-32\n")
        with server.client() as client:
            for _ in range(5):
                assert client.sendmail("a@example.net", ["b@example.com"], b"Subject: x\r\n\r\nx\r\n") == {}
        for sock in idle:
            sock.close()
        plain.close()
