"""What policy and handlers of mail are written with: ``from gsmtp.api import Hook, Reject``. How: docs/policy.md,
docs/transports.md.

Importing this imports no gevent and starts nothing.
"""

from __future__ import annotations

from gsmtp.core.errors import ConfigError
from gsmtp.core.inboundmail import InboundMail, Refuse, Retry
from gsmtp.core.parsedmail import Address, Attachment, ParsedMail
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
