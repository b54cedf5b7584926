"""Stanzas of transports that wait for mail in vain, because another one is asked first and takes it."""

from __future__ import annotations

from gsmtp.config.crosscheck import late_rule
from gsmtp.config.diagnostics import Problems
from gsmtp.config.kinds import item_texts
from gsmtp.config.scopes import Configuration
from gsmtp.config.titles import scope_title
from gsmtp.config.tree import Scope
from gsmtp.config.view import View
from gsmtp.delivery.transport import Transport, stanza_transports

_LISTS = ("domain", "domains")


@late_rule
def check_overlaps(configuration: Configuration, problems: Problems) -> None:
    """A domain listed in one stanza whose mail an earlier one gets, in the order in which the router asks."""
    asked: list[tuple[type[Transport], View]] = []
    for _, kind in stanza_transports():
        for view in configuration.stanzas(kind.stanza):
            lost: dict[Scope, list[str]] = {}
            for domain in _listed(view):
                first = next((other for its_kind, other in asked if its_kind.takes(other, domain)), None)
                if first is not None and kind.takes(view, domain):
                    lost.setdefault(first.chain[0], []).append(domain)
            for taker, domains in lost.items():
                _tell(view.chain[0], taker, domains, problems)
            asked.append((kind, view))


def _tell(scope: Scope, taker: Scope, domains: list[str], problems: Problems) -> None:
    more = f" and {len(domains) - 1} more" if len(domains) > 1 else ""
    problems.warning(
        scope.span,
        f"{scope_title(scope)} never gets the mail for {domains[0]}{more}: {scope_title(taker)} is asked first",
        hint="mail for a domain goes to one stanza only: name it in that one alone",
        code="double-domain",
        related=[("the other one is here", taker.span)],
    )


def _listed(view: View) -> list[str]:
    """The domains that a stanza names itself, without patterns."""
    settings = view.chain[0].settings
    found = (settings[key].value for key in _LISTS if key in settings)
    return [text.lower() for value in found for text in item_texts(value) if "*" not in text]
