"""What a call of a hook is given beside its message: the connection, and the contexts with the verdict so far.

Both are made for one call. In a native thread they are copies: what a hook sets counts when it returns in time, and
what needs the session itself raises.

Source: reference/policy-and-context.md sections 2 and 3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from gsmtp.policy.verdict import Accept, Discard, Disconnect, Reject, Tarpit, TempFail, Verdict

if TYPE_CHECKING:
    from gsmtp.config.view import View
    from gsmtp.core.envelope import Recipient
    from gsmtp.policy.context import Context
    from gsmtp.policy.message import Recipients
    from gsmtp.smtp.session import Session

PATHWAY = "pathway"

_V = TypeVar("_V", Accept, Reject, TempFail, Disconnect, Discard, Tarpit)


class Around(Protocol):
    """What a context needs of the server around it."""

    def change_pathway(self, name: str) -> None:
        """Take the options of another pathway from now on. Raises ValueError when there is none of that name."""

    def session_count(self, network: str, endpoint: str) -> int:
        """Sessions that are open now, from a network ("" for any) and on a Listen ("" for any)."""


@dataclass(frozen=True, slots=True)
class AuthResult:
    """How a login ended.

    Args:
        mechanism: in upper case.
        user: as claimed.
        status: ``"pass"``, ``"fail"`` or ``"error"``.
    """

    mechanism: str
    user: str
    status: str


def as_text(value: object) -> str:
    """What a context keeps of a value: always text."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).decode("utf-8", "replace")
    return "" if value is None else str(value)


class Variables(MutableMapping[str, str]):
    """A context: text to text. Other values are converted when they are set; ``#`` keys are internal.

    Args:
        values: what it shows and changes.
        change_pathway: told when the key ``pathway`` is set.
    """

    __slots__ = ("_change_pathway", "values_")

    def __init__(self, values: dict[str, str], change_pathway: Callable[[str], None] | None = None) -> None:
        self.values_ = values
        self._change_pathway = change_pathway

    def __getitem__(self, key: str) -> str:
        return self.values_[key]

    def __setitem__(self, key: str, value: object) -> None:
        text = as_text(value)
        if key == PATHWAY and self._change_pathway is not None:
            self._change_pathway(text)
        self.values_[as_text(key)] = text

    def __delitem__(self, key: str) -> None:
        del self.values_[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_)

    def __len__(self) -> int:
        return len(self.values_)

    def __repr__(self) -> str:
        return repr(self.values_)


class Conn:
    """The connection.

    Args:
        context: of the session.
        is_detached: whether the call runs in a native thread.
    """

    __slots__ = ("_context", "_is_detached")

    def __init__(self, context: Context, *, is_detached: bool = False) -> None:
        self._context = context
        self._is_detached = is_detached

    @property
    def id(self) -> str:
        """The connection's id, as in logs."""
        return self._context.facts.connection_id

    @property
    def client_ip(self) -> str:
        """The client's address, "" on a Unix socket."""
        return self._context.facts.client_ip

    @property
    def client_port(self) -> int:
        """The client's port."""
        return self._context.facts.client_port

    @property
    def local_ip(self) -> str:
        """The address that the client connected to."""
        return self._context.facts.local_ip

    @property
    def local_port(self) -> int:
        """The port that the client connected to."""
        return self._context.facts.local_port

    @property
    def endpoint(self) -> str:
        """Name of the Listen stanza."""
        return self._context.facts.endpoint

    @property
    def pathway(self) -> str:
        """Name of the pathway in force."""
        return self._context.view.pathway

    @property
    def helo(self) -> str:
        """What the client called itself, "" before it did."""
        return self._session.helo

    @property
    def is_esmtp(self) -> bool:
        """Whether it said EHLO."""
        return self._session.esmtp

    @property
    def tls_cipher(self) -> str:
        """The suite, "" without TLS."""
        return self._session.tls_cipher

    @property
    def auth_user(self) -> str:
        """Who is logged in, "" for nobody."""
        return self._session.auth_user

    @property
    def can_relay(self) -> bool:
        """Whether it may send to any domain."""
        return self._context.can_relay

    @property
    def is_early_talker(self) -> bool:
        """Whether it spoke before its turn (RFC 2920 section 3.1)."""
        return self._session.is_early_talker

    @property
    def sent_early(self) -> bool:
        """Whether bytes of the client are here that nobody asked for: in `connect`, that it talks before the banner."""
        return self._session.pending_bytes > 0

    @property
    def bad_commands(self) -> int:
        """Commands that were refused for their syntax so far."""
        return self._session.bad_commands

    @property
    def unrecognized_commands(self) -> int:
        """Lines so far that were no command."""
        return self._session.unrecognized_commands

    @property
    def messages(self) -> int:
        """Messages accepted on this connection so far."""
        return self._session.messages

    @property
    def view(self) -> View:
        """The effective options for this client, ``view[OPTION]``."""
        return self._context.view

    def capability_add(self, name: str) -> None:
        """Offer an extension from the next EHLO on. Raises RuntimeError in a native thread."""
        self._attached().change_offer(add=(name.upper(),))

    def capability_remove(self, name: str) -> None:
        """Don't offer an extension from the next EHLO on. Raises RuntimeError in a native thread."""
        self._attached().change_offer(remove=(name.upper(),))

    def change_banner(self, *lines: str) -> None:
        """Say other lines in the banner; an empty last one stands for the usual banner. In `connect` and `banner`.

        Raises:
            RuntimeError: in a native thread.
            ValueError: a line holds control characters.
        """
        if any(not line.isprintable() for line in lines):
            raise ValueError("a banner holds no control characters")
        self._attached().banner = lines

    def session_count(self, network: str = "", endpoint: str = "") -> int:
        """Sessions that are open now, this one included.

        Args:
            network: an address or CIDR block that their clients come from, "" for any.
            endpoint: name of their Listen, "" for any.

        Raises:
            RuntimeError: in a native thread.
            ValueError: the network is none.
        """
        self._attached()
        around = self._context.around
        return around.session_count(network, endpoint) if around is not None else 1

    @property
    def _session(self) -> Session:
        return self._context.session

    def _attached(self) -> Session:
        if self._is_detached:
            raise RuntimeError("a hook in a native thread can't touch the session")
        return self._context.session


