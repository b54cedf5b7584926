"""8BITMIME: bodies of octets above 127 (RFC 6152), and the parameter BODY, which BINARYMIME adds a word to.

Bodies are kept octet for octet whether or not the client asked; the word is for the way onwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gsmtp.core.reply import MAIL_SYNTAX, Reply
from gsmtp.smtp.extension import Extension, register

if TYPE_CHECKING:
    from gsmtp.smtp.profile import Profile
    from gsmtp.smtp.transaction import Transaction


def _body(value: str | None, transaction: Transaction, profile: Profile) -> Reply | None:
    word = (value or "").upper()
    if word not in ("7BIT", "8BITMIME") and not (word == "BINARYMIME" and word in profile.offered):
        return MAIL_SYNTAX
    transaction.body = word
    return None


EIGHTBITMIME = register(Extension("8BITMIME", is_always_offered=True, mail={"BODY": _body}), __name__)
