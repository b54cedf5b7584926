"""conntrol: holds the banner back, and finds clients that speak before it, as few but spammers' programs do.

The banner waits `Pause_Time` without a green thread. A client that has sent something by then gets the connection
variable ``early_talker`` = ``yes``, and, if `Disconnect_Ratware` says so, that reply instead of the banner. The
variables ``conntrol_bad_commands`` and ``conntrol_unrecognized_commands`` count what a client gets wrong; they are up
to date at each EHLO, MAIL, RCPT and end of data.

Source: reference/policy-and-context.md section 4 (conntrol) and section 2.1.
"""

from __future__ import annotations

import re

from gsmtp.api import Conn, Ctx, Disconnect, Hook, Message, Tarpit, Verdict, never_waits
from gsmtp.config import kinds
from gsmtp.config.kinds import Kind
from gsmtp.config.module import declare_module
from gsmtp.config.option import Option, declare
from gsmtp.policy.module import Building, policy_module

_SCOPES = ("conntrol",)
_SOURCE = "Momentum: conntrol module"

ENABLED = declare_module("conntrol", "Holds the banner back and finds clients that speak before it.")


def _lines(text: str) -> tuple[str, ...]:
    return tuple(text.replace("\r\n", "\n").removesuffix("\n").split("\n")) if text else ()


def _banner(text: str) -> str:
    lines = _lines(text)
    if any(not re.fullmatch(r"220[- ][^\x00-\x1f\x7f]*", line) for line in lines):
        raise ValueError('expected lines that begin with 220, such as "220-Welcome\\r\\n"')
    if any(line[3] != "-" for line in lines[:-1]):
        raise ValueError("each line but the last begins with 220-")
    return text


BANNER: Option[str] = declare(
    Option(
        name="Banner",
        kind=Kind("banner", kinds.one(_banner), 'lines of a banner, such as "220-Welcome\\r\\n"'),
        default="",
        scopes=_SCOPES,
        doc="Lines in front of the banner, each with ``220-``. If the last one begins with ``220`` and a blank, it is "
        "said instead of the banner.",
        source=_SOURCE,
    )
)

PAUSE_TIME: Option[int] = declare(
    Option(
        name="Pause_Time",
        kind=kinds.integer_between(0, 300),
        default=0,
        scopes=_SCOPES,
        unit="seconds",
        doc="How long the banner is held back. RFC 5321 section 4.5.3.2.1 has clients wait five minutes.",
        source=_SOURCE,
    )
)


def _ratware(text: str) -> str:
    text = text.removesuffix("\n").removesuffix("\r")
    if text and not re.fullmatch(r"[45][0-9]{2} [^\x00-\x1f\x7f]+", text):
        raise ValueError('expected a whole reply, such as "421 mx.example.com speaks first"')
    return text


DISCONNECT_RATWARE: Option[str] = declare(
    Option(
        name="Disconnect_Ratware",
        kind=Kind("reply", kinds.one(_ratware), "a whole reply, code and text"),
        default="",
        scopes=_SCOPES,
        doc="What a client that speaks before the banner is told; the connection is then closed. Empty: it goes on.",
        source=_SOURCE,
    )
)


@never_waits
class Conntrol(Hook):
    """Watches how a client begins.

    Args:
        banner: lines, the last one "" where the usual banner follows.
        pause_s: before the banner.
        ratware: the reply to early talkers, "" to let them go on.
    """

    name = "conntrol"

    def __init__(self, banner: tuple[str, ...], pause_s: float, ratware: str) -> None:
        self._banner = banner
        self._pause = Tarpit(pause_s)
        code, _, text = ratware.partition(" ")
        self._ratware = Disconnect(int(code), text, "speaks before the banner") if code else None

    def connect(self, conn: Conn, ctx: Ctx) -> Verdict | None:
        """Hold the banner back."""
        if self._banner:
            conn.change_banner(*self._banner)
        return self._pause if self._pause.seconds else None

    def banner(self, conn: Conn, ctx: Ctx) -> Verdict | None:
        """See whether it has spoken meanwhile."""
        if not conn.sent_early:
            return None
        ctx.conn["early_talker"] = "yes"
        return self._ratware

    def ehlo(self, conn: Conn, ctx: Ctx, line: str) -> Verdict | None:
        """Count."""
        self._count(conn, ctx)
        return None

    def mailfrom(self, conn: Conn, ctx: Ctx, line: str) -> Verdict | None:
        """Count."""
        self._count(conn, ctx)
        return None

    def rcptto(self, conn: Conn, ctx: Ctx, message: Message, line: str) -> Verdict | None:
        """Count."""
        self._count(conn, ctx)
        return None

    def data(self, conn: Conn, ctx: Ctx, message: Message) -> Verdict | None:
        """Count."""
        self._count(conn, ctx)
        return None

    def _count(self, conn: Conn, ctx: Ctx) -> None:
        if conn.bad_commands:
            ctx.conn["conntrol_bad_commands"] = str(conn.bad_commands)
        if conn.unrecognized_commands:
            ctx.conn["conntrol_unrecognized_commands"] = str(conn.unrecognized_commands)


@policy_module("conntrol")
def build(building: Building) -> Hook | None:
    """The hook of a stanza, unless it is switched off."""
    view = building.view
    if not view[ENABLED]:
        return None
    lines = [line[4:] for line in _lines(view[BANNER])]
    if lines and _lines(view[BANNER])[-1][3] == "-":
        lines.append("")
    return Conntrol(tuple(lines), float(view[PAUSE_TIME]), view[DISCONNECT_RATWARE])
