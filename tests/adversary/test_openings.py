"""What may go wrong between accept and the banner: a proxy's header, certificates that have become bad, reloads."""

from __future__ import annotations

from pathlib import Path

import pytest

from gsmtp.runtime.tls_contexts import Made
from tests.support.certificates import Authority
from tests.support.inprocess import running

LINE = b"PROXY TCP4 192.0.2.7 198.51.100.1 40111 25\r\n"
TLS_BEHIND_PROXY = """
ESMTP_Listener {{
  Listen "127.0.0.1:0" {{
    Peer "127.0.0.0/8" {{ Proxy_Protocol = any }}
    Peer "192.0.2.0/24" {{ Use_SSL = true  TLS_Certificate = "{certificate}" }}
  }}
}}
"""
LIMITED = """
ESMTP_Listener {{
  Listen "127.0.0.1:0" {{
    Listener_Sessions = {sessions}
    Proxy_Protocol = any
    Peer "192.0.2.0/24" {{ Listener_Sessions = 1  Proxy_Protocol = none }}
  }}
}}
"""


def test_a_certificate_that_has_become_bad_costs_a_proxied_client_its_connection(tmp_path: Path) -> None:
    """And keeps nothing: neither the session nor its descriptor."""
    certificate = Authority("tests").issue("mx.example.com").write(tmp_path / "mx.pem")
    with running(tmp_path, TLS_BEHIND_PROXY.format(certificate=certificate)) as server:
        certificate.write_text("no certificate any more")
        service = server.supervisor.service
        for cache in (service.tls._by_view, service.tls._by_settings, service._plans):
            cache.clear()  # as for a view that nobody has foreseen
        client = server.client()
        client.send(LINE)
        server.wait_for(lambda: not server.sessions, "the session stays")
        assert client.is_closed()


def test_counts_stay_right_when_a_limit_is_lowered_while_a_header_is_awaited(tmp_path: Path) -> None:
    with running(tmp_path, LIMITED.format(sessions=3)) as server:
        first = server.client()
        first.send(LINE)
        assert first.reply().startswith(b"220 ")
        early = server.client()
        others = [server.client() for _ in range(2)]
        server.wait_for(lambda: server.sessions == 4)
        server.reconfigure(server.path.read_text().replace("Listener_Sessions = 3", "Listener_Sessions = 9"))
        others += [server.client() for _ in range(3)]
        server.wait_for(lambda: server.sessions == 7)
        early.send(LINE)  # one session too many for 192.0.2.0/24, under the old plan's limits
        assert early.reply().startswith(b"421 ")
        early.close()
        server.wait_for(lambda: server.sessions == 6)
        assert server.supervisor.service.counts.service == 6
        for client in (first, *others):
            client.close()
        server.wait_for(lambda: not server.sessions)
        assert server.supervisor.service.counts.service == 0
        assert not server.supervisor.service.counts._by_scope


def test_a_header_that_comes_after_its_listener_has_gone(tmp_path: Path) -> None:
    """The session ends as every other one of that listener does: it is told at its first MAIL."""
    text = LIMITED.format(sessions=3)
    with running(tmp_path, text) as server:
        client = server.client()
        server.wait_for(lambda: server.sessions == 1)
        server.reconfigure("\n".join(line for line in server.path.read_text().split("ESMTP_Listener")[:1]))
        server.wait_for(lambda: not server.listeners)
        client.send(LINE)
        assert client.reply().startswith(b"220 ")
        assert client.code(b"EHLO client.example") == 250
        assert client.say(b"MAIL FROM:<a@example.net>").startswith(b"421 4.3.2 ")


def test_a_session_that_can_not_begin_keeps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = Authority("tests").issue("mx.example.com").write(tmp_path / "mx.pem")
    conf = f'ESMTP_Listener {{ Listen "127.0.0.1:0" {{ Use_SSL = true  TLS_Certificate = "{certificate}" }} }}'

    def broken(_made: Made) -> None:
        raise RuntimeError("a bug of ours")

    with running(tmp_path, conf) as server:
        monkeypatch.setattr(Made, "begin", broken)
        client = server.client()
        assert client.is_closed()
        server.wait_for(lambda: not server.sessions, "the session stays")
        assert server.supervisor.service.counts.service == 0
        client.close()
