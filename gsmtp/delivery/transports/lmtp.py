"""Hands mail on by LMTP (RFC 2033): as ESMTP, with LHLO and one reply a recipient after the body."""

from __future__ import annotations

from gsmtp.delivery.transport import transport
from gsmtp.delivery.transports.smtp import SmtpTransport


@transport("lmtp")
class LmtpTransport(SmtpTransport):
    """LMTP over TCP."""

    is_lmtp = True
