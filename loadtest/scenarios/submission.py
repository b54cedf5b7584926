"""People's mail programs: TLS, a login, one message, some recipients; some keep the connection.

locust -f loadtest/scenarios/submission.py --host smtp+starttls://127.0.0.1:2587 --login alice:secret
"""

from loadtest.messages import SUBMISSION_MIX
from loadtest.smtp_user import SmtpUser


class Person(SmtpUser):
    """Somebody who sends one message and is done."""

    weight = 4
    mix = SUBMISSION_MIX
    recipients = "1-3"
    login = "alice:correct horse battery staple"


class WebMail(SmtpUser):
    """A webmail server, which keeps its connection for some messages."""

    weight = 1
    mix = SUBMISSION_MIX
    recipients = "1-20"
    messages = "10-40"
    login = "alice:correct horse battery staple"
