"""What the checker says, word for word, and where."""

from __future__ import annotations

import pytest

from tests.config_meaning.loading import found_in, messages

LISTENER = 'ESMTP_Listener { Listen ":25" { } }\n'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "ESMTP_Listener { Listen :25 { }\nMax_Recipeints_Per_Message = 50 }",
            "2:1: error: unknown option 'Max_Recipeints_Per_Message' in ESMTP_Listener "
            "[did you mean 'Max_Recipients_Per_Message'?]",
        ),
        (
            "ESMTP_Listener { Listen :25 { spoolbase = /x } }",
            "1:31: error: unknown option 'spoolbase' in Listen \":25\" [is valid in: the global scope]",
        ),
        (
            "ESMTP_Listener { Listen :25 { rfc2822_date_header = ignore } }",
            "1:31: error: unknown option 'rfc2822_date_header' in Listen \":25\" [is valid in: the global scope, "
            "Pathway, "
            'Pathway_Group; put it in a Pathway stanza and attach that here with pathway = "NAME"]',
        ),
        (
            "ESMTP_Listener { Listen :25 { }\nPeer 10.0.0.1 { relay_domains = ( example.com ) } }",
            "2:17: error: unknown option 'relay_domains' in Peer \"10.0.0.1\" [is valid in: the global scope, Pathway, "
            'Pathway_Group; put it in a Pathway stanza and attach that here with pathway = "NAME"]',
        ),
        (
            "ESMTP_Listener { Listen :25 { }\nPeer 10.0.0.1 { Listen_Backlog = 5 } }",
            "2:17: error: unknown option 'Listen_Backlog' in Peer \"10.0.0.1\" [is valid in: ESMTP_Listener, Listen, "
            "Control_Listener, eccluster_listener, ecstream_listener, http_listener, xmpp_listener]",
        ),
        ("frobnicate = 1", "1:1: error: unknown option 'frobnicate' in the global scope"),
        (
            "ESMTP_Listner { }",
            "1:1: error: unknown stanza 'ESMTP_Listner' in the global scope [did you mean 'ESMTP_Listener'?]",
        ),
        (
            'Listen ":25" { }',
            "1:1: error: stanza Listen can't stand in the global scope [is valid in: ESMTP_Listener, Control_Listener, "
            "eccluster_listener, ecstream_listener, http_listener, msgcserver_listener, xmpp_listener]",
        ),
        (
            "relay_hosts { }",
            "1:1: error: unknown stanza 'relay_hosts' in the global scope "
            "['relay_hosts' is an option: write relay_hosts = VALUE]",
        ),
        (
            "security = mail",
            "1:1: error: unknown option 'security' in the global scope "
            "[Security is a stanza: write it with braces, { … }]",
        ),
        ("ThreadPool { }", '1:1: error: stanza ThreadPool needs a name [write ThreadPool "accept-pool" { … }]'),
        ("ESMTP_Listener { Listen { } }", '1:18: error: stanza Listen needs a name [write Listen ":25" { … }]'),
        (
            "Security me { }",
            "1:1: error: stanza Security takes no name, not 'me' [write Security { … }]",
        ),
        (
            'ESMTP_Listener { Listen "localhost:25" { } }',
            "1:18: error: 'localhost:25' is not a valid name for stanza Listen: 'localhost' is a host name, an "
            "address is expected; write ':25', '127.0.0.1:25', '[*]:25', '[::1]:25' or '/path/of/a/socket'",
        ),
        (
            "ESMTP_Listener { Listen :25 { }\nPeer 10.0.0.0/33 { } }",
            "2:1: error: '10.0.0.0/33' is not a valid name for stanza Peer: '/33' is not a mask; a number from 0 to "
            "32 is expected",
        ),
        (
            'Domain "/a(b/" { }',
            "1:1: error: '/a(b/' is not a valid name for stanza Domain: the regular expression is wrong at character "
            "2: missing ), unterminated subpattern",
        ),
        (
            "ESMTP_Listener { Listen :25 { idle_time = soon } }",
            "1:43: error: value 'soon' is not valid for option 'idle_time': expected a number of seconds",
        ),
        (
            "ESMTP_Listener { Listen :25 { max_message_size = 50M } }",
            "1:50: error: value '50M' is not valid for option 'max_message_size': expected a number of bytes without a "
            "unit: 52428800",
        ),
        (
            "match_cache_size = 0",
            "1:20: error: value '0' is not valid for option 'match_cache_size': expected a number not below 1",
        ),
        (
            "relay_hosts = ( 127.0.0.1\n  127.0.0.0/8\n  300.0.0.1 )",
            "3:3: error: value '300.0.0.1' is not valid for option 'relay_hosts': '300.0.0.1' is no address or "
            "network; write '10.0.0.0/8', '10.1.2.3' or 'fd00::/8'",
        ),
        (
            "dns_servers = ( 192.0.2.53 ns.example )",
            "1:28: error: value 'ns.example' is not valid for option 'dns_servers': 'ns.example' is not the IP address "
            'of a name server [write ( "192.0.2.53" "192.0.2.54:5353" "[2001:db8::53]:5353" )]',
        ),
        (
            'static_routes { target = "mail.example:25" }',
            "1:26: error: value 'mail.example:25' is not valid for option 'target': 'mail.example' is not an IP "
            'address [write target = "10.0.0.20:25" or "[2001:db8::1]:25"]',
        ),
        (
            "hostname = ( a b )",
            "1:12: error: value ( 'a' 'b' ) is not valid for option 'hostname': one value is expected, not a list",
        ),
        (
            'ESMTP_Listener { Listen :25 { static_banner = "hello" } }',
            "1:47: error: value 'hello' is not valid for option 'static_banner': a banner must begin with 220, as in "
            '"220 mx.example.com ESMTP"',
        ),
        (
            "ESMTP_Listener { Listen :25 { smtp_extensions = ( DSN STARTLS ) } }",
            "1:55: error: unknown SMTP extension 'STARTLS' in smtp_extensions [did you mean 'STARTTLS'?]",
        ),
        (
            "ESMTP_Listener { Listen :25 { event_loop = x } }",
            '1:44: error: event loop \'x\' of Listen ":25" is not defined [add EventLoop "x" { Concurrency = 1 }]',
        ),
        (
            'Pathway_Group g { Pathway p { } }\nESMTP_Listener { Listen :25 { pathway = "g" } }',
            "2:41: error: pathway 'g' of Listen \":25\" is not defined "
            "['g' is a Pathway_Group, which can't be attached; name one of its Pathways]",
        ),
        ("maildir m { domains = ( a.example ) }", '1:1: error: maildir "m" has no basedir [set basedir = "/var/mail"]'),
        (
            "delivery_method = ECSTREAM",
            "1:19: error: value 'ECSTREAM' is not valid for option 'delivery_method': gsmtp does not serve this "
            "method; expected ESMTP, SMTP or LMTP",
        ),
        (
            'Domain a.example {\n gateway = "10.0.0.20:70000" }',
            "2:12: error: value '10.0.0.20:70000' is not valid for option 'gateway': port must be a number from 1 to "
            "65535 [write a host name or an address, with a port where it isn't the usual one: 10.0.0.20:24]",
        ),
        (
            'gateway = "[::1"',
            "1:11: error: value '[::1' is not valid for option 'gateway': '[::1' is not [address]:port "
            "[write a host name or an address, with a port where it isn't the usual one: 10.0.0.20:24]",
        ),
        (
            'Domain a.example { routes = ( 10.0.0.1\n "lmtp://10.0.0.2" ) }',
            "2:2: error: value 'lmtp://10.0.0.2' is not valid for option 'routes': scheme lmtp:// is not known; "
            "expected smtp:// [write a host name, an address, or smtp://host?pref=10&port=24]",
        ),
        (
            'Domain a.example { routes = "smtp://a?pref=first" }',
            "1:29: error: value 'smtp://a?pref=first' is not valid for option 'routes': pref must be a number from 0 "
            "to 65535 [write a host name, an address, or smtp://host?pref=10&port=24]",
        ),
    ],
)
def test_errors_point_and_help(text: str, expected: str) -> None:
    assert [one for one in messages(text) if "error" in one] == [expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "force_fsync = false",
            "1:1: warning: Force_Fsync is false: a power cut may lose messages that were answered with 250 [leave it "
            "away; commits are shared by the messages that wait together, so syncing costs little]",
        ),
        (
            "ESMTP_Listener { }",
            '1:1: warning: ESMTP_Listener holds no Listen stanza: it opens no socket [add Listen ":25" { }]',
        ),
        (
            'ESMTP_Listener { Listen ":25" { relay_for_sending_domains = () } }',
            "1:61: warning: relay_for_sending_domains is an empty list: no sender may relay by it "
            "[in version 2 it meant every sender; use Open_Relay = true in a Peer for that]",
        ),
        (
            LISTENER + 'gateway = "10.0.0.1"\nrelay_domains = ( "*" )',
            "3:17: warning: relay_domains holds '*': every client may send to every domain "
            "[an open relay is found and abused within hours; keep it to networks you trust]",
        ),
        (
            "relay_hosts = ( 0.0.0.0/0 )",
            "1:15: warning: relay_hosts holds 0.0.0.0/0: every such client may send to every domain "
            "[an open relay is found and abused within hours; keep it to networks you trust]",
        ),
        (
            'ESMTP_Listener { open_relay = true Listen ":25" { } Listen ":26" { } }',
            '1:18: warning: open_relay is true for every client of Listen ":25": an open relay '
            "[put it in a Peer stanza that names the networks that may relay]",
        ),
        (
            'ESMTP_Listener { Listen ":25" { Peer 0.0.0.0/0 { open_relay = true } } }',
            '1:50: warning: open_relay is true for every client of Listen ":25": an open relay '
            "[put it in a Peer stanza that names the networks that may relay]",
        ),
        (
            'Pathway p { open_relay = true }\nESMTP_Listener { Listen ":25" { pathway = p } }',
            '1:13: warning: open_relay is true for every client of Listen ":25": an open relay '
            "[put it in a Peer stanza that names the networks that may relay]",
        ),
        (
            'ESMTP_Listener { Listen ":25" { Pool_Name = "acept" } }\nThreadPool "accept" { Concurrency = 2 }',
            '1:33: warning: ThreadPool "acept" of Listen ":25" is not defined: the IO pool is used '
            "[did you mean 'accept'?]",
        ),
        (
            'ESMTP_Listener { Listen ":25" { Concurrency = 2 } }',
            '1:33: warning: Listen ":25" sets Concurrency and names no Pool_Name: the IO pool is used '
            '[add ThreadPool "NAME" { Concurrency = 4 } and Pool_Name = "NAME"]',
        ),
        (
            'ESMTP_Listener { Listen ":25" { Concurrency = 5 Pool_Name = p } }\nThreadPool p { Concurrency = 4 }',
            '1:33: warning: Concurrency of Listen ":25" is more than ThreadPool "p" has: 4 is used',
        ),
        (
            'ESMTP_Listener { Listen ":25" { Concurrency = 51 Pool_Name = io } }',
            '1:33: warning: Concurrency of Listen ":25" is more than ThreadPool "io" has: 50 is used',
        ),
        (
            'ESMTP_Listener { SMTP_Extensions = ( STARTTLS ) Listen ":465" { Use_SSL = true } Listen ":25" { } }',
            '1:18: warning: STARTTLS is not offered on Listen ":465": Use_SSL is true there [take one of them away]',
        ),
        (
            "maildir { basedir = /m }",
            "1:1: warning: maildir names no domains: no mail is stored in it "
            '[set domains = ( "example.com" ), or all_domains = true]',
        ),
        (
            "opendkim_sign = false\nDomain a.example { opendkim_sign = true }",
            "1:1: warning: option opendkim_sign is not served: messages are not signed",
        ),
        (
            'snmp { anything = 1 nested "x" { at = all } }',
            "1:1: warning: stanza snmp is not served: gsmtp speaks no SNMP",
        ),
    ],
)
def test_warnings_point_and_help(text: str, expected: str) -> None:
    found = messages(text)
    assert expected in found
    assert [one for one in found if "warning" not in one] == []


