"""A bounce in the logs: the failure, the notice's own reception with the protocol internal, its delivery."""

from __future__ import annotations

import re
from pathlib import Path

from tests.observe.test_ec_logger import DELIVERING, LISTENER, ec_logger, mainlog
from tests.support.inprocess import running
from tests.support.sink import Sink


def test_a_bounce_has_lines_of_its_own(tmp_path: Path) -> None:
    with Sink(rcpt={b"b@example.com": b"550 5.1.1 no such user\r\n"}) as strict, Sink() as back:
        domains = (
            f'Domain "example.com" {{ gateway = "{strict.gateway}" }}\n'
            f'Domain "example.net" {{ gateway = "{back.gateway}" }}\n'
        )
        with running(tmp_path, LISTENER + domains + ec_logger(tmp_path), base=DELIVERING) as server:
            client = server.client().greet()
            assert client.transaction().startswith(b"250 ")
            client.close()
            received, failed, notice, delivered = mainlog(server, tmp_path, 4)
            size = str(len(back.messages[0].body))
            log = str(server.log)
    message, session = received[0], received[2]
    assert failed[:5] == [message, message, session, "P", "127.0.0.1"]
    assert failed[-1] == "550 5.1.1 no such user"
    assert re.fullmatch(r"[0-9A-F]{2}/[0-9A-F]{2}-\d{5}-[0-9A-F]{8}", notice[0])
    assert notice[0] != message
    assert notice[1:] == [
        notice[0],
        session,
        "R",
        "a",
        "example.net",
        "",
        "",
        "",
        size,
        "internal",
        "default",
        "default",
    ]
    assert delivered[:5] == [notice[0], notice[0], session, "D", "127.0.0.1"]
    assert f"received id={notice[0]} session={session} client=internal sender=<> recipients=<a@example.net>" in log
