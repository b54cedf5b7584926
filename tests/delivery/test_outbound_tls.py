"""TLS to next hosts over real sockets: what is sent how, and what is not sent, for each value of TLS and TLS_Verify."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gsmtp.core.errors import ConfigError, DeliveryError
from gsmtp.core.stages import Stage
from gsmtp.delivery.securing import prepare
from gsmtp.delivery.transport import NoHopReachable, Outcome
from gsmtp.spool.base import StoredBody
from tests.delivery.kit import Settings, configuration, envelope
from tests.delivery.test_smtp import Sender, codes
from tests.support.certificates import Authority
from tests.support.ports import free_port
from tests.support.sink import CUT, EXTENSIONS, GARBAGE, SILENT, Answer, Sink

EXPIRED, GOOD, UNKNOWN, WRONG = "expired", "good", "unknown issuer", "wrong name"


@dataclass
class Desk:
    """Certificates, each in a file."""

    folder: Path
    ca: str
    contexts: dict[str, ssl.SSLContext]

    @contextmanager
    def sink(self, kind: str = GOOD, **more: object) -> Iterator[Sink]:
        with Sink(tls=self.contexts[kind], **more) as sink:  # type: ignore[arg-type]
            yield sink

    def sender(self, sink: Sink, **settings: object) -> Sender:
        return Sender({"Gateway": f"localhost:{sink.port}", "TLS_CA": self.ca, "EHLO_Timeout": 20, **settings})


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    folder = tmp_path_factory.mktemp("tls")
    ours, foreign = Authority("ours"), Authority("foreign")
    kinds = {
        GOOD: ours.issue("localhost"),
        WRONG: ours.issue("elsewhere.example"),
        UNKNOWN: foreign.issue("localhost"),
        EXPIRED: ours.issue("localhost", is_expired=True),
    }
    contexts = {}
    for kind, certificate in kinds.items():
        file = certificate.write(folder / f"{kind}.pem")
        contexts[kind] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        contexts[kind].load_cert_chain(file)
    ours.issue("client.example").write(folder / "client.pem")
    return Desk(folder, str(ours.write(folder / "ca.pem")), contexts)


def sent(sender: Sender, **more: Any) -> Outcome:
    (outcome,) = sender.send(envelope("a@example.org", **more))
    return outcome


NOT_OFFERED, BROKEN, REFUSED = "not offered", "broken", "refused"
FAILED = "450 4.7.5 [internal] TLS failed"


def expected(tls: str, verify: str, condition: str) -> str:
    """What becomes of a message: ``clear``, the last word of what is told of TLS, or the start of an error."""
    if tls == "no":
        return "clear"
    if condition == NOT_OFFERED:
        return "450 4.7.4 [internal] TLS is required, but was not offered" if tls == "required" else "clear"
    if condition not in (BROKEN, REFUSED):
        if verify == "no":
            return "unverified"
        if condition == GOOD or (condition == WRONG and verify == "ca"):
            return "trusted" if verify == "ca" else "verified"
        if verify == "optional":
            return "unverified"
    return "clear" if tls == "ifavailable" else FAILED


@pytest.mark.parametrize("condition", [GOOD, WRONG, UNKNOWN, EXPIRED, NOT_OFFERED, BROKEN, REFUSED])
@pytest.mark.parametrize("verify", ["no", "ca", "host", "optional"])
@pytest.mark.parametrize("tls", ["no", "ifavailable", "strictly ifavailable", "required"])
def test_every_combination(desk: Desk, tls: str, verify: str, condition: str) -> None:
    script: dict[str, list[Answer]] = {}
    if condition == BROKEN:
        script = {"HANDSHAKE": [GARBAGE] * 9}
    elif condition == REFUSED:
        script = {"STARTTLS": [b"454 4.7.0 not now\r\n"] * 9}
    settings: Settings = {"TLS": tls.removeprefix("strictly "), "TLS_Verify": verify}
    if tls.startswith("strictly"):
        settings["TLS_IfAvailable_Fallback"] = False
    kind = condition if condition in (WRONG, UNKNOWN, EXPIRED) else GOOD
    with desk.sink(kind, script=script) as sink:
        if condition == NOT_OFFERED:
            sink.tls = None
        sender = desk.sender(sink, **settings)
        wanted = expected(tls, verify, condition)
        if wanted.startswith("450"):
            with pytest.raises(NoHopReachable) as caught:
                sent(sender)
            assert str(caught.value).startswith(wanted)
            assert sink.messages == []
            assert sink.connections == 1
            assert sender.tools.health.down() == [], "other domains may ask for less"
        else:
            outcome = sent(sender)
            assert outcome.code == 250
            assert (outcome.tls.rpartition(" ")[2] or "clear") == wanted
            assert len(sink.messages) == 1
            assert bool(sink.handshakes) == (wanted != "clear")
            assert sink.connections <= 2


def test_what_is_asked_for_and_told(desk: Desk) -> None:
    with desk.sink() as sink:
        outcome = sent(desk.sender(sink, TLS="required", TLS_Verify="host"))
        assert sink.handshakes == ["localhost"]
        assert outcome.tls.startswith("TLSv1.3 TLS_")
        words = [line.split(b" ")[0].split(b":")[0] for line in sink.lines[0]]
        assert words == [b"EHLO", b"STARTTLS", b"EHLO", b"MAIL", b"RCPT", b"DATA"]


@pytest.mark.parametrize("answer", [GARBAGE, CUT, SILENT])
def test_a_handshake_that_comes_to_nothing_says_why(desk: Desk, answer: Answer) -> None:
    with desk.sink(script={"HANDSHAKE": [answer]}) as sink:
        with pytest.raises(NoHopReachable) as caught:
            sent(desk.sender(sink, TLS="required", EHLO_Timeout=1))
        assert caught.value.stage == Stage.TLS_HANDSHAKE
        text = str(caught.value)
        assert text.startswith(f"{FAILED}: localhost[127.0.0.1]:{sink.port} ")
        assert ("took too long" in text) == (answer == SILENT)


def test_a_hop_that_stalls_at_starttls_is_left_in_time(desk: Desk) -> None:
    with desk.sink(script={"STARTTLS": [SILENT]}) as sink, pytest.raises(NoHopReachable) as caught:
        sent(desk.sender(sink, TLS="required", EHLO_Timeout=1))
    assert str(caught.value).startswith("450 4.4.1 [internal] Connection Timed Out")
    assert caught.value.stage == Stage.DURING_STARTTLS


def test_a_flood_of_tickets_is_not_read_for_ever(desk: Desk) -> None:
    """TLS's own messages are read before there is content; whoever sends them without a pause would stop the hub."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(desk.folder / f"{GOOD}.pem")
    context.num_tickets = 255
    with Sink(tls=context) as sink, pytest.raises(NoHopReachable, match="nothing but TLS's own messages"):
        sent(desk.sender(sink, TLS="required"))
    context.num_tickets = 20
    with Sink(tls=context) as sink:
        assert sent(desk.sender(sink, TLS="required")).code == 250


