"""What of a transaction's contexts is kept with the message in the spool, and what becomes of refused recipients.

Source: reference/policy-and-context.md section 2, reference/esmtp-listener.md section 10.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from gsmtp.config import kinds
from gsmtp.config.kinds import Kind
from gsmtp.config.option import MESSAGE, OUTBOUND, Option, declare
from gsmtp.config.scopes import Configuration
from gsmtp.config.tree import Value
from gsmtp.core.envelope import Recipient

Patterns = tuple[re.Pattern[str], ...]


def _patterns(value: Value) -> Patterns:
    return tuple(_pattern(text) for text in kinds.item_texts(value))


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise ValueError(f"{text!r} is no regular expression: {error}") from error


_KIND: Kind[Patterns] = Kind(
    "list of regular expressions",
    _patterns,
    "a list of regular expressions in ( ), each matched anywhere in a key",
    show=lambda value: " ".join(["(", *(f'"{one.pattern}"' for one in value), ")"]),
)

EXCLUDE_VCTX_CONN: Option[Patterns] = declare(
    Option(
        name="Exclude_VCtx_Conn",
        kind=_KIND,
        default=(),
        scopes=OUTBOUND,
        doc="Connection variables whose keys match one of these are not kept with the message; nor are keys that "
        "begin with #. In a Domain it counts for messages with a recipient there.",
        source="Momentum: exclude_vctx_conn",
    )
)

EXCLUDE_VCTX_MESS: Option[Patterns] = declare(
    Option(
        name="Exclude_VCtx_Mess",
        kind=_KIND,
        default=(),
        scopes=OUTBOUND,
        doc="Message variables whose keys match one of these are not kept with the message; nor are keys that begin "
        "with #. In a Domain it counts for messages with a recipient there.",
        source="Momentum: exclude_vctx_mess",
    )
)

GENERATE_BOUNCES_FOR_REJECTIONS: Option[bool] = declare(
    Option(
        name="Generate_Bounces_For_Multi_Recipient_Policy_Rejections",
        kind=kinds.boolean,
        default=True,
        scopes=MESSAGE,
        doc="When policy refuses some recipients of a message after its text came, the client hears 250 all the same. "
        "true sends a bounce with the reply for those; false forgets them with a line in the log.",
        source="Momentum: generate_bounces_for_multi_recipient_policy_rejections",
    )
)


def kept(
    values: Mapping[str, str],
    option: Option[Patterns],
    configuration: Configuration,
    recipients: Iterable[Recipient],
) -> dict[str, str]:
    """What of a context goes into the spool.

    Args:
        values: the context.
        option: which of the two options says what is left out.
        configuration: in force.
        recipients: of the message; a key that one of their domains excludes is left out.
    """
    if not values:
        return {}
    patterns: set[re.Pattern[str]] = set()
    for recipient in recipients:
        excluded: Patterns = configuration.domain_view(recipient.domain)[option]
        patterns.update(excluded)
    if not patterns and "#" not in "".join(values):  # nearly always, and for each message
        return dict(values)
    return {
        key: value
        for key, value in values.items()
        if key[:1] != "#" and not any(pattern.search(key) for pattern in patterns)
    }
