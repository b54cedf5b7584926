"""CRAM-MD5: a keyed digest of a challenge; the server needs the password in clear (RFC 2195)."""

from __future__ import annotations

import hmac

from gsmtp.sasl.mechanism import DECOY_KEY, Exchange, Outcome, Setting, ask, challenge, mechanism
from gsmtp.sasl.need import FetchSecret, Status
from gsmtp.sasl.prep import user_name


@mechanism("CRAM-MD5", option="AuthCramMD5Parameters", is_client_first=False)
def cram_md5(setting: Setting) -> Exchange:
    """Challenge with a message id that never comes again; the response is ``user SP hex digest``."""
    nonce = setting.random(16).hex()
    text = f"<{nonce[:16]}.{nonce[16:]}@{setting.hostname}>".encode()
    response = yield from challenge(text)
    name, separator, digest = response.rpartition(b" ")
    if not separator:
        return Outcome(Status.FAIL, reason="not of the form user SP digest")
    try:
        user = user_name(name)
    except ValueError as error:
        return Outcome(Status.FAIL, reason=f"user name: {error}")
    answer = yield from ask(FetchSecret(user, "cleartext", "CRAM-MD5"))
    if answer.status is Status.ERROR:
        return Outcome(Status.ERROR, user, answer.reason)
    secret = answer.secret if isinstance(answer.secret, bytes) else DECOY_KEY
    expected = hmac.new(secret, text, "md5").hexdigest().encode()
    is_good = hmac.compare_digest(expected, digest.lower())
    if is_good and answer.status is Status.PASS:
        return Outcome(Status.PASS, user)
    return Outcome(Status.FAIL, user, answer.reason or "wrong digest")
