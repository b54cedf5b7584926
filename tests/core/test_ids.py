"""Ids in Momentum's shape, and the spool's number in each."""

from __future__ import annotations

from gsmtp.core.ids import IdMaker, number


def test_ids_count_up_in_eight_hex_digits() -> None:
    ids = IdMaker(generation=0x012A, pid=1_234_567)
    made = [ids.next() for _ in range(0x1_0001)]
    assert made[:2] == ["01/2A-34567-00000001", "01/2A-34567-00000002"]
    assert made[0xFE:0x101] == ["01/2A-34567-000000FF", "01/2A-34567-00000100", "01/2A-34567-00000101"]
    assert made[0xFFFE:] == ["01/2A-34567-0000FFFF", "01/2A-34567-00010000", "01/2A-34567-00010001"]


def test_the_number_in_an_id_grows_with_the_opening_and_the_count() -> None:
    numbers = [number(IdMaker(generation, 1).next()) for generation in (0, 1, 0xFFFF)]
    assert numbers == [1, (1 << 32) + 1, (0xFFFF << 32) + 1]
