"""Header sections: split and put together they are the same bytes, whatever a client wrote."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gsmtp.policy.headers import Headers, decoded, split_head

names = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=":"), min_size=1, max_size=12)
values = st.binary(max_size=60).map(lambda data: data.replace(b"\r", b" ").replace(b"\n", b"\r\n\t"))
fields = st.tuples(names, st.sampled_from([b":", b": ", b" :", b"\t:  "]), values)


def _section(parts: list[tuple[str, bytes, bytes]]) -> bytes:
    return b"".join(name.encode() + colon + value + b"\r\n" for name, colon, value in parts) + b"\r\n"


@given(st.lists(fields, min_size=1, max_size=6), st.binary(max_size=50))
def test_an_added_and_removed_field_leaves_all_bytes(parts: list[tuple[str, bytes, bytes]], body: bytes) -> None:
    section = _section(parts)
    assert split_head(section + body) == len(section)
    headers = Headers(section)
    assert [name.lower() for name in headers] == [name.lower() for name, _, _ in parts]
    headers.add("X-gsmtp-New-Field", "x")
    assert headers.section() == section[:-2] + b"X-gsmtp-New-Field: x\r\n\r\n"
    headers.remove("x-GSMTP-new-field")
    assert headers.is_edited
    assert headers.section() == section


@given(st.lists(fields, min_size=1, max_size=6), names)
def test_removing_takes_the_fields_of_that_name_and_no_others(parts: list[tuple[str, bytes, bytes]], name: str) -> None:
    headers = Headers(_section(parts))
    removed = headers.remove(name)
    kept = [part for part in parts if part[0].lower() != name.lower()]
    assert removed == len(parts) - len(kept)
    assert headers.section() == _section(kept)


@given(st.binary(max_size=200))
def test_any_bytes_decode(data: bytes) -> None:
    assert isinstance(decoded(data), str)


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=300))
def test_what_is_written_is_read(text: str) -> None:
    headers = Headers(b"\r\n")
    headers.add("X-Text", text)
    assert max(map(len, headers.section().split(b"\r\n"))) <= max(78, *(len(word) + 10 for word in text.split(" ")))
    got = Headers(headers.section()).get("x-text")
    assert got.split() == text.split()
