"""Enable_Authentication = true: clients that may not relay anyway must log in before MAIL FROM.

Source: reference/esmtp-listener.md section 6.3; RFC 4954 section 6 (530).
"""

from __future__ import annotations

from gsmtp.core.reply import AUTH_REQUIRED
from gsmtp.policy.chain import hook
from gsmtp.policy.context import Context
from gsmtp.policy.decision import Decision, Phase
from gsmtp.smtp.auth_options import ENABLE_AUTHENTICATION
from gsmtp.smtp.events import Mail

_REFUSED = Decision(AUTH_REQUIRED, check="authentication")


@hook(Phase.MAIL, order=100)
def require(context: Context, _event: Mail) -> Decision | None:
    """Refuse MAIL FROM from those who have to log in and have not."""
    if context.view[ENABLE_AUTHENTICATION] and not context.can_relay:
        return _REFUSED
    return None
