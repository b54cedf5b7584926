"""Who may send to whom: the documented relay decision.

A client in Relay_Hosts or under Open_Relay may send to any domain; everybody may send to Relay_Domains and
Bounce_Domains; a sender domain in Relay_For_Sending_Domains may send to any domain. All else is refused, and so is
sender-specified routing (``user%elsewhere@relay.domain``, ``elsewhere!user``, ``"user@elsewhere"``) from clients that
may not relay: an inner server might follow it (Postfix's allow_untrusted_routing = no, for the same reason).

Source: reference/esmtp-listener.md section 6.2; RFC 5321 sections 4.5.1 (postmaster) and 7.9.
"""

from __future__ import annotations

import ipaddress
from typing import Final

from gsmtp.config.view import View
from gsmtp.core.reply import RELAYING_DENIED
from gsmtp.policy.chain import hook
from gsmtp.policy.context import Context
from gsmtp.policy.decision import Decision, Phase
from gsmtp.policy.options import BOUNCE_DOMAINS, OPEN_RELAY, RELAY_DOMAINS, RELAY_FOR_SENDING_DOMAINS, RELAY_HOSTS
from gsmtp.smtp.events import Connect, Rcpt
from gsmtp.smtp.options import ALLOW_IP_LITERAL

_ROUTING: Final = frozenset("%!@")
_DENIED: Final = Decision(RELAYING_DENIED, check="relay")


@hook(Phase.CONNECT, order=100)
def trust(context: Context, _event: Connect) -> None:
    """Set ``can_relay`` for clients that may send anywhere."""
    view = context.view
    if view[OPEN_RELAY] or _is_relay_host(view, context.facts.client_ip):
        context.conn["can_relay"] = "true"


def _is_relay_host(view: View, client_ip: str) -> bool:
    networks = view[RELAY_HOSTS]
    if not networks:
        return False
    address = ipaddress.ip_address(client_ip)
    return any(address in network for network in networks if network.version == address.version)


@hook(Phase.RCPT, order=100)
def relay(context: Context, event: Rcpt) -> Decision | None:
    """Refuse recipients that this client may not send to."""
    if context.can_relay:
        return None
    recipient = event.recipient
    domain = recipient.domain
    if not domain:
        return None  # <postmaster>: the machine refuses every other unqualified recipient
    local_part = recipient.address.rpartition("@")[0]  # not by the length of `domain`, which is in A-labels
    if not _ROUTING.isdisjoint(local_part):
        return Decision(RELAYING_DENIED, "sender-specified routing", "relay")
    view = context.view
    if view[RELAY_DOMAINS].matches(domain) or view[BOUNCE_DOMAINS].matches(domain):
        return None
    if _is_own_literal(context, domain) or _may_sender_relay(context):
        return None
    return _DENIED


def _is_own_literal(context: Context, domain: str) -> bool:
    """``user@[192.0.2.1]`` where 192.0.2.1 is the address the client connected to."""
    if not domain.startswith("[") or not context.view[ALLOW_IP_LITERAL]:
        return False
    text = domain[1:-1].lower().removeprefix("ipv6:")
    try:
        return ipaddress.ip_address(text) == ipaddress.ip_address(context.facts.local_ip)
    except ValueError:
        return False


def _may_sender_relay(context: Context) -> bool:
    patterns = context.view[RELAY_FOR_SENDING_DOMAINS]
    sender_domain = context.mess.get("mailfrom_domain", "")
    return bool(sender_domain) and patterns is not None and patterns.matches(sender_domain)
