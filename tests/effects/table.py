"""Options of sessions, addresses, messages and sockets, each with its effect. Others are in `table_*.py`."""

from __future__ import annotations

import socket
import struct

from tests.effects.kit import (
    TEXT,
    Effect,
    after_reload,
    banner,
    connection_says,
    envelope_of,
    kept,
    last,
    offers,
    outcome,
    second_session,
    silence,
    socket_says,
    variable,
)
from tests.effects.table_auth import AUTH
from tests.effects.table_peers import PEERS
from tests.effects.table_tls import SHOWN_BY_TLS, TLS
from tests.support.inprocess import Running

MAIL = b"MAIL FROM:<a@example.net>"
RCPT = b"RCPT TO:<b@example.com>"
ELSEWHERE = b"RCPT TO:<x@elsewhere.example>"
DENIED = b"550 5.7.1 relaying denied"


def _backlog(raw: socket.socket) -> int:
    """``tcpi_sacked`` of a listening socket (tcp(7), TCP_INFO)."""
    return int(struct.unpack_from("=I", raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104), 28)[0])


def _is_open(server: Running) -> bool:
    return bool(server.listeners)


def _recipients(count: int) -> tuple[bytes, ...]:
    return (MAIL, *(b"RCPT TO:<b%d@example.com>" % number for number in range(count)))


SESSIONS = (
    Effect("Banner_Hostname", "b.example", banner, b"220 mx.example.com ESMTP gsmtp", b"220 b.example ESMTP gsmtp"),
    Effect("Static_Banner", '"220 hello"', banner, b"220 mx.example.com ESMTP gsmtp", b"220 hello\r\n"),
    Effect("Received_Hostname", "r.example", kept(rb"^ +by (\S+)"), b"mx.example.com", b"r.example"),
    Effect("Context", '[ origin = "here" ]', variable("origin"), None, "here"),
    Effect("Idle_Time", "1", silence, b"", b"421 4.4.2"),
    Effect("Listener_Sessions", "1", second_session, b"220", b"421"),
    Effect("Service_Sessions", "1", second_session, b"220", b"421"),
    Effect("Max_Junk_Commands", "2", last(b"NOOP", b"NOOP"), 250, 421),
    Effect("Max_Command_Length", "512", last(b"NOOP " + b"x" * 600), 250, 500),
    Effect("Max_Message_Size", "50", outcome(), b"250 OK", b"552 5.3.4 message size limit exceeded"),
    Effect("Max_Recipients_Per_Message", "2", last(*_recipients(3)), 250, 452),
    Effect("Max_Recipients_Per_Connection", "2", last(*_recipients(3)), 250, 421),
    Effect(
        "Max_Receptions_Per_Connection",
        "1",
        lambda server: (client := server.client().greet()).transaction()[:3] + client.say(MAIL)[:3],
        b"250250",
        b"250421",
    ),
    Effect("Require_EHLO", "true", last(MAIL, greet=False), 250, 550),
    Effect("SMTP_Extensions", "( ENHANCEDSTATUSCODES )", offers("ENHANCEDSTATUSCODES"), False, True),
    Effect(
        "Reconfig_Message",
        '"4.3.2 bye"',
        after_reload('\nrfc2822_date_header = "ignore"'),
        b"421 4.3.2 Reconfiguration in progress",
        b"421 4.3.2 bye",
    ),
    Effect(
        "Reconfig_Sessions",
        "always",
        after_reload("\n# nothing\n"),
        b"250 MAIL FROM accepted",
        b"421 4.3.2 Reconfiguration in progress",
    ),
    Effect(
        "Pathway",
        '"strict"',
        banner,
        b"220 mx.example.com ESMTP gsmtp",
        b"220 strict.example ESMTP gsmtp",
        around='pathway "strict" { banner_hostname = strict.example }',
    ),
)

RELAYING = (
    Effect("Open_Relay", "true", last(MAIL, ELSEWHERE), 550, 250),
    Effect("Relay_Hosts", "( 127.0.0.1 )", last(MAIL, ELSEWHERE), 550, 250),
    Effect("Relay_For_Sending_Domains", "( example.net )", last(MAIL, ELSEWHERE), 550, 250),
    Effect("Relay_Domains", "( elsewhere.example )", last(MAIL, ELSEWHERE), 550, 250),
    Effect("Bounce_Domains", "( elsewhere.example )", last(MAIL, ELSEWHERE), 550, 250),
    Effect("Enable_Authentication", "true", last(MAIL), 250, 530),
)

ALIASES = """
Datasource "d" { uri = ( "sqlite:/dev/null" ) }
alias { Scheme "s" {
  query = "SELECT 'c@example.com' WHERE :to <> 'c@example.com'"
  cache = "d"
  map = [ to = "%{rcptto}" ]
} }
"""