@pytest.mark.parametrize(
    "text",
    [
        LISTENER,
        "",
        'relay_domains = ( a.example ) gateway = "10.0.0.1"',
        'relay_domains = ( a.example ) routes = ( "10.0.0.1" )',
        "relay_domains = ( a.example ) maildir { basedir = /m all_domains = yes }",
        "relay_domains = ( a.example ) Domain a.example { blackhole = internal }",
        'relay_domains = ( "*.a.example" ) Domain "/[.]a[.]example$/" { gateway = "10.0.0.1" }',
        'ESMTP_Listener { Listen "127.0.0.1:25" { open_relay = true } }',
        'ESMTP_Listener { Listen ":25" { Peer 10.0.0.0/8 { open_relay = true } } }',
        'ESMTP_Listener { Listen ":25" { } Listen "[*]:25" { } Listen ":0" { } Listen "127.0.0.1:0" { } }',
        'ESMTP_Listener { Listen ":25" { static_banner = "220-a ESMTP\\r\\n220 b" } }',
        "ThreadPool p { Concurrency = 4 }",
        "ESMTP_Listener { Listen :25 { Max_Junk_Commands = 5 } }",
        'ESMTP_Listener { Listen ":25" { Use_SSL = false pathway = default } }',
        "ESMTP_Listener = { LISTEN :25 { IDLE_TIME = 5 } }",
        "maildir m { basedir = /m domain = a.example createusers = no }",
        "relay_domains = ( a.example )\nESMTP_Listener { Listen :25 { } }",
        'Domain a.example { routes = ( "smtp://b.example?type=mx&pref=1" __mx__ ) gateway = "[b.example]:24" }',
        'static_routes { target = "10.0.0.1:25" }',
        "static_routes { }",
        'DNS_Servers = ( "192.0.2.53" "[2001:db8::53]:5353" )\nprohibited_hosts = ( "127.0.0.0/8" 0.0.0.0 )',
    ],
)
def test_good_configurations_pass_without_a_word(text: str) -> None:
    assert messages(text) == []


