"""SIZE: how large a message may be, and how large the client says that its message is (RFC 1870)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gsmtp.core.reply import MAIL_SYNTAX, TOO_BIG, Reply
from gsmtp.smtp.extension import Extension, Offer, register
from gsmtp.smtp.options import MAX_MESSAGE_SIZE

if TYPE_CHECKING:
    from gsmtp.smtp.profile import Profile
    from gsmtp.smtp.transaction import Transaction

_MOST_DIGITS = 20  # RFC 1870 section 4


def _limit(offer: Offer) -> str:
    return str(offer.view[MAX_MESSAGE_SIZE] or "")


def _declared(value: str | None, transaction: Transaction, profile: Profile) -> Reply | None:
    if value is None or not (value.isascii() and value.isdigit()) or len(value) > _MOST_DIGITS:
        return MAIL_SYNTAX
    transaction.size = int(value)
    limit = profile.message.max_size
    return TOO_BIG if limit and transaction.size > limit else None


SIZE = register(Extension("SIZE", is_always_offered=True, ehlo=_limit, mail={"SIZE": _declared}), __name__)
