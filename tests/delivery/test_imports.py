"""What delivery loads: `gsmtp check` stays without gevent, and the patched process delivers too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

PATCHED = """
import gevent.monkey
gevent.monkey.patch_all()
import sys
import gevent
from gsmtp.delivery.queue import Delivery
from gsmtp.runtime.native import HubMailbox, NativePool
from gsmtp.spool.sqlite import SqliteSpool
from tests.delivery.kit import configuration, envelope
from tests.support.sink import Sink

base = sys.argv[1]
with gevent.Timeout(30), Sink(lmtp=True) as sink:
    spool = SqliteSpool.open_at(base + "/spool", large_threshold=1000)
    conf = configuration(
        {"a.example": {"Gateway": f"localhost:{sink.port}", "Delivery_Method": "LMTP"}},
        {"local": {"Basedir": base + "/mail", "Domains": ("b.example",)}},
    )
    delivery = Delivery(spool, conf, NativePool("IO", 2, HubMailbox()))
    delivery.start()
    message = envelope("u@a.example", "v@b.example")
    writer = spool.open()
    writer.write(b"0123456789\\r\\n" * 50_000)
    spool.commit(message, writer, lambda error: delivery.notify(message))
    while delivery.stats().delivered < 2:
        gevent.sleep(0.01)
    assert delivery.drain(5)
    assert spool.next_due_wall() is None
    spool.close()
    print(len(sink.messages[0].body))
"""


def run(code: str, *args: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *args], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_transports_routes_and_the_client_load_without_gevent() -> None:
    modules = ["client", "router", "backoff", "hops", "pool", "connection", "options", "transport"]
    modules += [f"transports.{name}" for name in ("smtp", "lmtp", "maildir", "_skeleton")]
    imports = "".join(f"import gsmtp.delivery.{name}\n" for name in modules)
    run(f"import sys\n{imports}assert 'gevent' not in sys.modules")


def test_without_its_transports_the_queue_does_not_start() -> None:
    code = (
        "from gsmtp.delivery.queue import Delivery\nfrom gsmtp.core.errors import ConfigError\n"
        "try:\n    Delivery(None, None, None)\nexcept ConfigError as error:\n    print(error)\n"
    )
    assert run(code) == "transports not loaded: lmtp, maildir, smtp\n"


def test_a_patched_process_delivers_by_lmtp_and_into_a_maildir(tmp_path: Path) -> None:
    assert run(PATCHED, str(tmp_path)) == "600000\n"
    [file] = (tmp_path / "mail" / "b.example" / "v" / "new").iterdir()
    assert file.stat().st_size == 600_000 + len("Return-Path: <from@example.net>\r\n")
