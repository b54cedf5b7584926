"""How far a delivery attempt had come when it ended: the numbers of mainlog's stage field.

Source: reference/console-and-logs.md section 5.1.
"""

from __future__ import annotations

from enum import IntEnum


class Stage(IntEnum):
    """Momentum's stages of a delivery."""

    NOT_CONNECTED = 0
    IDLE = 1
    DURING_MAIL = 2
    AFTER_MAIL = 3
    DURING_RCPT = 4
    AFTER_RCPT = 5
    DURING_DATA = 6
    AFTER_DATA = 7
    SENDING_BODY = 8
    READING_CONFIRMATION = 9
    DURING_EHLO = 10
    AFTER_EHLO = 11
    READING_BANNER = 12
    DURING_RSET = 13
    AFTER_RSET = 14
    DURING_STARTTLS = 15
    AFTER_STARTTLS = 16
    TLS_HANDSHAKE = 17
    TLS_RENEGOTIATION = 18
    DURING_XCLIENT = 19
    AFTER_XCLIENT = 20
    OUT_OF_BAND_BOUNCE = 21
    UNKNOWN = 22
