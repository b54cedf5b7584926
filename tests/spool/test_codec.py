"""What is written of an envelope is JSON, and the same envelope comes back, whatever bytes a client put into it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsmtp.core.envelope import Envelope, Recipient
from gsmtp.core.errors import SpoolUnhealthy
from gsmtp.spool.codec import decode_envelope, encode_envelope

# any text, lone surrogates (a client's bytes that were not UTF-8) too
texts = st.text(st.characters(codec=None), max_size=20)
recipients = st.builds(
    Recipient,
    address=texts,
    domain=texts,
    original=texts,
    notify=st.lists(st.sampled_from(["NEVER", "SUCCESS", "FAILURE", "DELAY"]), max_size=3).map(tuple),
    orcpt=texts,
    drop=st.booleans(),
    failure=texts,
    binding=texts,
)
envelopes = st.builds(
    Envelope,
    message_id=st.just("00/00-00001-00000001"),
    connection_id=texts,
    reverse_path=texts,
    recipients=st.lists(recipients, min_size=1, max_size=4),
    received_wall=st.floats(0, 2**33),
    size_bytes=st.just(12),
    client_address=texts,
    helo=texts,
    protocol=st.sampled_from(["SMTP", "ESMTP", "ESMTPSA"]),
    body=st.sampled_from(["7BIT", "8BITMIME", "BINARYMIME"]),
    smtputf8=st.booleans(),
    ret=st.sampled_from(["", "FULL", "HDRS"]),
    envid=texts,
    conn=st.dictionaries(texts, texts, max_size=3),
    mess=st.dictionaries(texts, texts, max_size=3),
)


@given(envelopes)
def test_the_same_envelope_comes_back(envelope: Envelope) -> None:
    text = encode_envelope(envelope)
    assert text.isascii()
    assert "\n" not in text
    assert json.loads(text)["v"] == 1
    assert decode_envelope(envelope.message_id, envelope.size_bytes, text) == envelope


@given(envelopes)
def test_it_is_written_as_json_would(envelope: Envelope) -> None:
    text = encode_envelope(envelope)
    assert json.dumps(json.loads(text), separators=(",", ":")) == text


@pytest.mark.parametrize("text", ["", "{", "[]", '{"v":1}', '{"v":2,"from":"","conn":"","time":0,"to":[]}'])
def test_damage_and_newer_versions_are_said(text: str) -> None:
    with pytest.raises(SpoolUnhealthy, match="00/00-00001-00000001"):
        decode_envelope("00/00-00001-00000001", 1, text)


def test_a_record_without_contexts_is_read() -> None:
    text = '{"v":1,"from":"a@b","conn":"c","time":1.5,"to":[{"addr":"x@y","dom":"y"}]}'
    envelope = decode_envelope("00/00-00001-00000001", 3, text)
    assert (envelope.conn, envelope.mess) == ({}, {})
    assert (envelope.recipients[0].failure, envelope.recipients[0].binding) == ("", "")
    assert encode_envelope(envelope) == text
