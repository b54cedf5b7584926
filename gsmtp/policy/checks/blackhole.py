"""Blackhole: recipients that are refused at once (inline) or accepted and dropped (internal).

The option is looked up for the recipient's domain, then globally. Source: Momentum's Blackhole option.
"""

from __future__ import annotations

from typing import Final

from gsmtp.core.reply import BLACKHOLED
from gsmtp.policy.chain import hook
from gsmtp.policy.context import Context
from gsmtp.policy.decision import Decision, Phase
from gsmtp.policy.options import BLACKHOLE
from gsmtp.smtp.events import Rcpt

_REFUSED: Final = Decision(BLACKHOLED, check="blackhole")


@hook(Phase.RCPT, order=200)
def blackhole(context: Context, event: Rcpt) -> Decision | None:
    """Refuse the recipient, or mark it to be dropped."""
    mode = context.configuration.domain_view(event.recipient.domain)[BLACKHOLE]
    if mode == "false":
        return None
    if mode == "internal":
        event.recipient.drop = True
        return None
    return _REFUSED
