"""A process with a spool, to be killed: ``python -m tests.support.spool_child MODE BASE``.

``load``: commits small and large messages and notes deliveries until it is killed; says ``+ID DIGEST`` when a message
was confirmed and ``-ID`` before a delivery is noted. The other modes run one message into one kill of itself, at the
place they are named after. ``patched``: a short life under gevent's monkey patching; says ``fine``.
"""

from __future__ import annotations

import sys

if sys.argv[1] == "patched":
    from gevent import monkey

    monkey.patch_all()

import hashlib
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent

from gsmtp.spool import store
from gsmtp.spool.body_files import BodyFiles
from tests.support.spool import THRESHOLD, WALL, accept, body_of, delivered, note, open_spool

LARGE = b"L" * (THRESHOLD * 3)


def _die(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _around(owner: Any, name: str, before: Callable[..., None] | None, after: Callable[..., None] | None) -> None:
    original = getattr(owner, name)

    def wrapped(*args: Any) -> Any:
        if before:
            before()
        result = original(*args)
        if after:
            after()
        return result

    setattr(owner, name, wrapped)


def _say(text: str) -> None:
    os.write(1, text.encode() + b"\n")


def _load(base: Path) -> None:
    spool = open_spool(base)
    dice = random.Random(os.getpid())

    def client() -> None:
        while True:
            data = dice.randbytes(dice.choice((10, 1000, THRESHOLD + 1, 5 * THRESHOLD)))
            message_id = accept(spool, data)
            _say(f"+{message_id} {hashlib.sha256(data).hexdigest()}")
            if dice.random() < 0.3:
                _say(f"-{message_id}")
                note(spool, delivered(message_id, 0))

    gevent.joinall([gevent.spawn(client) for _ in range(12)], raise_error=True)


def _patched(base: Path) -> None:
    spool = open_spool(base)
    small, large = accept(spool, b"small"), accept(spool, LARGE)
    assert (body_of(spool, small), body_of(spool, large)) == (b"small", LARGE)
    assert [due.message_id for due in spool.due(WALL, 9)] == [small, large]
    gevent.joinall([gevent.spawn(accept, spool, b"x" * 100) for _ in range(50)], timeout=20, raise_error=True)
    note(spool, delivered(small, 0), delivered(large, 0))
    assert spool.unhealthy_reason() is None
    spool.close()
    again = open_spool(base)
    assert len(again.due(WALL, 100)) == 50
    again.close()
    _say("fine")


def main(mode: str, base: Path) -> None:
    """Live and die."""
    if mode == "load":
        _load(base)
    elif mode == "patched":
        _patched(base)
        return
    spool = open_spool(base)
    if mode == "before the row":
        _around(store, "apply", _die, None)
        accept(spool, b"small")
    elif mode == "after the commit, before the callback":
        _around(store, "apply", None, _die)
        accept(spool, LARGE)
    elif mode == "while the file is written":
        _around(BodyFiles, "finish", _die, None)
        accept(spool, LARGE)
    elif mode == "after the file, before the row":
        _around(BodyFiles, "finish", None, _die)
        accept(spool, LARGE)
    elif mode == "after the delivery, before the unlink":
        message_id = accept(spool, LARGE)
        _around(BodyFiles, "remove", _die, None)
        note(spool, delivered(message_id, 0))
    gevent.sleep(20)
    raise AssertionError(f"{mode}: nobody killed me")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
