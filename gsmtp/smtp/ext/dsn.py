"""DSN: what reports the sender wants (RFC 3461).

The parameters are read, checked and kept with the envelope; reports themselves are the delivery side's work.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gsmtp.core.reply import MAIL_SYNTAX, RCPT_SYNTAX, Reply
from gsmtp.smtp.abnf import is_xtext
from gsmtp.smtp.extension import Extension, register

if TYPE_CHECKING:
    from gsmtp.core.envelope import Recipient
    from gsmtp.smtp.profile import Profile
    from gsmtp.smtp.transaction import Transaction

_MOST_ENVID = 100  # RFC 3461 section 4.4
_MOST_ORCPT = 500  # RFC 3461 section 4.2
_REPORTS = frozenset(("SUCCESS", "FAILURE", "DELAY"))
_ADDRESS_TYPE = re.compile(r"[A-Za-z0-9-]+")


def _upper(value: str | None) -> str:
    """In upper case; "" when it isn't ASCII, for there are letters whose upper case is an ASCII one."""
    return value.upper() if value is not None and value.isascii() else ""


def _ret(value: str | None, transaction: Transaction, profile: Profile) -> Reply | None:
    word = _upper(value)
    if word not in ("FULL", "HDRS"):
        return MAIL_SYNTAX
    transaction.ret = word
    return None


def _envid(value: str | None, transaction: Transaction, profile: Profile) -> Reply | None:
    if not value or len(value) > _MOST_ENVID or not is_xtext(value):
        return MAIL_SYNTAX
    transaction.envid = value
    return None


def _notify(value: str | None, recipient: Recipient, transaction: Transaction) -> Reply | None:
    words = tuple(_upper(value).split(","))
    if words != ("NEVER",) and not (_REPORTS.issuperset(words) and len(set(words)) == len(words)):
        return RCPT_SYNTAX
    recipient.notify = words
    return None


def _orcpt(value: str | None, recipient: Recipient, transaction: Transaction) -> Reply | None:
    kind, _, address = (value or "").partition(";")
    if not value or len(value) > _MOST_ORCPT or not address or _ADDRESS_TYPE.fullmatch(kind) is None:
        return RCPT_SYNTAX
    if not is_xtext(address, utf8=transaction.smtputf8 and kind.lower() == "utf-8"):
        return RCPT_SYNTAX
    recipient.orcpt = value
    return None


DSN = register(
    Extension("DSN", mail={"RET": _ret, "ENVID": _envid}, rcpt={"NOTIFY": _notify, "ORCPT": _orcpt}), __name__
)
