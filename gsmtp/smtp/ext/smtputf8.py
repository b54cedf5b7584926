"""SMTPUTF8: addresses and header fields in UTF-8 (RFC 6531).

Non-ASCII addresses are taken in transactions that asked for it; the parser reads them in any case and the verbs refuse
them elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gsmtp.core.reply import MAIL_SYNTAX, Reply
from gsmtp.smtp.extension import Extension, register

if TYPE_CHECKING:
    from gsmtp.smtp.profile import Profile
    from gsmtp.smtp.transaction import Transaction


def _smtputf8(value: str | None, transaction: Transaction, profile: Profile) -> Reply | None:
    if value is not None:
        return MAIL_SYNTAX
    transaction.smtputf8 = True
    return None


SMTPUTF8 = register(Extension("SMTPUTF8", requires=("8BITMIME",), mail={"SMTPUTF8": _smtputf8}), __name__)
