"""DSN parameters of a recipient that stands for others (RFC 3461 section 5.2.7)."""

from __future__ import annotations

import pytest

from gsmtp.core.envelope import Recipient
from gsmtp.policy.message import Recipients

TEAM = "team@example.com"


@pytest.mark.parametrize(
    ("notify", "of_one", "of_several"),
    [
        ((), (), ()),
        (("NEVER",), ("NEVER",), ("NEVER",)),
        (("SUCCESS",), ("SUCCESS",), ("NEVER",)),
        (("SUCCESS", "FAILURE"), ("SUCCESS", "FAILURE"), ("FAILURE",)),
    ],
)
def test_what_becomes_of_notify(notify: tuple[str, ...], of_one: tuple[str, ...], of_several: tuple[str, ...]) -> None:
    for others, expected in ((["ann@example.com"], of_one), (["ann@example.com", "bob@example.com"], of_several)):
        recipients = Recipients([Recipient(TEAM, "example.com", TEAM, notify, "rfc822;t@example.com")])
        recipients.replace(TEAM, *others)
        assert [(one.address, one.notify, one.orcpt) for one in recipients] == [
            (other, expected, "rfc822;t@example.com") for other in others
        ]
