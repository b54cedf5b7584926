"""PLAIN: identity and password in one message (RFC 4616)."""

from __future__ import annotations

from gsmtp.sasl.mechanism import Exchange, Outcome, Setting, ask, challenge, may_act_as, mechanism
from gsmtp.sasl.need import CheckPassword, Status
from gsmtp.sasl.prep import saslprep, user_name


@mechanism("PLAIN", option="AuthPlainParameters", is_cleartext=True)
def plain(setting: Setting) -> Exchange:
    """Read ``[authzid] NUL authcid NUL password``. The user name is prepared, the password is taken as it is."""
    response = yield from challenge(b"")
    parts = response.split(b"\0")
    if len(parts) != 3:
        return Outcome(Status.FAIL, reason="not of the form authzid NUL user NUL password")
    try:
        authzid = saslprep(parts[0].decode())
        user = user_name(parts[1])
    except ValueError as error:
        return Outcome(Status.FAIL, reason=f"user name: {error}" if parts[1] else "no user name")
    answer = yield from ask(CheckPassword(user, parts[2], "PLAIN"))
    if answer.status is Status.PASS and not may_act_as(user, authzid):
        return Outcome(Status.FAIL, user, f"may not act as {authzid}")
    return Outcome(answer.status, user, answer.reason)
