"""Mail from the internet: many clients that open a connection, send a few messages, and leave.

locust -f loadtest/scenarios/gateway.py --host smtp://127.0.0.1:2525
"""

from loadtest.messages import GATEWAY_MIX
from loadtest.smtp_user import SmtpUser


class Gateway(SmtpUser):
    """Another server on the internet that has some mail for us."""

    mix = GATEWAY_MIX
    recipients = "1-5"
    messages = "1-10"