class Ctx:
    """Both contexts, and the verdicts as methods: each notes its verdict, and returns it for `return`.

    The first verdict of a phase wins. A verdict that is noted and not returned lets the next hooks run all the same;
    one that is returned, and `accept`, ends the phase.

    Args:
        conn: connection variables.
        mess: message variables.
        recipients: of the transaction, None outside of one.

    Attributes:
        noted: verdicts in the order in which they were noted.
    """

    __slots__ = ("_recipients", "conn", "mess", "noted")

    def __init__(self, conn: Variables, mess: Variables, recipients: Recipients | None = None) -> None:
        self.conn = conn
        self.mess = mess
        self._recipients = recipients
        self.noted: list[Verdict] = []

    # --- verdicts

    def accept(self) -> Accept:
        """End the phase well."""
        return self._note(Accept())

    def reject(self, code: int = 550, text: str = "5.7.1 refused by policy", reason: str = "") -> Reject:
        """Refuse. Raises ValueError for a code that is none of a refusal."""
        return self._note(Reject(code, text, reason))

    def tempfail(self, text: str = "4.7.1 try again later", code: int = 451, reason: str = "") -> TempFail:
        """Refuse for now. Raises ValueError for a code that isn't 4xx."""
        return self._note(TempFail(text, code, reason))

    def disconnect(self, code: int = 421, text: str = "4.7.1 closing connection", reason: str = "") -> Disconnect:
        """Refuse and close. Raises ValueError for a code that is none of a refusal."""
        return self._note(Disconnect(code, text, reason))

    def discard(self, reason: str = "550 5.7.0 discarded by policy") -> Discard:
        """Say yes and forget. Raises ValueError when the reason doesn't begin with a code."""
        return self._note(Discard(reason))

    def tarpit(self, seconds: float) -> Tarpit:
        """Hold the answer back. Raises ValueError for more than an hour."""
        return self._note(Tarpit(seconds))

    def _note(self, verdict: _V) -> _V:
        self.noted.append(verdict)
        return verdict

    # --- recipients

    @property
    def recipients(self) -> Recipients:
        """The recipients of the transaction. Raises RuntimeError outside of one."""
        if self._recipients is None:
            raise RuntimeError("there is no transaction")
        return self._recipients

    def add_recipient(self, address: str) -> Recipient:
        """Add a recipient. Raises RuntimeError after rcptto_list, ValueError for no address."""
        return self.recipients.add(address)

    def remove_recipient(self, address: str) -> bool:
        """Remove a recipient; whether it was there. Raises RuntimeError after rcptto_list."""
        return self.recipients.remove(address)
