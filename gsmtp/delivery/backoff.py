"""When a recipient is tried again, and when it is given up. Pure functions.

Waits are `Retry_Interval` times 1, 2, 4, 8 …, capped by `Max_Retry_Interval`. A wait that would pass
`Message_Expiration` is cut short, so that the last try is made when the message expires, not before.
Source: reference/policy-and-context.md section 5 ("Retry arithmetic").
"""

from __future__ import annotations

from dataclasses import dataclass

from gsmtp.config.view import View
from gsmtp.delivery.options import MAX_RETRIES, MAX_RETRY_INTERVAL, MESSAGE_EXPIRATION, NEVER_RETRY, RETRY_INTERVAL

TOO_OLD = "554 5.4.7 [internal] exceeded max time without delivery"
TOO_OFTEN = "554 5.4.7 [internal] exceeded max retries without delivery"


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """The options that decide; times in seconds, `max_retries` "auto", "none" or a number."""

    retry_interval_s: int = 1200
    max_retry_interval_s: int = 43_200
    max_retries: str | int = "auto"
    expiration_s: int = 86_400
    never_retry: bool = False

    @classmethod
    def of(cls, view: View) -> RetryPolicy:
        """The policy of a domain."""
        return cls(
            view[RETRY_INTERVAL],
            view[MAX_RETRY_INTERVAL],
            view[MAX_RETRIES],
            view[MESSAGE_EXPIRATION],
            view[NEVER_RETRY],
        )

    @property
    def tries_once(self) -> bool:
        """Whether the first transient failure ends it."""
        return self.never_retry or self.max_retries == 0


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again at `due_wall`, seconds since the epoch."""

    due_wall: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Fail with `reply`."""

    reply: str


def wait_s(retry: int, policy: RetryPolicy) -> int:
    """Seconds before retry number `retry`, from 1."""
    doublings = min(retry - 1, 40)  # the cap is reached long before; keeps the number small
    return min(policy.retry_interval_s << doublings, max(policy.max_retry_interval_s, 1))


def retries_allowed(policy: RetryPolicy) -> int | None:
    """How many retries a message gets; None when only `Message_Expiration` decides.

    ``auto`` is as many as it takes to reach the expiration.
    """
    if policy.never_retry:
        return 0
    if policy.max_retries == "none":
        return None
    if isinstance(policy.max_retries, int):
        return policy.max_retries
    retries = passed_s = 0
    while passed_s < policy.expiration_s:
        retries += 1
        wait = wait_s(retries, policy)
        if wait == policy.max_retry_interval_s:  # constant from here on
            rest_s = policy.expiration_s - passed_s
            return retries - 1 + -(-rest_s // wait)
        passed_s += wait
    return retries


def after_failure(attempts: int, received_wall: float, now_wall: float, policy: RetryPolicy) -> Retry | GiveUp:
    """What comes after a transient failure.

    Args:
        attempts: tries so far, the failed one included; at least 1.
        received_wall: when the message was accepted.
        now_wall: when the try failed.
        policy: the domain's options.
    """
    expires_wall = received_wall + policy.expiration_s
    if policy.never_retry:
        return GiveUp(TOO_OFTEN)
    if now_wall >= expires_wall:
        return GiveUp(TOO_OLD)
    allowed = retries_allowed(policy)
    if allowed is not None and attempts > allowed:
        return GiveUp(TOO_OFTEN)
    return Retry(min(now_wall + wait_s(attempts, policy), expires_wall))
