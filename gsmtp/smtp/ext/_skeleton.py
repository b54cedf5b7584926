"""A working extension that does nothing: copy it to `NAME.py` and fill in what is needed.

A file in this folder is loaded unless its name begins with an underscore, as this one's does. Importing it registers
the extension and has no other effect. Options that it needs are declared in `gsmtp.smtp.options`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gsmtp.core.reply import OK, Reply
from gsmtp.smtp.events import Event
from gsmtp.smtp.extension import Extension, Offer, register
from gsmtp.smtp.state import stays
from gsmtp.smtp.verbs import Verb

if TYPE_CHECKING:
    from gsmtp.core.envelope import Recipient
    from gsmtp.smtp.machine import Machine
    from gsmtp.smtp.profile import Profile
    from gsmtp.smtp.transaction import Transaction


def _ehlo(offer: Offer) -> str:
    """What stands behind the keyword in the EHLO reply, from the options; "" for nothing."""
    return ""


def _mail(value: str | None, transaction: Transaction, profile: Profile) -> Reply | None:
    """Read ``XSKELETON=value`` of MAIL into the transaction; a Reply refuses the command."""
    return None


def _rcpt(value: str | None, recipient: Recipient, transaction: Transaction) -> Reply | None:
    """Read ``XSKELETON=value`` of RCPT into the recipient; a Reply refuses the command."""
    return None


def _verb(session: Machine, argument: str, line: str) -> Event | None:
    """Run the command ``XSKELETON argument``: answer it, or return the event that the driver is to answer."""
    return session.answer_junk(OK)


SKELETON = register(
    Extension(
        "XSKELETON",
        ehlo=_ehlo,
        mail={"XSKELETON": _mail},
        rcpt={"XSKELETON": _rcpt},
        verbs=(Verb("XSKELETON", _verb, stays(), is_junk=True),),
    ),
    __name__,
)
