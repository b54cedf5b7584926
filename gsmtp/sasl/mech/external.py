"""EXTERNAL: who the verified client certificate of TLS names (RFC 4422 appendix A)."""

from __future__ import annotations

from gsmtp.sasl.mechanism import Exchange, Outcome, Setting, challenge, may_act_as, mechanism
from gsmtp.sasl.need import Status
from gsmtp.sasl.prep import saslprep


@mechanism("EXTERNAL", needs_certificate=True)
def external(setting: Setting) -> Exchange:
    """Take the certificate's identity; the response may name the same and no other."""
    response = yield from challenge(b"")
    user = setting.certified_user
    try:
        authzid = saslprep(response.decode())
    except ValueError as error:
        return Outcome(Status.FAIL, user, f"authorization identity: {error}")
    if not user:
        return Outcome(Status.FAIL, reason="no verified client certificate")
    if not may_act_as(user, authzid):
        return Outcome(Status.FAIL, user, f"may not act as {authzid}")
    return Outcome(Status.PASS, user)
