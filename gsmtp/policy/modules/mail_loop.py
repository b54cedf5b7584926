"""mail_loop: refuses mail that went round: too many Received fields, or a client that is this machine itself.

``code = 250`` refuses nothing and sets the connection's context for other hooks: ``mail_loop_header_count`` to the
number of fields, ``mail_loop_ip`` to ``match``. Our own Received field is not counted. The addresses of this machine
are those of its interfaces when the configuration is loaded; loopback addresses don't count as a loop.

Source: reference/policy-and-context.md section 4 (mail_loop); RFC 5321 section 6.3.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from ipaddress import ip_address

from gsmtp.api import Conn, Ctx, Hook, Message, Reject, Verdict, never_waits
from gsmtp.config import kinds
from gsmtp.config.kinds import Kind
from gsmtp.config.module import declare_module
from gsmtp.config.option import Option, declare
from gsmtp.policy.module import Building, policy_module

_SCOPES = ("mail_loop",)
_SOURCE = "Momentum: mail_loop module"

ENABLED = declare_module("mail_loop", "Refuses mail that went round in a loop.")

MAX_RECEIVED_HEADERS: Option[int] = declare(
    Option(
        name="Max_Received_Headers",
        kind=kinds.count,
        default=20,
        scopes=_SCOPES,
        doc="Received fields that a message may have; one more is a loop.",
        source=_SOURCE,
    )
)

USE_IP: Option[bool] = declare(
    Option(
        name="Use_IP",
        kind=kinds.boolean,
        default=False,
        scopes=_SCOPES,
        doc="Whether a client with an address of this machine, loopback aside, is a loop.",
        source=_SOURCE,
    )
)


def _code(text: str) -> int:
    if text == "250" or re.fullmatch(r"[45][0-9]{2}", text):
        return int(text)
    raise ValueError("expected 250 or the code of a refusal, 400 to 599")


CODE: Option[int] = declare(
    Option(
        name="Code",
        kind=Kind("reply code", kinds.one(_code), "250, or a code from 400 to 599"),
        default=554,
        scopes=_SCOPES,
        doc="The code of the refusal; 250 refuses nothing and only sets the context.",
        source=_SOURCE,
    )
)


@never_waits
class MailLoop(Hook):
    """Counts hops.

    Args:
        most_received: fields allowed.
        code: of the refusal, 250 for none.
        own_addresses: of this machine, in their canonical form.
    """

    name = "mail_loop"

    def __init__(self, most_received: int, code: int, own_addresses: Collection[str]) -> None:
        self._most_received = most_received
        self._code = code
        self._own_addresses = own_addresses

    def mailfrom(self, conn: Conn, ctx: Ctx, line: str) -> Verdict | None:
        """Look who sends."""
        if conn.client_ip not in self._own_addresses:
            return None
        ctx.conn["mail_loop_ip"] = "match"
        return self._refuse("5.4.6 mail loop: this server has connected to itself")

    def data(self, conn: Conn, ctx: Ctx, message: Message) -> Verdict | None:
        """Count the fields."""
        fields = message.headers.raw_all("Received")
        count = len(fields)
        if fields and message.id and message.id.encode() in fields[0]:
            count -= 1
        if count <= self._most_received:
            return None
        ctx.conn["mail_loop_header_count"] = str(count)
        return self._refuse("5.4.6 mail loop: too many Received header fields")

    def _refuse(self, text: str) -> Verdict | None:
        if self._code == 250:
            return None
        return Reject(self._code, str(self._code)[0] + text[1:])


def own_addresses(routes: str = "/proc/net/fib_trie", addresses6: str = "/proc/net/if_inet6") -> frozenset[str]:
    """The addresses of this machine's interfaces, loopback aside; none where the system doesn't tell.

    Args:
        routes: Linux's table of IPv4 routes.
        addresses6: Linux's list of IPv6 addresses.
    """
    found = {match[1] for match in re.finditer(r"\|-- ([0-9.]+)\n\s+/32 host LOCAL", _read(routes))} | {
        ":".join(re.findall("....", line[:32])) for line in _read(addresses6).splitlines() if len(line) >= 32
    }
    return frozenset(str(ip_address(one)) for one in found if not ip_address(one).is_loopback)


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


@policy_module("mail_loop")
def build(building: Building) -> Hook | None:
    """The hook, unless the stanza switches it off."""
    view = building.view
    if not view[ENABLED]:
        return None
    return MailLoop(view[MAX_RECEIVED_HEADERS], view[CODE], own_addresses() if view[USE_IP] else frozenset())
