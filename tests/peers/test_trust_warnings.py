"""What is meant for trusted peers is warned about at load where everybody gets it."""

from __future__ import annotations

import pytest

from tests.config_meaning.loading import found_in

CODES = ("trusted-extension", "trusted-proxy")


def warned(text: str) -> list[tuple[int, str]]:
    found = found_in(text)
    assert not [problem for problem in found if problem.severity == "error"], found
    return [(problem.span.line, problem.message) for problem in found if problem.code in CODES]


def test_private_extensions_for_everybody() -> None:
    text = """\
    ESMTP_Listener {
      Listen ":25" { smtp_extensions = ( DSN XCLIENT XSETCONTEXT ) }
    }
    """
    assert warned(text) == [
        (
            2,
            'XCLIENT is offered to every client of Listen ":25": it lets a client pass for any other, logged in or not',
        ),
        (
            2,
            'XSETCONTEXT is offered to every client of Listen ":25": it lets a client set any context variable, '
            "can_relay too: an open relay",
        ),
    ]


def test_a_header_that_is_believed_from_everybody() -> None:
    text = """\
    ESMTP_Listener {
      proxy_protocol = v2
      Listen ":25" { }
    }
    """
    assert warned(text) == [
        (
            2,
            'every client of Listen ":25" has to send a PROXY header and is believed: whoever reaches the socket can '
            "pass for any other",
        )
    ]


@pytest.mark.parametrize("value", ["smtp_extensions = ( XREMOTEIP )", "proxy_protocol = v1"])
def test_where_it_stands_decides(value: str) -> None:
    restricted = 'ESMTP_Listener { Listen ":25" { Peer "192.0.2.0/24" { %s } } }'
    whole_net = 'ESMTP_Listener { Listen ":25" { Peer "0.0.0.0/0" { %s } } }'
    loopback = 'ESMTP_Listener { Listen "127.0.0.1:25" { %s } Listen "/run/smtp" { %s } }'
    pathway = 'Pathway "p" { %s } ESMTP_Listener { Listen ":25" { Pathway = "p" } }'
    pathway_of_few = 'Pathway "p" { %s } ESMTP_Listener { Listen ":25" { Peer "192.0.2.1" { Pathway = "p" } } }'
    disabled = 'ESMTP_Listener { Listen ":25" { Enable = false %s } }'
    overridden = (
        'ESMTP_Listener { %s Listen ":25" { smtp_extensions = ( DSN ) proxy_protocol = none Peer "192.0.2.1" { %s } } }'
    )
    counts = {
        text: len(warned(text.replace("%s", value)))
        for text in (restricted, whole_net, loopback, pathway, disabled, overridden)
    }
    assert counts == {restricted: 0, whole_net: 1, loopback: 0, pathway: 1, disabled: 0, overridden: 0}
    assert warned(pathway_of_few.replace("%s", value)) == []


def test_extensions_for_all_are_not_warned_about() -> None:
    assert warned('ESMTP_Listener { Listen ":25" { smtp_extensions = ( DSN LIMITS REQUIRETLS MT-PRIORITY ) } }') == []