ADDRESSES = (
    Effect(
        "Alias_Schemes",
        "( s )",
        lambda server: server.client().greet().transaction()[:3] and [address for _, address in server.queued()],
        ["b@example.com"],
        ["c@example.com"],
        around=ALIASES,
    ),
    Effect("Allow_IP_Literal", "false", last(b"MAIL FROM:<a@[192.0.2.1]>"), 250, 501),
    Effect("Allow_Null_Envelope_Sender", "false", last(b"MAIL FROM:<>"), 250, 550),
    Effect("Allow_Trailing_Whitespace_In_Commands", "true", last(b"MAIL FROM:< a@example.net >"), 501, 250),
    Effect("RFC2821_Allow_Whitespace_In_Envelope", "true", last(b"MAIL FROM: <a@example.net>"), 501, 250),
    Effect("RFC2821_Pedantic_Address_Rules", "false", last(b"MAIL FROM:<a..b@example.net>"), 501, 250),
    Effect(
        "Domain_For_Unqualified_Recipient_Addresses",
        "example.com",
        envelope_of(MAIL, b"RCPT TO:<info>", b"DATA"),
        b"501 5.5.2 RCPT TO syntax error",
        "info@example.com",
    ),
    Effect(
        "Domain_For_Unqualified_Sender_Address",
        "example.net",
        kept(rb"^Return-Path: <(.*)>", sender=b"alice"),
        b"501 5.5.2 MAIL FROM syntax error",
        b"alice@example.net",
    ),
)

_NO_DATE = TEXT.replace(b"Date: Wed, 01 Jan 2025 00:00:00 +0000\r\n", b"")
_NO_ID = TEXT.replace(b"Message-ID: <1@a.example>\r\n", b"")
_LONG = b"Subject: x\r\n\r\n" + b"x" * 1200 + b"\r\n"

MESSAGES = (
    Effect("RFC2822_Date_Header", "ignore", kept(rb"^(Date)", _NO_DATE), b"Date", None),
    Effect("RFC2822_MessageID_Header", "ignore", kept(rb"^(Message-ID)", _NO_ID), b"Message-ID", None),
    Effect(
        "RFC2822_Missing_Headers",
        "allow",
        outcome(b"no header\r\n"),
        b"550 5.6.0 Required headers not found (see RFC2822 section 3.6)",
        b"250 OK",
    ),
    Effect("RFC2822_Trace_Headers", "false", kept(rb"^(Received)"), b"Received", None),
    Effect(
        "RFC2822_Lone_LF_In_Headers",
        "fix",
        outcome(b"Subject: x\nX-Other: y\r\n\r\nhello\r\n"),
        b"550 5.6.0 Lone CR or LF in headers (see RFC2822 section 2.2)",
        b"250 OK",
    ),
    Effect(
        "RFC2822_Lone_LF_In_Body",
        "fix",
        outcome(b"Subject: x\r\n\r\nhel\nlo\r\n"),
        b"550 5.6.0 Lone CR or LF in body (see RFC2822 section 2.3)",
        b"250 OK",
    ),
    Effect(
        "RFC2822_Max_Line_Length",
        "pedantic",
        outcome(_LONG),
        b"250 OK",
        b"550 5.6.0 Body line too long (see RFC2822 section 3.5)",
    ),
    Effect(
        "RFC2822_Max_Line_Length_Policy",
        "reject",
        outcome(_LONG),
        b"250 OK",
        b"550 5.6.0 Body line too long (see RFC2822 section 3.5)",
    ),
)


def _nodelay(raw: socket.socket) -> bool:
    return bool(raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))


SOCKETS = (
    Effect("Enable", "false", _is_open, True, False),
    Effect("Listen_Backlog", "77", socket_says(_backlog), 500, 77),
    Effect(
        "TCP_Recv_Buffer_Size",
        "8192",
        socket_says(lambda raw: raw.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 16384),
        False,
        True,
    ),
    Effect(
        "TCP_Send_Buffer_Size",
        "12288",
        socket_says(lambda raw: raw.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 24576),
        False,
        True,
    ),
    Effect("Disable_Nagle_Algorithm", "true", connection_says(_nodelay), False, True),
)

EFFECTS: tuple[Effect, ...] = (*SESSIONS, *RELAYING, *ADDRESSES, *MESSAGES, *SOCKETS, *AUTH, *TLS, *PEERS)

SHOWN_BY = SHOWN_BY_TLS | {
    "Timeout": "tests/control/test_access.py::test_a_silent_client_is_disconnected",
    "Enable_Authorization": "tests/control/test_access.py::test_a_role_allows_what_its_patterns_find",
    "AuthorizationParameters": "tests/control/test_access.py::test_a_role_allows_what_its_patterns_find",
    "File_Mode": "tests/server/test_sockets.py::test_a_unix_socket_has_its_mode_and_serves",
    "Concurrency": "tests/server/test_pools.py::test_blocking_turns_take_green_threads_within_the_sockets_share",
    "Pool_Name": "tests/server/test_pools.py::test_blocking_turns_take_green_threads_within_the_sockets_share",
    "Event_Loop": "tests/workers/test_start.py::test_an_event_loop_makes_workers",
    "Events_Per_Iter": "tests/server/test_pools.py::test_events_per_iter_bounds_the_accepts_of_a_wake_up",
    "Generate_Bounces_For_Multi_Recipient_Policy_Rejections": "tests/policy/test_verdicts.py"
    "::test_refused_recipients_are_dropped_where_no_bounces_are_wanted",
    "Accept_Queue_Backlog": "tests/server/test_pools.py::test_the_accept_queue_fills_and_then_the_kernel_waits",
}
"""Options whose effect needs a test of its own kind, and where that is."""
