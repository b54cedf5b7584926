"""A check to copy: refuses clients whose EHLO name is a bare word. The leading underscore keeps it from loading.

To make a check of your own, copy this file without the underscore, change what it decides and add tests. If it waits
for anything (DNS, disk, a service), pass ``may_block=True``.
"""

from __future__ import annotations

from gsmtp.core.reply import reply
from gsmtp.policy.chain import hook
from gsmtp.policy.context import Context
from gsmtp.policy.decision import Decision, Phase
from gsmtp.smtp.events import Greeting

_REFUSED = Decision(reply(550, "5.7.1 please say a host name"), check="skeleton")


@hook(Phase.EHLO, order=500)
def require_dot(context: Context, event: Greeting) -> Decision | None:
    """Refuse an EHLO name without a dot, unless the client may relay."""
    if context.can_relay or "." in event.domain:
        return None
    return _REFUSED
