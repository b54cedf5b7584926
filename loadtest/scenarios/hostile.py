"""A bad day: clients that mean harm or are broken, among honest ones whose mail has to get through.

    locust -f loadtest/scenarios/hostile.py --host smtp://127.0.0.1:2525

A hostile act that the server refuses properly is a success here; `loadtest/hostile.py` says what is proper.
"""

import random
import time

from locust import task

from loadtest import hostile
from loadtest.smtp_client import SmtpError
from loadtest.smtp_user import SmtpUser, ledger


class Honest(SmtpUser):
    """Somebody whose mail must get through all the same."""

    weight = 1
    mix = "text:1k*3,dots:4k,eightbit:10k"
    recipients = "1-3"
    messages = "1-10"
    think = "0-0.05"


class Villain(SmtpUser):
    """Does one bad thing after the other, each over a connection of its own."""

    weight = 2
    think = "0-0.1"
    is_polite = False

    @task
    def one_message(self) -> None:
        """Not a message, but an act, in the place of the honest user's task."""
        name = random.choice(list(hostile.BEHAVIOURS))
        started, error = time.perf_counter(), None
        try:
            hostile.run(hostile.BEHAVIOURS[name], self.new_client(), ledger())
        except SmtpError as failure:
            error = failure
        self.report("hostile", name, time.perf_counter() - started, 0, error)
