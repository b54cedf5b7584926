"""DIGEST-MD5: a digest over both sides' nonces; the server proves itself too (RFC 2831; historic by RFC 6331)."""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from typing import Final

from gsmtp.sasl.digest import parse_directives, quoted, response_value
from gsmtp.sasl.mechanism import DECOY_KEY, Exchange, Outcome, Setting, ask, challenge, may_act_as, mechanism
from gsmtp.sasl.need import FetchSecret, Status
from gsmtp.sasl.prep import saslprep, user_name

_HEX_MD5: Final = re.compile(rb"[0-9A-Fa-f]{32}")
_NEEDED: Final = ("username", "nonce", "cnonce", "nc", "response", "digest-uri")


@mechanism("DIGEST-MD5", option="AuthDigestMD5Parameters", is_client_first=False)
def digest_md5(setting: Setting) -> Exchange:
    """One challenge, one response, one proof of the server. Only qop=auth; no subsequent authentication."""
    nonce = setting.random(16).hex().encode()
    text = (
        f'realm={quoted(setting.realm)},nonce="{nonce.decode()}",qop="auth",charset=utf-8,algorithm=md5-sess'
    ).encode()
    response = yield from challenge(text)
    try:
        fields = parse_directives(response)
        _check(fields, setting, nonce)
        user = _text(fields, "username")
        realm = _text(fields, "realm")
        authzid = saslprep(fields.get("authzid", b"").decode())
    except ValueError as error:
        return Outcome(Status.FAIL, reason=f"malformed response: {error}")
    details = {"nonce": nonce.decode(), "uri": fields["digest-uri"].decode("utf-8", "replace")}
    answer = yield from ask(FetchSecret(user, "digest-md5", "DIGEST-MD5", realm, details))
    if answer.status is Status.ERROR:
        return Outcome(Status.ERROR, user, answer.reason)
    secret = answer.secret if isinstance(answer.secret, bytes) else DECOY_KEY[:16].hex().encode()
    if _HEX_MD5.fullmatch(secret) is None:
        return Outcome(Status.ERROR, user, "what is stored is no digest")
    cnonce, uri, given = fields["cnonce"], fields["digest-uri"], fields.get("authzid")
    expected = response_value(secret, nonce=nonce, cnonce=cnonce, uri=uri, authzid=given)
    is_good = hmac.compare_digest(expected, fields["response"].lower())
    if answer.status is not Status.PASS or not is_good:
        return Outcome(Status.FAIL, user, answer.reason or "wrong digest")
    if realm != setting.realm:
        return Outcome(Status.FAIL, user, f"realm {realm!r} was not offered")
    if not may_act_as(user, authzid):
        return Outcome(Status.FAIL, user, f"may not act as {authzid}")
    proof = response_value(secret, nonce=nonce, cnonce=cnonce, uri=uri, authzid=given, is_server=True)
    yield from challenge(b"rspauth=" + proof)
    return Outcome(Status.PASS, user)


def _check(fields: Mapping[str, bytes], setting: Setting, nonce: bytes) -> None:
    """Raise ValueError for what RFC 2831 section 2.1.2 doesn't allow."""
    for name in _NEEDED:
        if name not in fields:
            raise ValueError(f"{name} is missing")
    if not hmac.compare_digest(fields["nonce"], nonce):
        raise ValueError("it is for another nonce")
    if fields["nc"] != b"00000001":
        raise ValueError("nc is not 00000001")
    if fields.get("qop", b"auth") != b"auth":
        raise ValueError("qop is not auth")
    if fields.get("charset", b"utf-8").lower() != b"utf-8":
        raise ValueError("charset is not utf-8")
    service = fields["digest-uri"].partition(b"/")[0]
    if service.lower() != setting.service.encode():
        raise ValueError(f"digest-uri is not for {setting.service}")


def _text(fields: Mapping[str, bytes], name: str) -> str:
    """A directive in UTF-8, or in ISO 8859-1 when the client doesn't say charset=utf-8."""
    raw = fields.get(name, b"")
    if "charset" not in fields:
        raw = raw.decode("latin-1").encode()
    return user_name(raw) if name == "username" else raw.decode()
