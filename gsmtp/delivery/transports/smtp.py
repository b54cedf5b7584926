"""Hands mail on by ESMTP or SMTP (RFC 5321), as `Delivery_Method` says; `delivery.mailer` does it."""

from __future__ import annotations

from gsmtp.delivery.job import Job, Outcome
from gsmtp.delivery.transport import Tools, Transport, transport


@transport("smtp")
class SmtpTransport(Transport):
    """ESMTP and SMTP over TCP."""

    is_lmtp = False

    def __init__(self, tools: Tools) -> None:
        super().__init__(tools)
        from gsmtp.delivery.mailer import Mailer  # gevent, which `gsmtp check` does without

        self._mailer = Mailer(tools, is_lmtp=self.is_lmtp)

    def deliver(self, job: Job) -> list[Outcome]:
        """See `Transport.deliver`.

        Raises:
            NoHopReachable: no hop could be connected to.
            DeliveryError: the message is to go over TLS only and can't, or the domain takes no mail.
        """
        return self._mailer.deliver(job)
