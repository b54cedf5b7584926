"""What a connection to a next hop waits for, and the stage that the log calls it."""

from __future__ import annotations

from enum import Enum

from gsmtp.core.stages import Stage


class Step(Enum):
    """What the machine waits for; each has its time limit in the options."""

    GREETING = "greeting"
    HELLO = "hello"
    STARTTLS = "starttls"
    HANDSHAKE = "tls handshake"
    XCLIENT = "xclient"
    READY = "ready"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    BODY = "body"
    FINAL = "final"
    RSET = "rset"
    CLOSED = "closed"


STAGES = {
    Step.GREETING: Stage.READING_BANNER,
    Step.HELLO: Stage.DURING_EHLO,
    Step.STARTTLS: Stage.DURING_STARTTLS,
    Step.HANDSHAKE: Stage.TLS_HANDSHAKE,
    Step.XCLIENT: Stage.DURING_XCLIENT,
    Step.READY: Stage.IDLE,
    Step.MAIL: Stage.DURING_MAIL,
    Step.RCPT: Stage.DURING_RCPT,
    Step.DATA: Stage.DURING_DATA,
    Step.BODY: Stage.SENDING_BODY,
    Step.FINAL: Stage.READING_CONFIRMATION,
    Step.RSET: Stage.DURING_RSET,
}
"""What was going on when a step's reply, or the end, came."""
