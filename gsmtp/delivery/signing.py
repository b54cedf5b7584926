"""Signatures of webhook requests: who has the secret can tell that a request is ours, and how old it is.

``X-Gsmtp-Signature: v1=HEX`` is HMAC-SHA256 over the timestamp of ``X-Gsmtp-Timestamp``, a dot, and the body as sent.
Where an ``X-Gsmtp-Envelope`` goes with the body, ``X-Gsmtp-Envelope-Signature: v1=HEX`` is HMAC-SHA256 over timestamp,
dot, the hexadecimal signature of the body, dot, and the envelope's text, which ties it to just this body. With several
secrets there is a ``v1=HEX`` for each, separated by commas (docs/transports.md). No I/O but reading the body.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Sequence


def sign_body(secrets: Sequence[bytes], timestamp: int, pieces: Iterable[bytes]) -> list[str]:
    """The body's signature by each secret, in hexadecimal.

    Args:
        secrets: the keys.
        timestamp: seconds since the epoch.
        pieces: the body; a file's are read with blocking calls.
    """
    made = [hmac.new(secret, b"%d." % timestamp, hashlib.sha256) for secret in secrets]
    for piece in pieces:
        for one in made:
            one.update(piece)
    return [one.hexdigest() for one in made]


def sign_envelope(secrets: Sequence[bytes], timestamp: int, bodies: Sequence[str], envelope: str) -> list[str]:
    """The envelope's signature by each secret, in hexadecimal.

    Args:
        secrets: the keys.
        timestamp: seconds since the epoch.
        bodies: what `sign_body` gave for the same secrets.
        envelope: the text of ``X-Gsmtp-Envelope``.
    """
    return [
        hmac.new(secret, f"{timestamp}.{body}.{envelope}".encode(), hashlib.sha256).hexdigest()
        for secret, body in zip(secrets, bodies, strict=True)
    ]


def signature_field(signatures: Sequence[str]) -> str:
    """The value of a signature's header field."""
    return ",".join(f"v1={one}" for one in signatures)
