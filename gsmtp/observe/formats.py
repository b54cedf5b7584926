"""Momentum's log lines: mainlog, rejectlog, acctlog and paniclog, byte for byte.

Source: reference/console-and-logs.md section 5. Each function gives whole lines with their line ends, in UTF-8. What
a peer sent can't break a line or forge a field: see `escape`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from gsmtp.core.records import Attempt, AuthAttempt, Authorization, Reception, Rejection

_KINDS = {"delivered": "D", "deferred": "T", "failed": "P"}
_NEEDS_QUOTES = re.compile(r"""[\s,"\[\]=\\']""")
BLACKHOLED = "554 5.7.0 [internal] Blackholed"
_RECEPTION_SEPARATORS = 13


def escape(text: str) -> str:
    r"""A field of a line whose fields are joined by ``@``.

    A backslash goes before ``@`` and ``\``; line ends and other characters that can't be shown become ``\n``, ``\r``,
    ``\t``, ``\xNN`` (also bytes that are no UTF-8) or ``\uNNNN``.

    >>> print(escape('"a@b\\c"\n'))
    "a\@b\\c"\n
    """
    if text.isprintable():
        return text.replace("\\", "\\\\").replace("@", "\\@") if "@" in text or "\\" in text else text
    return "".join([_escape_one(one) for one in text])


def _escape_one(one: str) -> str:
    if one in "@\\":
        return "\\" + one
    return one if one.isprintable() else _shown(one)


def _shown(one: str) -> str:
    """A character that can't be shown, as an escape; a byte that was no UTF-8 as that byte."""
    number = ord(one)
    if 0xDC80 <= number <= 0xDCFF:
        return f"\\x{number - 0xDC00:02x}"
    if number < 0x80:
        return one.encode("unicode_escape").decode("ascii")
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _one_line(text: str) -> str:
    return text if text.isprintable() else "".join([one if one.isprintable() else _shown(one) for one in text])


def _join(*fields: object) -> bytes:
    return ("@".join([escape(str(field)) for field in fields]) + "\n").encode()


def _split(address: str) -> tuple[str, str]:
    """Local part and domain; the local part of an unqualified address is all of it."""
    local, at, domain = address.rpartition("@")
    return (local, domain) if at else (domain, "")


def ip_of(remote: str) -> str:
    """The address of ``ip:port`` or ``[ip]:port``; "" of "", a Unix socket.

    >>> ip_of("[2001:db8::1]:25")
    '2001:db8::1'
    """
    return remote.rpartition(":")[0].strip("[]")


# --- mainlog (section 5.1) ------------------------------------------------------------------------


def receptions(record: Reception, now_wall: float) -> bytes:
    """``R``, a line for each recipient. A message that was blackholed gets its ``P`` lines too."""
    envelope = record.envelope
    id_ = envelope.message_id
    local, domain = _split(envelope.reverse_path)
    mess = record.mess
    group, binding = mess.get("binding_group", "default"), mess.get("binding", "default")
    head = f"{int(now_wall)}@{id_}@{id_}@{envelope.connection_id}@R"
    address = ip_of(record.peering.remote)
    size, protocol = envelope.size_bytes, record.protocol
    lines = []
    for recipient in envelope.recipients:
        user, host = _split(recipient.address)
        line = f"{head}@{user}@{host}@{local}@{domain}@{address}@{size}@{protocol}@{group}@{binding}"
        if line.count("@") == _RECEPTION_SEPARATORS and "\\" not in line and line.isprintable():
            lines.append(line + "\n")  # nearly always: nothing to escape
        else:
            fields = (user, host, local, domain, address, size, protocol, group, binding)
            lines.append("@".join([head, *(escape(str(field)) for field in fields)]) + "\n")
        if record.is_dropped and recipient.drop:
            lines.append(f"{head[:-1]}P@{escape(host)}@0@default@default@0@0@0.000@@{BLACKHOLED}\n")
    return "".join(lines).encode()


def attempt(record: Attempt, now_wall: float) -> bytes:
    """``D``, ``T`` or ``P``."""
    kind = _KINDS.get(record.kind, "P")
    id_ = record.message_id
    head = (int(now_wall), id_, id_, record.connection_id, kind, record.domain)
    retries = max(record.attempts - 1, 0)
    seconds = f"{record.age_s:.3f}"
    if kind == "D":
        return _join(*head, record.size_bytes, record.group, record.binding, retries, seconds, record.remote)
    sent = (*head, record.sent_bytes, record.group, record.binding)
    return _join(*sent, int(record.stage), retries, seconds, record.remote, record.reply)


def heartbeat(now_wall: float) -> bytes:
    """``M``: that the logger lives."""
    return b"%d@@@@M\n" % now_wall


# --- rejectlog (section 5.2) ----------------------------------------------------------------------


def rejection(record: Rejection, now_wall: float) -> bytes:
    """One refusal."""
    peering = record.peering
    reply = record.reply
    return (
        f'{int(now_wall)}: R="{peering.remote}" L="{peering.local}" C="{peering.connection_id}" '
        f'PATH="{_quotable(peering.pathway)}" PATH_GRP="{_quotable(peering.group)}" P="{record.state}" '
        f"E={reply.code} M={_value(record.check or 'core')} CTXCONN=[{_pairs(record.conn)}] "
        f"CTXMESS=[{_pairs(record.mess)}] {_one_line(' '.join(reply.lines))}\n"
    ).encode()


def rejectlog_heartbeat(now_wall: float) -> bytes:
    """``Marker 1``: that the logger lives."""
    return b"%d: Marker 1\n" % now_wall


def _pairs(context: Mapping[str, str]) -> str:
    return ",".join([f"{_value(key)}={_value(value)}" for key, value in context.items()])


def _value(text: str) -> str:
    if text.isprintable() and not _NEEDS_QUOTES.search(text):
        return text
    return f'"{_quotable(text)}"'


def _quotable(text: str) -> str:
    return _one_line(text.replace("\\", "\\\\").replace('"', '\\"'))


# --- acctlog (section 5.3) ------------------------------------------------------------------------


def authentication(record: AuthAttempt, now_wall: float) -> bytes:
    """``N``, or ``T`` when it timed out."""
    peering = record.peering
    kind = "T" if record.status == "timeout" else "N"
    good = 1 if record.status == "pass" else 0
    return _join(int(now_wall), kind, peering.endpoint, peering.remote, record.user, good)


def authorization(record: Authorization, now_wall: float) -> bytes:
    """``Z``; the role only when it is allowed."""
    peering = record.peering
    fields = (int(now_wall), "Z", peering.endpoint, peering.remote, record.user, record.verdict, record.command)
    return _join(*fields, record.role) if record.verdict == 1 and record.role else _join(*fields)


# --- paniclog (section 5.4) -----------------------------------------------------------------------


def panic(area: str, text: str, now_wall: float) -> bytes:
    """``time:module:text``."""
    return f"{int(now_wall)}:{_one_line(area)}:{_one_line(text)}\n".encode()


def unescape(line: str) -> list[str]:
    r"""The fields of a line that was joined by ``@``, as they were before `escape`. For readers of the logs.

    >>> unescape('1@"a\\@b"@\\\\')
    ['1', '"a@b"', '\\']
    """
    fields = [""]
    for part in re.findall(r"\\x[0-9a-f]{2}|\\u[0-9a-f]{4}|\\U[0-9a-f]{8}|\\.|@|[^\\@]+", line, re.DOTALL):
        if part == "@":
            fields.append("")
        else:
            fields[-1] += _meaning(part)
    return fields


def _meaning(part: str) -> str:
    if not part.startswith("\\"):
        return part
    if len(part) > 2:
        number = int(part[2:], 16)
        is_byte = part[1] == "x" and number >= 0x80
        return bytes([number]).decode("utf-8", "surrogateescape") if is_byte else chr(number)
    return {"n": "\n", "r": "\r", "t": "\t"}.get(part[1], part[1])


def context_pairs(text: str) -> Iterable[tuple[str, str]]:
    """The pairs of ``CTXCONN=[…]`` or ``CTXMESS=[…]``, from what stands between the brackets."""
    one = r'(?:"((?:[^"\\]|\\.)*)"|([^,="]*))'
    for match in re.finditer(rf"{one}={one}(?:,|$)", text):
        quoted_key, key, quoted, plain = match.groups()
        yield (_unquoted(quoted_key, key), _unquoted(quoted, plain))


def _unquoted(quoted: str | None, plain: str | None) -> str:
    if quoted is None:
        return plain or ""
    parts = re.findall(r"\\x[0-9a-f]{2}|\\u[0-9a-f]{4}|\\U[0-9a-f]{8}|\\.|[^\\]+", quoted, re.DOTALL)
    return "".join(map(_meaning, parts))
