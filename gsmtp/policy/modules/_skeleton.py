"""A module to copy: refuses messages without a Subject. The leading underscore keeps it from loading.

To make a module of your own, copy this file without the underscore, give its stanza a name and declare its options.
"""

from __future__ import annotations

from gsmtp.api import Conn, Ctx, Hook, Message, Reject, Verdict, never_waits
from gsmtp.config.module import declare_module
from gsmtp.config.stanza import Name
from gsmtp.policy.module import Building, policy_module


@never_waits
class Skeleton(Hook):
    """Refuses what has no Subject."""

    name = "skeleton"

    def data(self, conn: Conn, ctx: Ctx, message: Message) -> Verdict | None:
        """Look for the field."""
        return None if "Subject" in message.headers else Reject(550, "5.6.0 a Subject, please")


def declare_options() -> None:
    """Module level code in a real module: importing this one must declare nothing."""
    enabled = declare_module("skeleton", "Refuses messages without a Subject.", Name.NONE)

    @policy_module("skeleton")
    def build(building: Building) -> Hook | None:
        """The hook, unless the stanza switches it off."""
        return Skeleton() if building.view[enabled] else None
