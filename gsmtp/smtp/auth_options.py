"""The options of logging in: mechanisms' stores, who must or may, what failed attempts cost.

Source: reference/esmtp-listener.md sections 6.3 and 11. Which mechanisms are offered is the list `SMTP_Extensions`.
"""

from __future__ import annotations

from typing import Final

from gsmtp.config import kinds
from gsmtp.config.diagnostics import Problems
from gsmtp.config.option import INBOUND, Option, declare
from gsmtp.config.tree import Scope, Setting

_LISTENERS = ("control_listener", *INBOUND)
_FLAGS: Final = ("log_authentication", "stored_cleartext")


def _examine_parameters(value: dict[str, str], setting: Setting, scope: Scope, problems: Problems) -> None:
    lowered = {key.lower(): text for key, text in value.items()}
    scheme, separator, _ = lowered.get("uri", "").partition("://")
    if not lowered.get("uri"):
        problems.error(
            setting.span,
            f"{setting.spelled} has no uri",
            hint='name the store, e.g. [ uri = "file:///etc/gsmtp/users" ]',
            code="auth-uri",
        )
    elif not separator or not scheme:
        problems.error(
            setting.value.span,
            f'uri = "{lowered["uri"]}" in {setting.spelled} is not of the form scheme://…',
            hint='e.g. uri = "file:///etc/gsmtp/users"',
            code="auth-uri",
        )
    for key in _FLAGS:
        if lowered.get(key, "true").lower() not in kinds.BOOLEAN_WORDS:
            problems.error(
                setting.value.span,
                f'{key} = "{lowered[key]}" in {setting.spelled} is not true or false',
                code="bad-value",
            )


def _parameters(name: str, doc: str, source: str, *, ours: bool = False) -> Option[dict[str, str]]:
    return declare(
        Option(
            name=name,
            kind=kinds.dictionary,
            default={},
            scopes=_LISTENERS,
            doc=doc + ' ``log_authentication = "true"`` writes an acctlog record for each attempt.',
            source=source,
            ours=ours,
            examine=_examine_parameters,
        )
    )


AUTH_PLAIN_PARAMETERS = _parameters(
    "AuthPlainParameters",
    "Where PLAIN looks users up: ``uri`` (``file:///path``, ``digest:///path``, a scheme of auth_ds).",
    "RFC 4616",
)
AUTH_LOGIN_PARAMETERS = _parameters(
    "AuthLoginParameters", "Where LOGIN looks users up: ``uri``, as for PLAIN.", "Momentum: authloginparameters"
)
AUTH_CRAM_MD5_PARAMETERS = _parameters(
    "AuthCramMD5Parameters",
    "Where CRAM-MD5 looks users up: ``uri`` of a store that holds passwords in clear.",
    "RFC 2195",
)
AUTH_DIGEST_MD5_PARAMETERS = _parameters(
    "AuthDigestMD5Parameters",
    "Where DIGEST-MD5 looks users up: ``uri``, ``realm`` (default: the server's host name), ``stored_cleartext`` "
    '(``"true"`` when the store holds passwords and not digests).',
    "RFC 2831",
)
AUTH_SCRAM_SHA256_PARAMETERS = _parameters(
    "AuthScramSHA256Parameters",
    "Where SCRAM-SHA-256 and SCRAM-SHA-256-PLUS look users up: ``uri`` of a store with passwords in clear or with "
    "``{SCRAM-SHA-256}`` verifiers.",
    "RFC 7677",
    ours=True,
)

AUTH_PARAMETERS: Final = {
    option.name: option
    for option in (
        AUTH_PLAIN_PARAMETERS,
        AUTH_LOGIN_PARAMETERS,
        AUTH_CRAM_MD5_PARAMETERS,
        AUTH_DIGEST_MD5_PARAMETERS,
        AUTH_SCRAM_SHA256_PARAMETERS,
    )
}
"""By the names that mechanisms give (`sasl.mechanism.Mechanism.option`)."""

ALWAYS_ALLOW: Option[bool] = declare(
    Option(
        name="Always_Allow",
        kind=kinds.boolean,
        default=False,
        scopes=_LISTENERS,
        doc="Whether clients count as logged in from the start, as ``anonymous``, and every login succeeds; they may "
        "send to every domain. Always_Deny goes before it.",
        source="Momentum: always_allow",
    )
)

ALWAYS_DENY: Option[bool] = declare(
    Option(
        name="Always_Deny",
        kind=kinds.boolean,
        default=False,
        scopes=_LISTENERS,
        doc="Whether every login fails, after the credentials were read.",
        source="Momentum: always_deny",
    )
)

ENABLE_AUTHENTICATION: Option[bool] = declare(
    Option(
        name="Enable_Authentication",
        kind=kinds.boolean,
        default=False,
        scopes=_LISTENERS,
        doc="If true, MAIL FROM from a client that has not logged in and may not relay anyway (Relay_Hosts, "
        "Open_Relay) gets 530 5.7.0. If set to false, AUTH is not offered even where it is listed. On the console: "
        "clients of TCP sockets have to log in; those of Unix sockets are known.",
        source="RFC 4954 section 6",
    )
)

AUTH_REQUIRES_TLS: Option[bool] = declare(
    Option(
        name="Auth_Requires_TLS",
        kind=kinds.boolean,
        default=False,
        scopes=INBOUND,
        doc="Whether PLAIN and LOGIN, which show the password, are neither offered nor taken before TLS is on.",
        ours=True,
    )
)

AUTH_FAILURE_DELAY: Option[int] = declare(
    Option(
        name="Auth_Failure_Delay",
        kind=kinds.seconds,
        default=1,
        scopes=INBOUND,
        unit="seconds",
        doc="How long the answer to a failed login is held back; doubled with each further failure from that address, "
        "up to sixteen times as long. 0 answers at once.",
        ours=True,
    )
)

AUTH_FAILURES_PER_SESSION: Option[int] = declare(
    Option(
        name="Auth_Failures_Per_Session",
        kind=kinds.count,
        default=3,
        scopes=INBOUND,
        doc="The failed login that ends the session, with 421 4.7.0. 0 means no limit.",
        ours=True,
    )
)

AUTH_FAILURES_PER_ADDRESS: Option[int] = declare(
    Option(
        name="Auth_Failures_Per_Address",
        kind=kinds.count,
        default=20,
        scopes=INBOUND,
        doc="After so many failed logins from one IPv4 address or IPv6 /64 within Auth_Failure_Window, further ones "
        "get 421 4.7.0 and the store is not asked. Clients that may relay without a login are not cut off. 0 means "
        "no limit.",
        ours=True,
    )
)

AUTH_FAILURE_WINDOW: Option[int] = declare(
    Option(
        name="Auth_Failure_Window",
        kind=kinds.seconds,
        default=600,
        scopes=INBOUND,
        unit="seconds",
        doc="How long a failed login counts against its address.",
        ours=True,
    )
)
