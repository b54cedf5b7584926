"""pipe_transport: gives messages to a program while they are received; its exit status decides the reply.

The program reads the message, as it would be spooled, from standard input, and finds the envelope in its environment:
``SENDER``, ``RECIPIENTS`` (one a line), ``RECIPIENT`` (the first), ``MESSAGE_ID``, ``SIZE``, ``CLIENT_ADDRESS``,
``CLIENT_HELO``, ``AUTH_USER``. It is run once a message, for those recipients whose domain the stanza names; when it
ends well they are done with, and recipients of other domains go their usual way. When it fails, all of the message is
refused. No shell is involved, and at its deadline it is killed with all that it has started.

Source: reference/policy-and-context.md section 4 (pipe_transport).
"""

from __future__ import annotations

import logging
import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gsmtp.api import Conn, Ctx, Hook, Message, Reject, TempFail, Verdict, deadline
from gsmtp.config import kinds
from gsmtp.config.diagnostics import Problems
from gsmtp.config.kinds import Kind
from gsmtp.config.module import declare_module
from gsmtp.config.option import Option, declare
from gsmtp.config.tree import Scope, Setting, Value
from gsmtp.core.domains import DomainPatterns
from gsmtp.policy.module import Building, policy_module
from gsmtp.spool.base import StoredBody

if TYPE_CHECKING:
    from gsmtp.runtime.programs import Programs

log = logging.getLogger("gsmtp.pipe_transport")

_SCOPES = ("pipe_transport",)
_SOURCE = "Momentum: pipe_transport module"

ENABLED = declare_module(
    "pipe_transport",
    "Gives mail of its domains to a program during reception.",
    needs={"program_name": 'program_name = "/path/to/program"', "domain": 'domain = ( "example.com" )'},
)


def _examine_program(value: str, setting: Setting, scope: Scope, problems: Problems) -> None:
    try:
        words = shlex.split(value)
    except ValueError as error:
        problems.error(setting.value.span, f"the program can't be read: {error}", code="bad-value")
        return
    if not words or not words[0].startswith("/"):
        problems.error(
            setting.value.span,
            f"value '{value}' is not valid for option '{setting.spelled}': expected the whole path of a program",
            hint="arguments may follow; blanks in them are quoted as for a shell, which is not used",
            code="bad-value",
        )


PROGRAM_NAME: Option[str] = declare(
    Option(
        name="Program_Name",
        kind=kinds.line,
        default="",
        scopes=_SCOPES,
        doc="The program, by its whole path; arguments may follow.",
        source=_SOURCE,
        examine=_examine_program,
    )
)

DOMAIN: Option[DomainPatterns] = declare(
    Option(
        name="Domain",
        kind=kinds.domain_patterns,
        default=DomainPatterns(),
        scopes=_SCOPES,
        doc="Domains whose mail is given to the program, in the patterns of Relay_Domains.",
        source=_SOURCE,
    )
)


def _codes(value: Value) -> dict[int, str]:
    codes: dict[int, str] = {}
    for key, text in kinds.dictionary.parse(value).items():
        if not re.fullmatch(r"[0-9]{1,3}", key) or int(key) > 255:
            raise ValueError(f"'{key}' is no exit status: expected 0 to 255")
        if not re.fullmatch(r"[245][0-9]{2}( [^\x00-\x1f\x7f]+)?", text):
            raise ValueError(f"'{text}' is no reply: expected a code and a text, such as \"450 try again later\"")
        codes[int(key)] = text
    return codes


PIPE_CODE: Option[dict[int, str]] = declare(
    Option(
        name="Code",
        kind=Kind("dictionary of replies", _codes, 'exit statuses and replies: [ 100 = "550 command failed" ]'),
        default={},
        scopes=_SCOPES,
        doc="The reply for each exit status. Without one, 0 is success and all others are refused with ``504 5.5.0 "
        "pipe transport gave exit status N``. A 250 always says the usual text with the message's id.",
        source=_SOURCE,
    )
)


