"""The gate: a message that was confirmed and lost, one that nobody was told of, and replies that were cut off."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtest.ledger import Account, Ledger, Stored, compare, read_ledgers, read_spools
from loadtest.messages import Mix, Sample, span
from loadtest.smtp_client import SmtpClient
from tests.support.server import serving

CONF = """
hostname = "load.example.com"
spoolbase = "{folder}/spool"
relay_domains = ( "example.com" )
suspend_delivery = true
ESMTP_Listener { Listen "127.0.0.1:{port}" { } }
"""


def account() -> Account:
    return Account({"t1": "id1", "t2": "id2"}, {"t1": 1, "t2": 2, "t3": 1, "t4": 1}, {"t4"})


def test_what_was_confirmed_is_what_there_is() -> None:
    verdict = compare(account(), [Stored("id1", "t1", 1), Stored("id2", "t2", 2)])
    assert verdict.holds
    assert verdict.lines() == [
        "2 ids confirmed to clients, 2 messages in the spool",
        "1 replies cut off (the client was gone before it read one): 0 of these messages are in the spool, which is "
        "allowed",
    ]


def test_a_lost_message_is_found() -> None:
    verdict = compare(account(), [Stored("id2", "t2", 2)])
    assert verdict.problems == ["LOST (confirmed, not in the spool): 1: id1"]


def test_a_message_that_nobody_was_told_of_is_found() -> None:
    stored = [Stored("id1", "t1", 1), Stored("id2", "t2", 2), Stored("id9", "smuggled", 1)]
    verdict = compare(account(), stored)
    assert verdict.problems == ["SURPLUS (in the spool, nobody was told): 1: id9 from <smuggled@…>"]


def test_a_refused_message_that_was_kept_is_found() -> None:
    verdict = compare(account(), [Stored("id1", "t1", 1), Stored("id2", "t2", 2), Stored("id9", "t4", 1)])
    assert verdict.problems == ["SURPLUS (in the spool, nobody was told): 1: id9 from <t4@…>"]


def test_a_message_whose_reply_was_cut_off_is_explained() -> None:
    verdict = compare(account(), [Stored("id1", "t1", 1), Stored("id2", "t2", 2), Stored("id9", "t3", 1)])
    assert (verdict.holds, verdict.cut_off, verdict.kept) == (True, 1, 1)


def test_other_recipients_and_doubled_ids_are_found() -> None:
    told = Account({"t1": "id1", "t2": "id1"}, {"t1": 1, "t2": 1})
    verdict = compare(told, [Stored("id1", "t1", 3)])
    assert verdict.problems == [
        "told to two clients: 1: id1",
        "other recipients than were taken: 2: id1, id1",
    ]


def test_the_ledger_outlives_its_writer_and_a_torn_line(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "1.ledger")
    first, second, third = ledger.token(), ledger.token(), ledger.token()
    for token in (first, second, third):
        ledger.began(token, 2)
    ledger.confirmed(first, "00/01-00001-00000001")
    ledger.refused(second, 451)
    ledger.close()
    with (tmp_path / "1.ledger").open("ab") as file:
        file.write(b'{"token": "torn", "rec')
    found = read_ledgers(tmp_path)
    assert found.confirmed == {first: "00/01-00001-00000001"}
    assert found.refused == {second}
    assert found.cut_off == {third}


def test_a_real_spool_is_compared(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledgers" / "1.ledger")
    with serving(tmp_path, CONF) as server:
        client = SmtpClient("127.0.0.1", server.port)
        client.connect()
        client.ehlo()
        for recipients in (1, 3):
            addresses = [f"reader{number}@example.com" for number in range(recipients)]
            assert ledger.deliver(client, addresses, Sample("dots", 2000).wire).message_id
        client.deliver("unnoted@load.example", ["reader@example.com"], Sample("text", 1000).wire("x"))
        client.quit()
        server.stop()
        stored = read_spools(server.spool)
    told = read_ledgers(tmp_path / "ledgers")
    verdict = compare(told, stored)
    unnoted = next(one for one in stored if one.token == "unnoted")
    assert (verdict.confirmed, verdict.stored) == (2, 3)
    assert verdict.problems == [f"SURPLUS (in the spool, nobody was told): 1: {unnoted.message_id} from <unnoted@…>"]
    noted = [one for one in stored if one.token != "unnoted"]
    assert compare(told, noted).holds
    assert compare(told, noted[1:]).problems == [f"LOST (confirmed, not in the spool): 1: {noted[0].message_id}"]


def test_a_mix_names_kinds_sizes_and_weights() -> None:
    mix = Mix("text:1k*7, attachment:2m, dots:500*2")
    assert mix.samples == [Sample("text", 1024, 7), Sample("attachment", 2 * 1024**2), Sample("dots", 500, 2)]
    assert [sample.name for sample in mix.samples] == ["text 1 KiB", "attachment 2 MiB", "dots 500 B"]


@pytest.mark.parametrize("kind", ["text", "html", "dots", "eightbit", "attachment"])
def test_samples_have_their_size_and_one_end(kind: str) -> None:
    wire = Sample(kind, 20_000).wire("token")
    assert wire.startswith(b"Message-ID: <token@load.example>\r\n")
    assert wire.index(b"\r\n.\r\n") == len(wire) - 5
    assert b"\n" not in wire.replace(b"\r\n", b"")
    assert 18_000 < len(wire) < 22_500


@pytest.mark.parametrize("text", ["", "text", "poem:1k", "text:1g", "text:1k*"])
def test_a_mix_that_is_none_says_what_would_do(text: str) -> None:
    with pytest.raises(ValueError, match=r"write KIND:SIZE\*WEIGHT with KIND one of text, html"):
        Mix(text)


def test_spans() -> None:
    assert (span("3"), span("1-10")) == ((3, 3), (1, 10))
    for text in ("0", "5-2"):
        with pytest.raises(ValueError, match="no number above 0, nor a range"):
            span(text)
