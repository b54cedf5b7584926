"""What policy and handlers of mail are written with: ``from gsmtp.api import Hook, Reject``. How: docs/policy.md,
docs/transports.md.

Importing this imports no gevent and starts nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gsmtp.core.errors import ConfigError
from gsmtp.core.inboundmail import InboundMail, Refuse, Retry
from gsmtp.policy.handles import AuthResult, Conn, Ctx
from gsmtp.policy.headers import Headers
from gsmtp.policy.hook import Hook, deadline, in_thread, never_waits
from gsmtp.policy.message import Message, MessageTooLarge, Recipients
from gsmtp.policy.offload import run_in_pool
from gsmtp.policy.settings import Settings
from gsmtp.policy.verdict import CONT, DONE, Accept, Discard, Disconnect, Reject, Tarpit, TempFail, Verdict

__all__ = [
    "Hook", "Conn", "Ctx", "Message", "Headers", "Recipients", "AuthResult", "Settings",
    "Verdict", "Accept", "Reject", "TempFail", "Disconnect", "Discard", "Tarpit", "CONT", "DONE",
    "in_thread", "deadline", "never_waits", "run_in_pool", "MessageTooLarge", "ConfigError",
    "InboundMail", "Retry", "Refuse", "ParsedMail", "Address", "Attachment",
]  # fmt: skip

if TYPE_CHECKING:
    from gsmtp.core.parsedmail import Address, Attachment, ParsedMail

_PARSED = ("Address", "Attachment", "ParsedMail")
"""Loaded when they are asked for: they bring the library's parser of mail along, which policy seldom needs."""


def __getattr__(name: str) -> object:
    if name not in _PARSED:
        raise AttributeError(f"module 'gsmtp.api' has no attribute {name!r}")
    from gsmtp.core import parsedmail

    return getattr(parsedmail, name)
