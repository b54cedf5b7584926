"""How many worker processes a configuration asks for.

Source: reference/threadpools-eventloops.md sections 1.2 and 2; docs/decisions.md.
"""

from __future__ import annotations

from gsmtp.config.scopes import Configuration
from gsmtp.server.options import EVENT_LOOP, EVENT_LOOP_CONCURRENCY


def workers_of(configuration: Configuration, asked: int | None = None) -> int:
    """How many processes are to serve, 1 for a server without workers.

    Args:
        configuration: whose enabled Listens may name EventLoops; the largest of these decides.
        asked: ``--workers``, which goes before that.
    """
    if asked is not None:
        return max(asked, 1)
    names = {listen.view[EVENT_LOOP].lower() for listen in configuration.listens if listen.is_enabled}
    loops = [view for view in configuration.stanzas("eventloop") if (view.chain[0].spelled or "").lower() in names]
    return max((view[EVENT_LOOP_CONCURRENCY] for view in loops), default=1) or 1