def test_all_problems_come_in_one_run_ordered_by_place() -> None:
    found = messages("""
        hostnam = mx
        ESMTP_Listener {
          Listen ":25" { idle_time = x  enabel = true  pathway = none }
          Peer 1.2.3 { }
        }
        ThreadPool { concurrency = -1 }
    """)
    assert [one.partition(": ")[0] for one in found] == ["2:1", "4:30", "4:33", "4:58", "5:3", "7:1", "7:28"]


def test_an_unserved_name_is_named_once_at_its_first_place() -> None:
    text = """
        ESMTP_Listener {
          Listen ":25" { smtp_extensions = ( DELIVERBY )  open_tracking_enabled = true }
          Listen ":26" { smtp_extensions = ( DELIVERBY )  open_tracking_enabled = true }
        }
        always = 1
        opendkim_sign = false
        Domain a.example { opendkim_sign = false }
    """
    assert [one for one in messages(text) if "not served" in one] == [
        "3:38: warning: SMTP extension DELIVERBY is not served: delivery is never timed by the sender (RFC 2852)",
        "3:51: warning: option open_tracking_enabled is not served: messages are never changed for tracking",
        "7:1: warning: option opendkim_sign is not served: messages are not signed",
    ]


def test_inside_an_unserved_stanza_names_are_checked_but_not_named_again() -> None:
    assert messages("Host x { max_outbound_connections = 1  frob = 1 }") == [
        "1:1: warning: stanza Host is not served: there are no options for single hosts",
        "1:40: error: unknown option 'frob' in Host \"x\"",
    ]


