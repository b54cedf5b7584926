"""The options of message format: what a message must look like, what is mended, what is added (RFC 5322).

Source: reference/esmtp-listener.md section 10.
"""

from __future__ import annotations

from gsmtp.config import kinds
from gsmtp.config.option import MESSAGE, Option, declare

DEFAULT_CHARSET: Option[str] = declare(
    Option(
        name="Default_Charset",
        kind=kinds.word,
        default="us-ascii",
        scopes=MESSAGE,
        doc="Character set assumed for 8-bit text that names none. For hooks; a message is never changed by it.",
        source="Momentum: default_charset",
        unserved="nothing asks for the character set of a message yet",
    )
)

RFC2822_LONE_LF_IN_HEADERS: Option[str] = declare(
    Option(
        name="RFC2822_Lone_LF_In_Headers",
        kind=kinds.enumeration("pedantic", "fix"),
        default="pedantic",
        scopes=MESSAGE,
        doc="A CR or LF that stands alone in the header section: ``pedantic`` refuses the message (550 5.6.0), ``fix`` "
        "makes it CR LF.",
        source="RFC 5322 section 2.2",
    )
)

RFC2822_LONE_LF_IN_BODY: Option[str] = declare(
    Option(
        name="RFC2822_Lone_LF_In_Body",
        kind=kinds.enumeration("ignore", "pedantic", "fix"),
        default="pedantic",
        scopes=MESSAGE,
        doc="A CR or LF that stands alone in the body: ``pedantic`` refuses the message (550 5.6.0), ``fix`` makes it "
        "CR LF, ``ignore`` keeps it as sent. Momentum's default is ignore; ours refuses, because the next server may "
        "take such a line end for the end of the message (SMTP smuggling).",
        source="RFC 5321 section 2.3.8",
    )
)

RFC2822_MAX_LINE_LENGTH: Option[str | int] = declare(
    Option(
        name="RFC2822_Max_Line_Length",
        kind=kinds.words_or_integer(("ignore", "pedantic", "fix"), 1),
        default="ignore",
        scopes=MESSAGE,
        unit="octets",
        doc="Lines longer than 998 octets: ``pedantic`` refuses the message, ``fix`` breaks them, ``ignore`` keeps "
        "them. A number is the limit itself; RFC2822_Max_Line_Length_Policy then says what is done.",
        source="RFC 5322 section 2.1.1",
    )
)

RFC2822_MAX_LINE_LENGTH_POLICY: Option[str] = declare(
    Option(
        name="RFC2822_Max_Line_Length_Policy",
        kind=kinds.enumeration("none", "fix", "reject"),
        default="none",
        scopes=MESSAGE,
        doc="What is done with lines over the limit: nothing, broken, or the message refused.",
        source="RFC 5322 section 2.1.1",
    )
)

RFC2822_DATE_HEADER: Option[str] = declare(
    Option(
        name="RFC2822_Date_Header",
        kind=kinds.enumeration("ifneeded", "pedantic", "ignore"),
        default="ifneeded",
        scopes=MESSAGE,
        doc="A missing Date field is added (``ifneeded``), refused with 550 5.6.0 (``pedantic``) or left so.",
        source="RFC 5322 section 3.6",
    )
)

RFC2822_MESSAGEID_HEADER: Option[str] = declare(
    Option(
        name="RFC2822_MessageID_Header",
        kind=kinds.enumeration("ifneeded", "ignore"),
        default="ifneeded",
        scopes=MESSAGE,
        doc="A missing Message-ID field is added (``ifneeded``) or left so.",
        source="RFC 5322 section 3.6.4",
    )
)

RFC2822_MISSING_HEADERS: Option[str] = declare(
    Option(
        name="RFC2822_Missing_Headers",
        kind=kinds.enumeration("reject", "allow"),
        default="reject",
        scopes=MESSAGE,
        doc="A message without a header section is refused with 550 5.6.0, or taken as all body.",
        source="RFC 5322 section 3.6",
    )
)

RFC2822_TRACE_HEADERS: Option[bool] = declare(
    Option(
        name="RFC2822_Trace_Headers",
        kind=kinds.boolean,
        default=True,
        scopes=MESSAGE,
        doc="Whether Return-Path is set (an old one replaced) and a Received field is put in front.",
        source="RFC 5321 section 4.4",
    )
)
