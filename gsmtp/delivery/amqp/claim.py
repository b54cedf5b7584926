"""Claim check: a large message is stored in a shared directory, and the broker gets a claim for it.

A file is named after the broker message's id and the SHA-256, written under a name of its own, synced and renamed, and
its directory synced, before the claim is published: a claim is never there without its file. The other way round
happens (no confirm in time, a crash): such a file stays until somebody removes it. Who consumes a claim removes its
file after the acknowledgement.

All of this blocks: for native threads.
"""

from __future__ import annotations

import hashlib
import json
import os
from typing import BinaryIO

from gsmtp.spool.base import StoredBody
from gsmtp.spool.body_files import sync_directory

_PIECE_BYTES = 1 << 20
_MODE = 0o640
_FOLDERS = 256


def store(folder: str, message_id: str, body: StoredBody) -> bytes:
    """Store a message; its claim, as JSON: ``path`` below the folder, ``size`` in bytes, ``sha256`` in hex.

    Args:
        folder: the shared directory, which must be there.
        message_id: of the broker message, each of which has its own file.
        body: the message.

    Storing the same message again replaces the file by itself. Raises OSError, SpoolError.
    """
    if not os.path.isdir(folder):  # never made here: it may be a mount that is missing
        raise NotADirectoryError(f"{folder} is no directory")
    name = message_id.replace("/", "-")
    where = f"{hashlib.sha256(name.encode()).digest()[0] % _FOLDERS:02x}"
    inside = os.path.join(folder, where)
    if not os.path.isdir(inside):
        os.makedirs(inside, exist_ok=True)
        sync_directory(folder)
    temporary = os.path.join(inside, f".{name}.{os.urandom(8).hex()}")  # a try that was given up may still write
    try:
        with open(temporary, "wb", opener=_opener) as file:
            digest = _copy(body, file)
            file.flush()
            os.fsync(file.fileno())
        path = f"{where}/{name}.{digest}"
        os.rename(temporary, os.path.join(folder, path))
    except BaseException:
        _remove(temporary)
        raise
    sync_directory(inside)
    claim = {"path": path, "size": body.size_bytes, "sha256": digest}
    return json.dumps(claim, separators=(",", ":")).encode()


def read(body: StoredBody) -> bytes:
    """All of a body. Raises SpoolError, OSError."""
    return body.data if body.data is not None else b"".join(body.pieces(_PIECE_BYTES))


def _copy(body: StoredBody, file: BinaryIO) -> str:
    digest = hashlib.sha256()
    for piece in body.pieces(_PIECE_BYTES):
        digest.update(piece)
        file.write(piece)
    return digest.hexdigest()


def _opener(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, _MODE)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass
