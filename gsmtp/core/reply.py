"""Replies to a client as values, and every standard text once, with its enhanced code and its source.

Momentum's reply texts carry their enhanced code whether or not ENHANCEDSTATUSCODES is offered; codes of success
replies (2.x.x) are added only when it is (reference/esmtp-listener.md sections 5 and 14).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply: a code, an enhanced code or "", and one text line or several.

    Args:
        code: 200 to 599 (RFC 5321 section 4.2).
        enhanced: e.g. ``"5.7.1"`` (RFC 3463), or "" for none.
        lines: the text without codes; no CR or LF.
        close: whether the connection is closed after it (a 421, or a 221).
    """

    code: int
    enhanced: str
    lines: tuple[str, ...]
    close: bool = False
    _plain: bytes = field(default=b"", init=False, repr=False, compare=False)
    _full: bytes = field(default=b"", init=False, repr=False, compare=False)

    def _lay_out(self, prefix: str) -> bytes:
        if len(self.lines) == 1:
            return f"{self.code} {prefix}{self.lines[0]}\r\n".encode("utf-8", "surrogateescape")
        last = len(self.lines) - 1
        return b"".join(
            f"{self.code}{' ' if number == last else '-'}{prefix}{line}\r\n".encode("utf-8", "surrogateescape")
            for number, line in enumerate(self.lines)
        )

    def wire(self, enhanced: bool) -> bytes:
        """The bytes to send; `enhanced` says whether ENHANCEDSTATUSCODES is in force. Laid out once."""
        if enhanced or self.code >= 400:
            wire = self._full
            if not wire:
                wire = self._lay_out(f"{self.enhanced} " if self.enhanced else "")
                object.__setattr__(self, "_full", wire)
            return wire
        wire = self._plain
        if not wire:
            wire = self._lay_out("")
            object.__setattr__(self, "_plain", wire)
        return wire

    @property
    def is_positive(self) -> bool:
        """Whether the client may go on (2xx and 3xx)."""
        return self.code < 400

    @property
    def text(self) -> str:
        """Enhanced code and text in one line, for logs."""
        text = " ".join(self.lines)
        return f"{self.enhanced} {text}" if self.enhanced else text

    def closing(self) -> Reply:
        """The same reply, after which the connection is closed."""
        return replace(self, close=True)

    def __str__(self) -> str:
        return f"{self.code} {self.text}"


def reply(code: int, text: str, *, close: bool = False) -> Reply:
    """Build a Reply from a code and a text whose first word may be an enhanced code.

    >>> reply(550, "5.7.1 relaying denied").enhanced
    '5.7.1'
    """
    first, _, rest = text.partition(" ")
    parts = first.split(".")
    if rest and len(parts) == 3 and all(part.isdigit() for part in parts):
        return Reply(code, first, (rest,), close)
    return Reply(code, "", (text,), close)


# Success (RFC 5321 section 4.2; texts as Momentum's samples show them).
OK = reply(250, "2.0.0 OK")
MAIL_OK = reply(250, "2.1.0 MAIL FROM accepted")
RCPT_OK = reply(250, "2.1.5 RCPT TO accepted.")
RESET_OK = reply(250, "2.0.0 OK")
START_DATA = reply(354, 'continue.  finished with "\\r\\n.\\r\\n"')
HELP = reply(214, "2.0.0 Commands: EHLO HELO MAIL RCPT DATA RSET NOOP QUIT VRFY HELP; see RFC 5321")
CANNOT_VERIFY = reply(252, "2.5.2 Cannot VRFY user, but will accept message and attempt delivery")

TLS_READY = reply(220, "2.0.0 Ready to start TLS")

# Service (421 closes: RFC 5321 section 3.8).
SHUTTING_DOWN = reply(421, "4.4.5 Service unavailable", close=True)
TOO_MANY_SESSIONS = reply(421, "4.4.5 Service unavailable, concurrency limit reached", close=True)
IDLE_TIMEOUT = reply(421, "4.4.2 idle timeout, closing connection", close=True)
TOO_MUCH_JUNK = reply(421, "4.7.0 too many errors, closing connection", close=True)
BATCH_LIMIT = reply(421, "4.5.3 Service unavailable, batch limit reached", close=True)
CONNECTION_RECIPIENT_LIMIT = reply(
    421, "4.5.3 Service unavailable, recipients per connection limit reached", close=True
)

TOO_LARGE_TO_PROCESS = reply(421, "4.3.0 message is too large to process at this time", close=True)

# Transient.
TRANSACTION_FAILED = reply(451, "4.3.0 transaction failed")
SPOOL_FULL = reply(452, "4.3.1 Insufficient system storage, try again later")
MESSAGE_RECIPIENT_LIMIT = reply(452, "4.5.3 Service unavailable, recipients per message limit reached")

TLS_UNAVAILABLE = reply(454, "4.7.0 TLS not available due to temporary reason")

