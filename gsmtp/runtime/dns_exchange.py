"""One question to one name server over green sockets: UDP, and TCP for what doesn't fit.

Each question goes out from a socket of its own, so that its port and its id are random; the socket is connected, so
that only its server's datagrams come in, and a reply must repeat the question (RFC 5452 section 9). What is cut off is
asked for again over TCP (RFC 7766 section 5). Long replies are taken apart in a native thread: 64 KiB of records take
dnspython half a second.
"""

from __future__ import annotations

import socket as names
import struct
from collections.abc import Callable
from contextlib import closing
from typing import Any, Protocol, TypeVar

import dns.message
from gevent import socket

from gsmtp.runtime.dns_answers import RecordType
from gsmtp.runtime.dns_sources import Place
from gsmtp.runtime.dns_wire import Found, Question, UselessReply, is_truncated

T = TypeVar("T")

_UDP_BYTES = 65_535
_LONG_BYTES = 1500
"""A reply of more is not read on the hub."""
_LENGTH = struct.Struct("!H")


class Native(Protocol):
    """Runs blocking functions in native threads (`runtime.native.NativePool`)."""

    def call(self, function: Callable[..., T], *args: Any) -> T:
        """The function's result; the calling green thread waits."""


class NoReply(Exception):
    """A server gave no reply in time, or can't be reached; the text says which and why."""


def ask(
    server: Place,
    name: str,
    kind: RecordType,
    end_mono: float,
    mono: Callable[[], float],
    native: Native,
    *,
    tcp: bool,
) -> Found:
    """What a server says: asked with EDNS and, where it doesn't know that, without (RFC 6891 section 7).

    Args:
        server: its address.
        name: to look up.
        kind: what to look up.
        end_mono: when to give up.
        mono: the clock of `end_mono`.
        native: reads long replies.
        tcp: whether to ask again over TCP for what is cut off.

    Raises:
        NoReply: it didn't answer.
        UselessReply: it answered nothing.
        ValueError: `name` is no domain name.
    """
    try:
        return _exchange(server, Question(name, kind), end_mono, mono, native, tcp=tcp)
    except UselessReply as error:
        if not error.without_edns:
            raise
        return _exchange(server, Question(name, kind, edns=False), end_mono, mono, native, tcp=tcp)


def shown(server: Place) -> str:
    """The server's address for people."""
    return f"[{server[0]}]:{server[1]}" if ":" in server[0] else f"{server[0]}:{server[1]}"


def _exchange(
    server: Place, question: Question, end_mono: float, mono: Callable[[], float], native: Native, *, tcp: bool
) -> Found:
    try:
        reply = _by_udp(server, question, end_mono, mono, native)
        if is_truncated(reply):
            if tcp:
                reply = _by_tcp(server, question, end_mono, mono, native)
            elif not reply.answer:
                raise UselessReply("a truncated reply, and DNS_Fallback_To_TCP is off,")
    except TimeoutError as error:
        raise NoReply(f"no reply from {shown(server)} in time") from error
    except OSError as error:
        raise NoReply(f"{shown(server)}: {error.strerror or error}") from error
    return question.read(reply)


def _by_udp(
    server: Place, question: Question, end_mono: float, mono: Callable[[], float], native: Native
) -> dns.message.Message:
    """The first datagram that answers the question; others are passed over. Raises OSError, TimeoutError."""
    with closing(socket.socket(_family(server), names.SOCK_DGRAM)) as sock:
        sock.connect(server)
        sock.send(question.wire)
        while True:
            sock.settimeout(_left_s(end_mono, mono))
            reply = _reply(question, sock.recv(_UDP_BYTES), native)
            if reply is not None:
                return reply


def _by_tcp(
    server: Place, question: Question, end_mono: float, mono: Callable[[], float], native: Native
) -> dns.message.Message:
    with closing(socket.socket(_family(server), names.SOCK_STREAM)) as sock:
        sock.settimeout(_left_s(end_mono, mono))
        sock.connect(server)
        sock.sendall(_LENGTH.pack(len(question.wire)) + question.wire)
        (length,) = _LENGTH.unpack(_read(sock, _LENGTH.size, end_mono, mono))
        reply = _reply(question, _read(sock, length, end_mono, mono), native)
        if reply is None or is_truncated(reply):
            raise UselessReply("a reply to something else over TCP")
        return reply


def _reply(question: Question, wire: bytes, native: Native) -> dns.message.Message | None:
    """As `Question.reply`. What isn't for us occupies no thread."""
    if len(wire) <= _LONG_BYTES or not question.is_answered_by(wire):
        return question.reply(wire)
    return native.call(question.reply, wire)


def _read(sock: socket.socket, size: int, end_mono: float, mono: Callable[[], float]) -> bytes:
    data = bytearray()
    while len(data) < size:
        sock.settimeout(_left_s(end_mono, mono))
        piece = sock.recv(size - len(data))
        if not piece:
            raise ConnectionResetError("connection closed in the middle of a reply")
        data += piece
    return bytes(data)


def _left_s(end_mono: float, mono: Callable[[], float]) -> float:
    left_s = end_mono - mono()
    if left_s <= 0:
        raise TimeoutError
    return left_s


def _family(server: Place) -> int:
    return names.AF_INET6 if ":" in server[0] else names.AF_INET
