"""REQUIRETLS: the sender wants the message handed on over verified TLS only, or not at all (RFC 8689).

Offered under TLS only. The wish is kept with the envelope, and the delivery side obeys it: what it can't hand on so
fails with 5.7.30. The header field ``TLS-Required: No`` asks for the contrary, that policies of the recipient's side
be overlooked; it passes unchanged (RFC 8689 section 3), and there is nothing yet that it would switch off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gsmtp.core.reply import MAIL_SYNTAX, Reply
from gsmtp.smtp.extension import Extension, Offer, register

if TYPE_CHECKING:
    from gsmtp.smtp.profile import Profile
    from gsmtp.smtp.transaction import Transaction


def _is_offered(offer: Offer) -> bool:
    return offer.is_tls


def _requiretls(value: str | None, transaction: Transaction, profile: Profile) -> Reply | None:
    if value is not None:
        return MAIL_SYNTAX
    transaction.requires_tls = True
    return None


REQUIRETLS = register(Extension("REQUIRETLS", is_offered=_is_offered, mail={"REQUIRETLS": _requiretls}), __name__)
