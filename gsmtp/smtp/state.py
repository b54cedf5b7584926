"""When a command may come: the states between commands, and for each verb where it leads from each of them.

A row says for each state either the state that follows *if the answer is positive* (it moves when the driver gives the
reply, so policy can refuse without the machine knowing why) or the reply that says no. Extensions bring rows of their
own with their verbs.

Source: RFC 5321 sections 3 and 4.1.4; reference/esmtp-listener.md section 14 for the texts.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum, auto
from typing import Final

from gsmtp.core.reply import (
    BAD_SEQUENCE,
    DATA_WITHOUT_MAIL,
    DATA_WITHOUT_RCPT,
    MAIL_ALREADY,
    RCPT_WITHOUT_MAIL,
    Reply,
)


class State(IntEnum):
    """What was accepted so far, while no message text is being read.

    START: no greeting. GREETED: EHLO or HELO. MAIL: a sender. RCPT: at least one recipient. CHUNKS: at least one BDAT,
    and not the last (RFC 3030). CHUNKS_FAILED: one of them was refused, the rest is thrown away.
    BASE is where a transaction ends: GREETED, or START when the client never greeted.
    """

    START = auto()
    GREETED = auto()
    MAIL = auto()
    RCPT = auto()
    CHUNKS = auto()
    CHUNKS_FAILED = auto()
    BASE = auto()


Row = Mapping[State, State | Reply]

REAL_STATES: Final = tuple(state for state in State if state is not State.BASE)


def everywhere(target: State) -> Row:
    """The row of a verb that may come at any time and always leads to `target`."""
    return dict.fromkeys(REAL_STATES, target)


def stays() -> Row:
    """The row of a verb that may come at any time and changes nothing."""
    return {state: state for state in REAL_STATES}


GREETING_ROW: Final[Row] = everywhere(State.GREETED)
RESET_ROW: Final[Row] = everywhere(State.BASE)

MAIL_ROW: Final[Row] = {
    State.START: State.MAIL,
    State.GREETED: State.MAIL,
    State.MAIL: MAIL_ALREADY,
    State.RCPT: MAIL_ALREADY,
    State.CHUNKS: MAIL_ALREADY,
    State.CHUNKS_FAILED: MAIL_ALREADY,
}

RCPT_ROW: Final[Row] = {
    State.START: RCPT_WITHOUT_MAIL,
    State.GREETED: RCPT_WITHOUT_MAIL,
    State.MAIL: State.RCPT,
    State.RCPT: State.RCPT,
    State.CHUNKS: BAD_SEQUENCE,
    State.CHUNKS_FAILED: BAD_SEQUENCE,
}

DATA_ROW: Final[Row] = {
    State.START: DATA_WITHOUT_MAIL,
    State.GREETED: DATA_WITHOUT_MAIL,
    State.MAIL: DATA_WITHOUT_RCPT,
    State.RCPT: State.BASE,
    State.CHUNKS: BAD_SEQUENCE,
    State.CHUNKS_FAILED: BAD_SEQUENCE,
}

BDAT_ROW: Final[Row] = {
    State.START: DATA_WITHOUT_MAIL,
    State.GREETED: DATA_WITHOUT_MAIL,
    State.MAIL: DATA_WITHOUT_RCPT,
    State.RCPT: State.CHUNKS,
    State.CHUNKS: State.CHUNKS,
    State.CHUNKS_FAILED: BAD_SEQUENCE,
}
