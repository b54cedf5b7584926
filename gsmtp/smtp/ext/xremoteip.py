"""XREMOTEIP: from now on a trusted peer counts as coming from another address, in all that tells who it is.

May come at any time. Context, relaying and policy are found anew; what is open goes on, and so do TLS and the limits
of sessions. Source: reference/esmtp-listener.md section 9.
"""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from typing import TYPE_CHECKING

from gsmtp.core.reply import OK, Reply, reply
from gsmtp.smtp.events import Ask, Event
from gsmtp.smtp.extension import Extension, register
from gsmtp.smtp.state import stays
from gsmtp.smtp.verbs import Verb

if TYPE_CHECKING:
    from gsmtp.smtp.driver import Driver
    from gsmtp.smtp.machine import Machine

_NO_ADDRESS = reply(501, "5.5.4 XREMOTEIP needs an IP address")


def _xremoteip(session: Machine, argument: str, line: str) -> Event | None:
    text = argument.strip().strip("[]")
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return session.refuse(_NO_ADDRESS)
    client_ip = str(getattr(address, "ipv4_mapped", None) or address)

    def serve(driver: Driver) -> Reply:
        driver.move_client(replace(session.facts, client_ip=client_ip))
        return OK

    return Ask(serve)


XREMOTEIP = register(Extension("XREMOTEIP", verbs=(Verb("XREMOTEIP", _xremoteip, stays()),)), __name__)
