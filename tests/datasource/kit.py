"""Datasources from configuration text, without a server around them."""

from __future__ import annotations

from gsmtp.core.clock import SystemClock
from gsmtp.datasource.store import Datasource, Datasources
from gsmtp.runtime.native import HubMailbox
from tests.config_meaning.loading import compiled

_MAILBOXES: list[HubMailbox] = []


def mailbox() -> HubMailbox:
    """One for all tests of the process."""
    if not _MAILBOXES:
        _MAILBOXES.append(HubMailbox())
    return _MAILBOXES[0]


def build(text: str, old: Datasources | None = None) -> Datasources:
    """The Datasources of a configuration."""
    return Datasources.build(compiled(text), old, mailbox(), SystemClock())


def one(uris: str, more: str = "") -> Datasource:
    """A Datasource named ``d``; `uris` are quoted already."""
    return build(f'Datasource "d" {{ uri = ( {uris} ) {more} }}').get("d")