def test_replies_put_in_before_the_handshake_are_forgotten(desk: Desk) -> None:
    script: dict[str, list[Answer]] = {"STARTTLS": [b"220 go\r\n250-evil\r\n250 CHUNKING\r\n"]}
    with desk.sink(script=script) as sink:
        assert sent(desk.sender(sink, TLS="required", TLS_Verify="host")).code == 250
        assert b"DATA" in sink.lines[0]


def test_extensions_of_before_tls_count_no_more(desk: Desk) -> None:
    with desk.sink(extensions=("SIZE 5", "DSN"), secure_extensions=()) as sink:
        assert sent(desk.sender(sink, TLS="required"), ret="FULL").code == 250
        assert sink.messages[0].mail == b"MAIL FROM:<from@example.net>"


def test_connections_under_tls_are_kept_and_large_bodies_arrive_whole(desk: Desk, tmp_path: Path) -> None:
    file = tmp_path / "body"
    body = b".dots\r\n" * 100_000
    file.write_bytes(body)
    with desk.sink() as sink:
        sender = desk.sender(sink, TLS="required", TLS_Verify="host")
        assert sent(sender).code == 250
        assert codes(sender.send(envelope("a@example.org"), StoredBody(len(body), None, str(file)))) == [250]
        assert sent(sender).tls.endswith("verified")
        assert sink.connections == 1
        assert sink.messages[1].body == body


def test_who_asks_for_more_gets_no_kept_connection_that_is_less(desk: Desk) -> None:
    with desk.sink(UNKNOWN) as sink:
        lax = desk.sender(sink, TLS="required")
        assert sent(lax).code == 250
        strict = desk.sender(sink, TLS="required", TLS_Verify="host")
        strict.tools.connections._idle.update(lax.tools.connections._idle)
        with pytest.raises(NoHopReachable, match="certificate"):
            sent(strict)
        assert len(sink.messages) == 1


def test_our_own_certificate_is_shown(desk: Desk) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(desk.folder / "good.pem")
    server.load_verify_locations(desk.ca)
    server.verify_mode = ssl.CERT_REQUIRED
    with Sink(tls=server) as sink:
        with pytest.raises(NoHopReachable, match=r"450 4\.7\.5"):
            sent(desk.sender(sink, TLS="required"))
        mine = str(desk.folder / "client.pem")
        assert sent(desk.sender(sink, TLS="required", TLS_Certificate=mine)).code == 250