def _file(name: str, what: str) -> Option[str]:
    return declare(
        Option(
            name=name,
            kind=kinds.path,
            default=os.devnull,
            scopes=_SCOPES,
            doc=f"The file that the program's {what} is added to.",
            source=_SOURCE,
        )
    )


OUTPUT_FILE = _file("Output_File", "standard output")
ERROR_FILE = _file("Error_File", "standard error")

TIMEOUT: Option[int] = declare(
    Option(
        name="Timeout",
        kind=kinds.integer_between(1),
        default=60,
        scopes=_SCOPES,
        unit="seconds",
        doc="How long the program may take; then it is killed, and the message refused with a 451.",
        source="gsmtp",
        ours=True,
    )
)


@dataclass(frozen=True, slots=True)
class _Pieces:
    """The message in pieces, for a native thread: the header section as it is now, and the rest as it came."""

    head: bytes
    skip: int
    stored: StoredBody

    def __iter__(self) -> Iterator[bytes]:
        yield self.head
        skip = self.skip
        for piece in self.stored.pieces():
            yield piece[skip:] if skip < len(piece) else b""
            skip = max(0, skip - len(piece))


class PipeTransport(Hook):
    """Runs one stanza's program.

    Args:
        words: the program and its arguments.
        domains: whose mail it gets.
        codes: replies by exit status.
        timeout_s: how long it may take.
        files: for standard output and standard error.
    """

    name = "pipe_transport"

    def __init__(
        self,
        words: Sequence[str],
        domains: DomainPatterns,
        codes: Mapping[int, str],
        timeout_s: float,
        files: tuple[str, str],
    ) -> None:
        from gsmtp.runtime.programs import Programs

        self._words = words
        self._domains = domains
        self._codes = codes
        self._timeout_s = timeout_s
        self._files = files
        self._programs: Programs = Programs("pipe_transport")

    def deinit(self) -> bool:
        """Let the threads end."""
        self._programs.close()
        return True

    @deadline(0)
    def data_spool(self, conn: Conn, ctx: Ctx, message: Message) -> Verdict | None:
        """Run the program when a recipient is its."""
        mine = [one for one in message.recipients if not one.drop and self._domains.matches(one.domain)]
        if not mine:
            return None
        pieces = _Pieces(message.head, message.head_bytes, message.text.stored())
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "SENDER": message.sender,
            "RECIPIENT": mine[0].address,
            "RECIPIENTS": "\n".join(one.address for one in mine),
            "MESSAGE_ID": message.id,
            "SIZE": str(message.size),
            "CLIENT_ADDRESS": conn.client_ip,
            "CLIENT_HELO": conn.helo,
            "AUTH_USER": conn.auth_user,
        }
        ended = self._programs.run(
            self._words, pieces, environment, self._timeout_s, output=self._files[0], errors=self._files[1]
        )
        if ended.status < 0:
            log.error("%s: %s", message.id, ended.reason)
            return TempFail("4.3.0 pipe transport failed", reason=ended.reason)
        refusal = self._refusal(ended.status)
        if refusal is None:
            for recipient in mine:
                recipient.drop = True
            log.info("%s is given to %s for %d recipients", message.id, self._words[0], len(mine))
        return refusal

    def _refusal(self, status: int) -> Verdict | None:
        reply = self._codes.get(status)
        if reply is None:
            return None if status == 0 else Reject(504, f"5.5.0 pipe transport gave exit status {status}")
        code, _, text = reply.partition(" ")
        return None if code[0] == "2" else Reject(int(code), text or f"{code[0]}.5.0 pipe transport failed")


@policy_module("pipe_transport")
def build(building: Building) -> Hook | None:
    """The hook of a stanza, unless it is switched off."""
    view: Any = building.view
    if not view[ENABLED]:
        return None
    return PipeTransport(
        shlex.split(view[PROGRAM_NAME]),
        view[DOMAIN],
        view[PIPE_CODE],
        view[TIMEOUT],
        (view[OUTPUT_FILE], view[ERROR_FILE]),
    )