# Authentication (RFC 4954 section 6; reference/esmtp-listener.md section 11.3), by `auth_status`.
AUTH_REPLIES = {
    "pass": reply(235, "2.7.0 Authentication successful"),
    "fail": reply(535, "5.7.8 Authentication credentials invalid"),
    "error": reply(454, "4.7.0 Temporary authentication failure"),
}

AUTH_CUT_OFF = reply(421, "4.7.0 too many failed logins, closing connection", close=True)
AUTH_CANCELLED = reply(501, "5.7.0 Authentication cancelled")
AUTH_NOT_BASE64 = reply(501, "5.5.2 Invalid base64")
AUTH_SYNTAX = reply(501, "5.5.4 AUTH needs a mechanism and at most an initial response")
AUTH_NO_INITIAL = reply(501, "5.7.0 this mechanism takes no initial response")
AUTH_UNKNOWN = reply(504, "5.5.4 Unrecognized authentication type")
AUTH_NO_ENCRYPTION = reply(538, "5.7.11 Encryption required for requested authentication mechanism")

# Syntax and order.
UNRECOGNIZED = reply(500, "5.5.2 unrecognized command")
LINE_TOO_LONG = reply(500, "5.5.2 line too long")
AUTH_LINE_TOO_LONG = reply(500, "5.5.6 Authentication Exchange line is too long")
BARE_LINE_FEED = reply(500, "5.5.2 command lines must end in CR LF", close=True)
MAIL_ALREADY = reply(501, "5.5.1 MAIL FROM already established")
MAIL_SYNTAX = reply(501, "5.5.2 MAIL FROM syntax error")
RCPT_SYNTAX = reply(501, "5.5.2 RCPT TO syntax error")
INVALID_EHLO = reply(501, "5.5.2 invalid EHLO")
INVALID_HELO = reply(501, "5.5.2 invalid HELO")
RSET_ARGUMENTS = reply(501, "5.5.4 invalid arguments to RSET")
DATA_ARGUMENT = reply(501, "5.5.4 unexpected argument to DATA")
BDAT_ARGUMENTS = reply(501, "5.5.4 invalid arguments to BDAT")
VRFY_ARGUMENT = reply(501, "5.5.4 VRFY needs an address")
NO_PARAMETERS = reply(501, "5.5.4 Syntax error (no parameters allowed)")
NOT_IMPLEMENTED = reply(502, "5.5.1 command not implemented")
RCPT_WITHOUT_MAIL = reply(503, "RCPT TO without MAIL FROM")
DATA_WITHOUT_MAIL = reply(503, "5.5.1 DATA without MAIL FROM")
DATA_WITHOUT_RCPT = reply(503, "5.5.1 DATA without RCPT TO")
BAD_SEQUENCE = reply(503, "5.5.1 bad sequence of commands")
AUTH_REQUIRED = reply(530, "5.7.0 Authentication required")
HELO_NEEDED = reply(550, "5.5.1 RFC2821 HELO/EHLO needed")
SMTPUTF8_NEEDED = reply(553, "5.6.7 non-ASCII addresses need SMTPUTF8")
UNKNOWN_PARAMETER = reply(555, "5.5.4 MAIL FROM/RCPT TO parameters not recognized or not implemented")

# Policy.
RELAYING_DENIED = reply(550, "5.7.1 relaying denied")
NULL_SENDER_DENIED = reply(550, "5.7.1 null sender not allowed")
BLACKHOLED = reply(551, "5.7.1 recipient blackholed")

# The message (reference/esmtp-listener.md sections 10 and 14).
TOO_BIG = reply(552, "5.3.4 message size limit exceeded")
HEADER_TOO_BIG = reply(552, "5.3.4 message header size limit exceeded")
LONE_LF_IN_HEADERS = reply(550, "5.6.0 Lone CR or LF in headers (see RFC2822 section 2.2)")
LONE_LF_IN_BODY = reply(550, "5.6.0 Lone CR or LF in body (see RFC2822 section 2.3)")
HEADER_LINE_TOO_LONG = reply(550, "5.6.0 Header line too long (see RFC2822 section 3.5)")
BODY_LINE_TOO_LONG = reply(550, "5.6.0 Body line too long (see RFC2822 section 3.5)")
NO_RECIPIENTS = reply(554, "5.5.1 no valid recipients")
MAIL_LOOP = reply(554, "5.4.6 Too many hops: the message goes round in a loop")
DATE_MISSING = reply(550, "5.6.0 Missing required RFC2822 Date field (see RFC2822 section 3.6)")
HEADERS_MISSING = reply(550, "5.6.0 Required headers not found (see RFC2822 section 3.6)")
INVALID_HEADER = reply(550, "5.6.0 Invalid header found (see RFC2822 section 3.6)")
HEADER_NOT_TERMINATED = reply(550, "5.6.0 Header not terminated by CR LF (see RFC2822 section 2.2)")
MISSING_TERMINATOR = reply(550, "5.6.0 Missing CR LF . CR LF")
