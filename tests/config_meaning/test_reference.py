"""The reference page says what the declarations say."""

from __future__ import annotations

import json
from pathlib import Path

from gsmtp.app.wiring import load
from gsmtp.config import reference
from gsmtp.config.accepted import ACCEPTED
from gsmtp.config.option import OPTIONS
from gsmtp.config.stanza import STANZAS

load()
PAGE = Path(__file__).parents[2] / "docs" / "options.md"


def test_the_page_is_fresh() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference.markdown(), "docs/options.md is stale: run `make docs`"


def test_the_page_names_everything() -> None:
    page = reference.markdown()
    names = [option.name for option in OPTIONS] + [row.name for row in ACCEPTED] + [one.word for one in STANZAS]
    assert [name for name in names if f"`{name}" not in page] == []


def test_gsmtps_own_options_stand_under_one_heading() -> None:
    page = reference.markdown()
    own = page.partition("## gsmtp's own options")[2].partition("\n## ")[0]
    for option in OPTIONS:
        assert (f"### `{option.name}`" in own) is option.ours or not option.ours


def test_a_name_is_described_wherever_it_means_something() -> None:
    text = reference.describe("concurrency")
    assert text.count("Concurrency\n") == 3
    assert "valid in: ThreadPool" in text
    assert "valid in: Control_Listener, ESMTP_Listener, Listen" in text
    assert "not served: its sockets are not opened" in text
    assert reference.describe("frobnicate") == ""


def test_data_is_plain() -> None:
    data = json.loads(json.dumps(reference.data()))
    by_name = {(one["name"], tuple(one.get("scopes", ()))): one for one in data}
    mode = by_name["File_Mode", ("control_listener", "esmtp_listener", "listen")]
    assert (mode["default"], mode["kind"], mode["takes_effect"]) == (
        "0660",
        "mode",
        "at reload, when the socket is made",
    )
    assert [one["name"] for one in reference.data("idle_time")] == ["Idle_Time", "idle_time"]
