"""The documented sums, and the ends of trying."""

from __future__ import annotations

import pytest

from gsmtp.delivery.backoff import (
    TOO_OFTEN,
    TOO_OLD,
    GiveUp,
    Retry,
    RetryPolicy,
    after_failure,
    retries_allowed,
    wait_s,
)
from tests.delivery.kit import configuration

T0 = 1_735_689_600.0


def test_waits_double_up_to_the_cap() -> None:
    policy = RetryPolicy(retry_interval_s=300, max_retry_interval_s=3600)
    assert [wait_s(retry, policy) for retry in range(1, 8)] == [300, 600, 1200, 2400, 3600, 3600, 3600]
    assert wait_s(10_000, policy) == 3600


def test_the_documented_sums() -> None:
    assert sum(wait_s(retry, RetryPolicy(1200, 1200)) for retry in range(1, 6)) == 6000
    assert sum(wait_s(retry, RetryPolicy(1200, 43200)) for retry in range(1, 6)) == 37200


@pytest.mark.parametrize(("cap", "end"), [(1200, 6000), (43200, 37200)])
def test_five_retries_end_when_the_documentation_says(cap: int, end: int) -> None:
    policy = RetryPolicy(1200, cap, max_retries=5, expiration_s=604_800)
    now, attempts = T0, 0
    while True:
        attempts += 1
        step = after_failure(attempts, T0, now, policy)
        if isinstance(step, GiveUp):
            break
        now = step.due_wall
    assert (attempts, now - T0, step.reply) == (6, end, TOO_OFTEN)
    assert TOO_OFTEN == "554 5.4.7 [internal] exceeded max retries without delivery"


@pytest.mark.parametrize("max_retries", ["auto", "none"])
def test_the_last_try_is_made_when_the_message_expires(max_retries: str) -> None:
    policy = RetryPolicy(1200, 43200, max_retries, expiration_s=10_000)
    now, attempts, times = T0, 0, []
    while True:
        attempts += 1
        times.append(now - T0)
        step = after_failure(attempts, T0, now, policy)
        if isinstance(step, GiveUp):
            break
        now = step.due_wall
    assert times == [0, 1200, 3600, 8400, 10_000]
    assert step.reply == TOO_OLD == "554 5.4.7 [internal] exceeded max time without delivery"


def test_a_message_found_too_old_after_a_long_stop_is_tried_once_and_given_up() -> None:
    assert after_failure(1, T0, T0 + 86_400, RetryPolicy()) == GiveUp(TOO_OLD)
    assert after_failure(1, T0, T0 + 86_399, RetryPolicy()) == Retry(T0 + 86_400)


def test_never_retry_gives_up_at_the_first_failure() -> None:
    policy = RetryPolicy(never_retry=True)
    assert after_failure(1, T0, T0, policy) == GiveUp(TOO_OFTEN)
    assert policy.tries_once
    assert RetryPolicy(max_retries=0).tries_once
    assert after_failure(1, T0, T0, RetryPolicy(max_retries=0)) == GiveUp(TOO_OFTEN)
    assert not RetryPolicy().tries_once


@pytest.mark.parametrize(
    ("policy", "allowed"),
    [
        (RetryPolicy(1200, 43200, "none"), None),
        (RetryPolicy(1200, 43200, 7), 7),
        (RetryPolicy(1200, 43200, 7, never_retry=True), 0),
        (RetryPolicy(1200, 43200, "auto", 37_200), 5),
        (RetryPolicy(1200, 43200, "auto", 37_201), 6),
        (RetryPolicy(1200, 1200, "auto", 6000), 5),
        (RetryPolicy(1200, 1200, "auto", 6001), 6),
        (RetryPolicy(1, 1, "auto", 10**9), 10**9),
        (RetryPolicy(1200, 43200, "auto", 0), 0),
    ],
)
def test_auto_is_as_many_retries_as_reach_the_expiration(policy: RetryPolicy, allowed: int | None) -> None:
    assert retries_allowed(policy) == allowed


def test_the_policy_is_read_from_the_domains_options() -> None:
    conf = configuration(
        {
            "example.com": {
                "Retry_Interval": 300,
                "Max_Retry_Interval": 600,
                "Max_Retries": 4,
                "Message_Expiration": 7200,
                "Never_Retry": "yes",
            }
        }
    )
    assert RetryPolicy.of(conf.domain_view("example.com")) == RetryPolicy(300, 600, 4, 7200, True)
    assert RetryPolicy.of(conf.domain_view("other.example")) == RetryPolicy(1200, 43200, "auto", 86400, False)
