"""``tls show cache``, ``tls flush cache`` and ``tls rekey``: the contexts that connections get their TLS from.

Source: reference/console-and-logs.md section 4.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gsmtp.control.command import CommandError, Output, command
from gsmtp.control.reconfigure import off_the_hub
from gsmtp.core.errors import ConfigError

if TYPE_CHECKING:
    from gsmtp.control.console import Console


@command("tls show cache", help="The TLS contexts: how old each is, who uses it, from which files it was made.")
def show_cache(console: Console, words: Sequence[str]) -> Output:
    """A numbered block each."""
    if words:
        raise CommandError("tls show cache takes no words")
    service = console.operations.service
    users = Counter(id(connection.tls_context) for connection in service.connections)
    lines: list[str] = []
    data = []
    for number, made in enumerate(service.tls, 1):
        settings = made.settings
        row = {
            "age_s": max(int(time.time() - made.made_wall), 0),
            "sessions": users[id(made)],
            "sessions_begun": made.used,
            "certificate": settings.certificate,
            "ca_list": settings.client_ca,
            "ciphers": settings.ciphers,
        }
        data.append(row)
        lines += [
            f"{number}: server context",
            f"  age: {row['age_s']} seconds old",
            f"  in use by: {row['sessions']} sessions",
            f"  certificate: {row['certificate']}",
            f"  ca list: {row['ca_list']}",
            f"  ciphers: {row['ciphers']}",
        ]
    return Output((*lines, "Temp RSA key is uncached."), data)


@command(
    "tls flush cache",
    help="Reads the certificates and keys anew. Running sessions keep what they have; when a file can't be used, all "
    "stays as it is.",
)
def flush_cache(console: Console, words: Sequence[str]) -> Output:
    """Make all contexts anew."""
    _renew(console, words, "tls flush cache")
    return Output(("Cache flush request submitted.",), {"flushed": True})


@command("tls rekey", help="Makes all TLS contexts anew, with new keys for session tickets.")
def rekey(console: Console, words: Sequence[str]) -> Output:
    """Make all contexts anew."""
    _renew(console, words, "tls rekey")
    return Output(("Rekey request submitted.",), {"rekeyed": True})


def _renew(console: Console, words: Sequence[str], name: str) -> None:
    if words:
        raise CommandError(f"{name} takes no words")
    operations = console.operations
    service = operations.service
    old = service.tls
    try:
        contexts = off_the_hub(operations, old.renewed)
    except ConfigError as error:
        raise CommandError(str(error)) from None
    if service.tls is old:  # else a reload has read them meanwhile
        service.use_tls(contexts)