def test_event_loops_of_different_size_are_told() -> None:
    text = """EventLoop a { concurrency = 2 }
EventLoop b { concurrency = 4 }
ESMTP_Listener { Listen :25 { event_loop = a } Listen :26 { event_loop = b } }"""
    assert [one for one in messages(text) if "event loop" in one] == [
        "3:74: warning: several event loops of different size are named: 4 workers serve all sockets"
        " [name the same EventLoop everywhere]"
    ]


def test_both_places_of_a_hidden_peer_are_told() -> None:
    found = found_in("ESMTP_Listener { Peer 10.0.0.0/8 { idle_time = 1 }\nListen :25 { idle_time = 2 } }")
    assert [(str(one.span), [(what, str(span)) for what, span in one.related]) for one in found] == [
        ("test.conf:2:14", [("the Peer sets it here", "test.conf:1:36")])
    ]


def test_a_value_that_is_overridden_is_judged_too() -> None:
    assert "1:12: error: value 'x y' is not valid for option 'hostname': expected one word, without blanks" in messages(
        'hostname = "x y"\nhostname = mx'
    )


def test_momentum_refuses_what_only_gsmtp_knows() -> None:
    text = "ThreadPool p { Concurrency = 4  Max_Sessions = 5 }\nSpool_Reserve = 5"
    assert messages(text) == []
    assert messages(text, momentum=True) == [
        "1:33: error: option Max_Sessions is gsmtp's own: Momentum doesn't know it [leave it out with --momentum]",
        "2:1: error: option Spool_Reserve is gsmtp's own: Momentum doesn't know it [leave it out with --momentum]",
    ]


def test_after_a_syntax_error_nothing_is_said_of_what_may_only_be_unreadable() -> None:
    found = messages('ESMTP_Listener { Listen ":25" { pathway = "p" } }\nPathway "p" { idle_time = = }')
    assert [one for one in found if "not defined" in one] == []
    assert any("error" in one for one in found)


def test_codes_are_stable_words_for_programs() -> None:
    text = "frob = 1\nfrobs { }\nhostname = ( )\nThreadPool { }\nSecurity { Peer ::1 { } }\nopendkim_sign = no"
    found = found_in(text)
    assert [one.code for one in found] == [
        "unknown-option",
        "unknown-stanza",
        "bad-value",
        "stanza-name",
        "misplaced-stanza",
        "not-served",
    ]
