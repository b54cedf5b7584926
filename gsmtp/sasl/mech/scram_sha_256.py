"""SCRAM-SHA-256 and SCRAM-SHA-256-PLUS: salted challenge and response, both sides prove themselves (RFC 7677).

With -PLUS the proof covers the TLS channel, so that nobody can sit in the middle: tls-exporter (RFC 9266),
tls-server-end-point and tls-unique (RFC 5929). A client that could bind and says that it wasn't offered, while it was,
has met such a one: it fails (RFC 5802 section 6).
"""

from __future__ import annotations

import base64
import hmac

from gsmtp.sasl.mechanism import Exchange, Outcome, Setting, ask, challenge, may_act_as, mechanism
from gsmtp.sasl.need import FetchSecret, ScramSecret, Status
from gsmtp.sasl.prep import saslprep
from gsmtp.sasl.scram import (
    ClientFirst,
    decoy_for,
    parse_client_final,
    parse_client_first,
    proves,
    server_signature,
)

_OPTION = "AuthScramSHA256Parameters"


@mechanism("SCRAM-SHA-256", option=_OPTION)
def scram_sha_256(setting: Setting) -> Exchange:
    """Without channel binding."""
    return (yield from _scram(setting, "SCRAM-SHA-256"))


@mechanism("SCRAM-SHA-256-PLUS", option=_OPTION, needs_binding=True)
def scram_sha_256_plus(setting: Setting) -> Exchange:
    """With channel binding."""
    return (yield from _scram(setting, "SCRAM-SHA-256-PLUS"))


def _scram(setting: Setting, name: str) -> Exchange:
    message = yield from challenge(b"")
    try:
        first = parse_client_first(message)
        user = saslprep(first.user)
        authzid = saslprep(first.authzid)
    except ValueError as error:
        return Outcome(Status.FAIL, reason=f"malformed first message: {error}")
    if not user:
        return Outcome(Status.FAIL, reason="no user name")
    wrong = _binding_fault(first, setting, name)
    if wrong:
        return Outcome(Status.FAIL, user, wrong)
    answer = yield from ask(FetchSecret(user, "scram-sha-256", name))
    if answer.status is Status.ERROR:
        return Outcome(Status.ERROR, user, answer.reason)
    secret = answer.secret if isinstance(answer.secret, ScramSecret) else decoy_for(user)
    nonce = first.nonce + base64.b64encode(setting.random(18))
    server_first = b"r=%s,s=%s,i=%d" % (nonce, base64.b64encode(secret.salt), secret.iterations)
    message = yield from challenge(server_first)
    try:
        final = parse_client_final(message)
    except ValueError as error:
        return Outcome(Status.FAIL, user, f"malformed final message: {error}")
    signed = b",".join((first.bare, server_first, final.without_proof))
    is_good = proves(secret, signed, final.proof)
    channel = first.gs2_header + setting.channel_bindings.get(first.binding, b"")
    if not hmac.compare_digest(final.channel, channel):
        return Outcome(Status.FAIL, user, "another channel binding: somebody may sit in the middle")
    if not hmac.compare_digest(final.nonce, nonce):
        return Outcome(Status.FAIL, user, "another nonce")
    if answer.status is not Status.PASS or not is_good:
        return Outcome(Status.FAIL, user, answer.reason or "wrong proof")
    if not may_act_as(user, authzid):
        return Outcome(Status.FAIL, user, f"may not act as {authzid}")
    yield from challenge(b"v=" + base64.b64encode(server_signature(secret, signed)))
    return Outcome(Status.PASS, user)


def _binding_fault(first: ClientFirst, setting: Setting, name: str) -> str:
    """What is wrong with the channel binding flag, or "" (RFC 5802 section 6)."""
    if name.endswith("-PLUS"):
        if first.flag != "p":
            return "-PLUS without channel binding"
        if first.binding not in setting.channel_bindings:
            return f"channel binding {first.binding} is not to be had"
        return ""
    if first.flag == "p":
        return "channel binding without -PLUS"
    if first.flag == "y" and f"{name}-PLUS" in setting.offered:
        return "the client was told that -PLUS is not offered, and it is: somebody may sit in the middle"
    return ""
