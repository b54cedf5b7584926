"""MT-PRIORITY: how urgent a message is, from -9 to 9, 0 being what it is without (RFC 6710).

Kept with the envelope; of the mail that waits for one destination the more urgent goes first. Whom to believe is
decided by where the extension is listed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gsmtp.core.reply import MAIL_SYNTAX, Reply
from gsmtp.smtp.extension import Extension, register

if TYPE_CHECKING:
    from gsmtp.smtp.profile import Profile
    from gsmtp.smtp.transaction import Transaction

_VALUE = re.compile(r"-?[1-9]|0", re.ASCII)


def _priority(value: str | None, transaction: Transaction, profile: Profile) -> Reply | None:
    if value is None or _VALUE.fullmatch(value) is None:
        return MAIL_SYNTAX
    transaction.priority = int(value)
    return None


MT_PRIORITY = register(Extension("MT-PRIORITY", mail={"MT-PRIORITY": _priority}), __name__)
