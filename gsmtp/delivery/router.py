"""Where mail for a domain goes: stanzas of transports first (maildir, …), then static_routes, `Routes`, `Gateway`, and
the domain's MX records for all else.

Options are those of the recipient's domain, then those of the gateway's name (reference/policy-and-context.md section
5.1 and its decision on Gateway).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from gsmtp.config.bindings import DEFAULT, BindingNames
from gsmtp.config.scopes import ListenStanza
from gsmtp.config.view import View
from gsmtp.core.errors import DeliveryError
from gsmtp.delivery.hops import Hop, domain_hop, parse_gateway, parse_routes, parse_target
from gsmtp.delivery.mx_options import STATIC_ROUTES_ENABLED, TARGET
from gsmtp.delivery.options import (
    DELIVERY_METHOD,
    GATEWAY,
    LMTP_PORT,
    REMOTE_SMTP_PORT,
    ROUTES,
)
from gsmtp.delivery.transport import stanza_transports

TRANSPORT_NAMES = ("lmtp", "maildir", "smtp")
"""The transports that routes lead to; who delivers must have loaded them."""
NO_ROUTE = (
    "451 4.4.4 [internal] no route for an address without a domain: no maildir stanza takes it, and neither routes nor "
    "gateway is set"
)
_CACHED_DOMAINS = 10_000
_MOST_TOLD = 100
"""Unknown bindings that are told of: policy may make their names of what clients say."""
_logger = logging.getLogger("gsmtp.delivery")


class Domains(Protocol):
    """What routing asks of a configuration (`config.scopes.Configuration`)."""

    @property
    def view(self) -> View:
        """The global options."""

    @property
    def listens(self) -> Sequence[ListenStanza]:
        """Where mail is taken."""

    def delivery_view(self, domain: str, binding: str = "") -> View:
        """The options for mail to a domain by a binding."""

    @property
    def has_bindings(self) -> bool:
        """Whether there is a Binding stanza."""

    def has_binding(self, name: str) -> bool:
        """Whether a binding of that name is configured."""

    def binding_names(self, binding: str) -> BindingNames:
        """What logs call a binding and its group."""

    def stanzas(self, kind: str) -> Sequence[View]:
        """A view for each stanza of a kind, in file order."""


@dataclass(frozen=True, slots=True)
class Route:
    """How mail for a domain is handed on.

    Args:
        transport: the transport's registered name.
        hops: next hops by preference, () for a transport that has none.
        view: the options for the transport.
        domain_view: the options of the recipient's domain: retries, limits.
        key: names the destination, e.g. ``lmtp 10.0.0.20:24``; equal for domains that share their next hops.
        gateway: the host that has taken the routing domain's place, "" where none has.
        most_at_once: batches at work at the most, 0 for Max_Outbound_Connections.
        binding: by which it goes out, as configured.
        group: the group of that.
    """

    transport: str
    hops: tuple[Hop, ...]
    view: View
    domain_view: View
    key: str
    gateway: str = ""
    most_at_once: int = 0
    binding: str = DEFAULT
    group: str = DEFAULT


class Router:
    """Finds routes; remembers them by domain.

    Args:
        configuration: of one generation; a reload makes a new Router.
    """

    def __init__(self, configuration: Domains) -> None:
        self._configuration = configuration
        self._stanzas = [
            (name, kind, view) for name, kind in stanza_transports() for view in configuration.stanzas(kind.stanza)
        ]
        self._target = next((one for one in map(_target, configuration.stanzas("static_routes")) if one), None)
        self._routes: dict[tuple[str, str], Route | str] = {}
        self._unknown: set[str] = set()

    @property
    def hands_over(self) -> bool:
        """Whether a stanza answers for mail while its client waits (`Transport.hands_over`)."""
        return any(kind.hands_over(view) for _, kind, view in self._stanzas)

    def options(self, domain: str, binding: str = "") -> View:
        """The options for mail to a domain, by a binding, whether it has a route or not."""
        return self._configuration.delivery_view(domain, binding)

    def skip_key(self, domain: str, binding: str) -> str:
        """What `Spool.due` knows mail for a domain by a binding by, to leave it out."""
        return f"{domain}\0{binding}" if self._configuration.has_bindings else domain

    def route(self, domain: str, binding: str = "") -> Route:
        """The route for a domain ("" for an unqualified postmaster), by a binding ("" for none).

        Raises DeliveryError (temporary) when there is none.
        """
        found = self._routes.get((domain, binding))
        if found is None:
            if len(self._routes) >= _CACHED_DOMAINS:
                self._routes.clear()
            found = self._routes[domain, binding] = self._find(domain, binding)
        if isinstance(found, str):
            raise DeliveryError(found)
        return found

    def _find(self, domain: str, binding: str) -> Route | str:
        if binding and not self._configuration.has_binding(binding):
            self._tell_unknown(binding)
        domain_view = self.options(domain, binding)
        for name, kind, view in self._stanzas:
            if kind.takes(view, domain):
                key = f"{name} {view.chain[0].spelled or ''}".strip()
                return self._by(binding, Route(name, (), view, domain_view, key, most_at_once=kind.most_at_once(view)))
        try:
            found = self._onward(domain, domain_view, binding)
        except ValueError as error:
            return f"451 4.3.5 [internal] {error}"
        return self._by(binding, found) if isinstance(found, Route) else found

    def _tell_unknown(self, binding: str) -> None:
        """Policy chose a binding that isn't configured, or a reload took it away: say so, once a configuration."""
        if binding not in self._unknown and len(self._unknown) < _MOST_TOLD:
            self._unknown.add(binding)
            _logger.warning("binding '%s' isn't configured: its mail goes by the default binding", binding)

    def _by(self, binding: str, route: Route) -> Route:
        """The route with the names of its binding."""
        names = self._configuration.binding_names(binding)
        return replace(route, binding=names.binding, group=names.group) if self._configuration.has_bindings else route

    def _onward(self, domain: str, domain_view: View, binding: str) -> Route | str:
        routes = () if self._target else domain_view[ROUTES]
        gateway = "" if self._target or routes else domain_view[GATEWAY]
        view, gateway_host = domain_view, ""
        if gateway:
            gateway_host = parse_gateway(gateway, 25).host
            view = self._with_routing_domain(domain_view, gateway_host, binding)
        method = view[DELIVERY_METHOD]
        port = view[LMTP_PORT] if method == "LMTP" else view[REMOTE_SMTP_PORT]
        if self._target:
            hops: tuple[Hop, ...] = (self._target,)
        elif routes:
            hops = parse_routes(routes, port, domain)
        elif gateway:
            hops = (parse_gateway(gateway, port),)
        else:
            hops = (domain_hop(domain, port),) if domain else ()
        if not hops:
            return NO_ROUTE
        transport = "lmtp" if method == "LMTP" else "smtp"
        key = f"{method.lower()} {','.join(map(str, hops))}"
        return Route(transport, hops, view, view, key, gateway_host)

    def _with_routing_domain(self, domain_view: View, gateway_host: str, binding: str) -> View:
        """The domain's own scopes, then those of ``Domain "gateway"``, then the global scope."""
        gateway_chain = self._configuration.delivery_view(gateway_host, binding).chain
        chain = (*(scope for scope in domain_view.chain if scope not in gateway_chain), *gateway_chain)
        return domain_view if chain == domain_view.chain else View(chain, generation=domain_view.generation)


def _target(stanza: View) -> Hop | None:
    """Where a static_routes stanza sends all mail."""
    return parse_target(stanza[TARGET]) if stanza[STATIC_ROUTES_ENABLED] and stanza[TARGET] else None
