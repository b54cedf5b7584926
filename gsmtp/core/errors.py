"""The exceptions of gsmtp. A refusal by policy is a value (`policy.decision`), never one of these."""

from __future__ import annotations


class GsmtpError(Exception):
    """Everything that gsmtp raises on purpose."""


class ConfigError(GsmtpError):
    """A configuration that can't be used. The problems with their places were reported before it is raised."""


class ProtocolError(GsmtpError):
    """Something that the SMTP machine refuses to go on with."""


class LocalProtocolError(ProtocolError):
    """We misused the machine: a bug on our side. A peer's misuse is never an exception: it gets its reply."""


class SpoolError(GsmtpError):
    """The spool can't keep a message. The text is for the log; the peer gets a general reply."""


class SpoolFull(SpoolError):
    """No room on the spool's file system: 452 4.3.1."""


class SpoolUnhealthy(SpoolError):
    """The spool is broken (I/O error, read-only, damaged): 451 4.3.0."""


class DeliveryError(GsmtpError):
    """A delivery attempt that failed before any recipient got an answer.

    Args:
        message: text for the log and for `gsmtp queue show`, beginning with a reply code, e.g.
            ``450 4.4.1 [internal] Connection Timed Out``.
        temporary: whether trying again can help.
    """

    def __init__(self, message: str, *, temporary: bool = True) -> None:
        super().__init__(message)
        self.temporary = temporary
