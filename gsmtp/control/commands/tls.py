"""``tls show cache``, ``tls flush cache`` and ``tls rekey``: the contexts that connections get their TLS from.

Source: reference/console-and-logs.md section 4.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gsmtp.control.command import CommandError, Output, gathered
from gsmtp.control.parts import Parts, Row, total
from gsmtp.control.reconfigure import off_the_hub
from gsmtp.core.errors import ConfigError

if TYPE_CHECKING:
    from gsmtp.control.console import Console


def _contexts(console: Console, words: Sequence[str]) -> list[Row]:
    if words:
        raise CommandError("tls show cache takes no words")
    service = console.operations.service
    users = Counter(id(connection.tls_context) for connection in service.connections)
    return [
        {
            "age_s": max(int(time.time() - made.made_wall), 0),
            "sessions": users[id(made)],
            "sessions_begun": made.used,
            "certificate": made.settings.certificate,
            "ca_list": made.settings.client_ca,
            "ciphers": made.settings.ciphers,
        }
        for made in service.tls
    ]


@gathered(
    "tls show cache",
    _contexts,
    help="The TLS contexts: how old each is, who uses it, from which files it was made.",
)
def show_cache(console: Console, words: Sequence[str], parts: Parts) -> Output:
    """A numbered block each. Workers make their own of the same configuration, in the same order."""
    alike = [[row for row in rows if row is not None] for rows in itertools.zip_longest(*parts.values)]
    data = [{**total(rows), "age_s": max(row["age_s"] for row in rows)} for rows in alike]
    lines: list[str] = []
    for number, row in enumerate(data, 1):
        lines += [
            f"{number}: server context",
            f"  age: {row['age_s']} seconds old",
            f"  in use by: {row['sessions']} sessions",
            f"  certificate: {row['certificate']}",
            f"  ca list: {row['ca_list']}",
            f"  ciphers: {row['ciphers']}",
        ]
    return Output((*lines, "Temp RSA key is uncached."), data)


@gathered(
    "tls flush cache",
    lambda console, words: _renew(console, words, "tls flush cache"),
    help="Reads the certificates and keys anew. Running sessions keep what they have; when a file can't be used, all "
    "stays as it is.",
    changes=True,
    here_too=True,
)
def flush_cache(console: Console, words: Sequence[str], parts: Parts) -> Output:
    """Make all contexts anew."""
    return Output(("Cache flush request submitted.",), {"flushed": True})


@gathered(
    "tls rekey",
    lambda console, words: _renew(console, words, "tls rekey"),
    help="Makes all TLS contexts anew, with new keys for session tickets.",
    changes=True,
    here_too=True,
)
def rekey(console: Console, words: Sequence[str], parts: Parts) -> Output:
    """Make all contexts anew."""
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
