"""What `gsmtp check` imports: it has to start fast, so what a judgement needs not stays away."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from ply import lex

from gsmtp.config import lexer

HEAVY = {
    "asyncio", "dns", "email.header", "email.message", "email.parser", "email.policy", "gevent", "http.client",
    "importlib.metadata", "multiprocessing", "OpenSSL", "pika", "platform", "ssl", "subprocess",
    "urllib.request", "xml", "zipfile",
}  # fmt: skip
OURS = {
    "gsmtp.control.command",
    "gsmtp.core.parsedmail",
    "gsmtp.delivery.connection",
    "gsmtp.delivery.mailer",
    "gsmtp.policy.chain",
    "gsmtp.smtp.session",
    "gsmtp.server.connection",
    "gsmtp.runtime.tls_openssl",
    "gsmtp.config.recover",
    "gsmtp.smtp.traced",
}
CONF = 'ESMTP_Listener { Listen "127.0.0.1:2525" { } }\n'


@pytest.mark.parametrize("extra", ["", 'Relay_Domains = ( "example.com" )\n'])
def test_check_imports_nothing_heavy(tmp_path: Path, extra: str) -> None:
    path = tmp_path / "small.conf"
    path.write_text(extra + CONF)
    code = "import sys; from gsmtp.cli.main import main; main(sys.argv[1:]); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code, "check", str(path)], capture_output=True, text=True, timeout=60, check=True
    )
    verdict, _, modules = done.stdout.strip().rpartition("\n")
    assert verdict == f"{path}: ok"
    loaded = set(modules.split())
    assert "gsmtp.cli.check" in loaded
    assert sorted(loaded & (HEAVY | OURS)) == []


def test_the_rules_of_the_lexer_are_sound() -> None:
    """`build` leaves out PLY's own look at them."""
    assert lex.lex(module=lexer, reflags=0).lexstatere