@pytest.mark.parametrize(
    ("server_side", "settings", "ok"),
    [
        (ssl.TLSVersion.TLSv1_2, {"TLS_Protocols": "+TLSv1.3"}, False),
        (ssl.TLSVersion.TLSv1_2, {"TLS_Protocols": "+TLSv1.2:+TLSv1.3"}, True),
        (ssl.TLSVersion.TLSv1_2, {"TLS_Ciphers": "AES128-SHA"}, False),
        (ssl.TLSVersion.TLSv1_2, {"TLS_Ciphers": "ECDHE-ECDSA-AES256-GCM-SHA384"}, True),
    ],
)
def test_protocols_and_ciphers(desk: Desk, server_side: ssl.TLSVersion, settings: Settings, ok: bool) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(desk.folder / "good.pem")
    server.maximum_version = server_side
    with Sink(tls=server) as sink:
        sender = desk.sender(sink, TLS="required", **settings)
        if ok:
            assert sent(sender).tls.startswith("TLSv1.2 ECDHE-ECDSA-")
        else:
            with pytest.raises(NoHopReachable, match=r"450 4\.7\.5"):
                sent(sender)


# --- REQUIRETLS ---------------------------------------------------------------------------------------

WITH = ("REQUIRETLS",)


def test_a_message_that_requires_tls_goes_where_it_is_kept_whatever_the_options_say(desk: Desk) -> None:
    with desk.sink(secure_extensions=WITH) as sink:
        outcome = sent(desk.sender(sink, TLS="no"), requires_tls=True)
        assert (outcome.code, outcome.tls.rpartition(" ")[2]) == (250, "verified")
        assert sink.messages[0].mail == b"MAIL FROM:<from@example.net> REQUIRETLS"


@pytest.mark.parametrize(
    ("kind", "offered"), [(GOOD, EXTENSIONS), (WRONG, WITH), (UNKNOWN, WITH), (EXPIRED, WITH), (NOT_OFFERED, WITH)]
)
def test_and_nowhere_else(desk: Desk, kind: str, offered: tuple[str, ...]) -> None:
    with desk.sink(GOOD if kind == NOT_OFFERED else kind, extensions=offered) as sink:
        if kind == NOT_OFFERED:
            sink.tls = None
        sender = desk.sender(sink, TLS="ifavailable", TLS_Verify="optional")
        with pytest.raises(DeliveryError, match=r"^550 5\.7\.30 \[internal\] REQUIRETLS support required: ") as caught:
            sent(sender, requires_tls=True)
        assert not caught.value.temporary
        assert sink.messages == []


def test_a_hop_that_is_not_there_now_may_take_it_later(desk: Desk) -> None:
    sender = Sender({"Gateway": f"localhost:{free_port()}", "TLS_CA": desk.ca})
    with pytest.raises(NoHopReachable, match="Connection refused") as caught:
        sent(sender, requires_tls=True)
    assert caught.value.temporary


# --- files that are no good stop the load --------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"TLS_CA": "/nowhere/ca.pem"}, r"TLS_CA: can't read /nowhere/ca\.pem: No such file or directory"),
        ({"TLS_CA": "{folder}/junk.pem"}, r"TLS_CA: .*/junk\.pem holds no certificate in PEM form"),
        ({"TLS_Certificate": "{folder}/junk.pem"}, r"TLS_Certificate: .*/junk\.pem holds no certificate in PEM form"),
        ({"TLS_Certificate": "{folder}/ca.pem"}, r"TLS_Certificate: .* holds no key, and TLS_Key is not set"),
        (
            {"TLS_Certificate": "{folder}/client.pem", "TLS_Key": "{folder}/good.pem"},
            r"TLS_Key: .*good\.pem is not the key of .*client\.pem",
        ),
        ({"TLS": "required", "TLS_Ciphers": "NOTHING"}, r"TLS_Ciphers: 'NOTHING': no cipher matches"),
    ],
)
def test_what_cannot_be_used_is_told_at_load(desk: Desk, settings: dict[str, str], problem: str) -> None:
    (desk.folder / "junk.pem").write_text("junk")
    filled: Settings = {name: value.format(folder=desk.folder) for name, value in settings.items()}
    with pytest.raises(ConfigError, match=problem):
        prepare(configuration({"example.org": filled}))


def test_settings_that_say_the_same_share_their_context(desk: Desk) -> None:
    settings: Settings = {"TLS": "required", "TLS_Verify": "ca", "TLS_CA": desk.ca}
    made = prepare(configuration({"a.example": settings, "b.example": settings}))
    assert len(made._made) == 1
