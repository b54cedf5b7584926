"""LIMITS: tell clients how much they may ask for in a session and in a transaction (RFC 9422).

Offered only where there is something to tell. RCPTDOMAINMAX is never told: no option limits the domains.
"""

from __future__ import annotations

from typing import Final

from gsmtp.smtp.extension import Extension, Offer, register
from gsmtp.smtp.options import (
    MAX_RECEPTIONS_PER_CONNECTION,
    MAX_RECIPIENTS_PER_CONNECTION,
    MAX_RECIPIENTS_PER_MESSAGE,
)

_MOST: Final = 999_999
"""The largest value that has a spelling (RFC 9422 section 3)."""


def _limits(offer: Offer) -> str:
    """A session takes no more MAIL than messages, a transaction no more RCPT than the session."""
    view = offer.view
    recipients = [limit for limit in (view[MAX_RECIPIENTS_PER_MESSAGE], view[MAX_RECIPIENTS_PER_CONNECTION]) if limit]
    found = {"MAILMAX": view[MAX_RECEPTIONS_PER_CONNECTION], "RCPTMAX": min(recipients, default=0)}
    return " ".join(f"{name}={limit}" for name, limit in found.items() if 0 < limit <= _MOST)


def _is_offered(offer: Offer) -> bool:
    return _limits(offer) != ""


LIMITS = register(Extension("LIMITS", is_offered=_is_offered, ehlo=_limits), __name__)
