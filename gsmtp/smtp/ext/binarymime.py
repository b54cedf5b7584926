"""BINARYMIME: bodies of any octets at all, which only BDAT can carry (RFC 3030 section 3).

The word BODY=BINARYMIME is read by 8BITMIME's parameter. What is kept so must go on by BDAT or be re-encoded: a lone
line feed in it could end the data of a next hop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gsmtp.core.reply import BAD_SEQUENCE, Reply
from gsmtp.smtp.extension import Extension, register

if TYPE_CHECKING:
    from gsmtp.smtp.transaction import Transaction


def _no_data(transaction: Transaction) -> Reply | None:
    return BAD_SEQUENCE if transaction.body == "BINARYMIME" else None


BINARYMIME = register(Extension("BINARYMIME", requires=("CHUNKING", "8BITMIME"), at_data=_no_data), __name__)
