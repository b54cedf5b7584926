"""The config commands print what the documentation's samples show.

Source: reference/console-and-logs.md section 3.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gsmtp.config.scope_path import display_name
from gsmtp.config.stanza import STANZAS, Name
from gsmtp.config.titles import valid_names
from tests.support.desk import Desk

MAIN = """\
Message_Expiration = 7200
Domain "example.net" {
  Message_Expiration = 600
}
ESMTP_Listener {
  Idle_Time = 300
  Listen ":25" {
    SMTP_Extensions = ( "8BITMIME" "PIPELINING" )
    Context = [ site = "a b"  path = "/x" ]
    Peer "10.0.0.0/8" { Idle_Time = 30 }
  }
}
Control_Listener {
  Enable_Authentication = true
  Listen "/tmp/2025" { }
  Listen "127.0.0.1:2025" { }
}
ec_logger "main" { mainlog = "/var/log/m.ec" }
Domain "/^name\\\\..*/" { Suspend_Delivery = on }
"""


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path, {"ecelerity.conf": MAIN})


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("config get blackhole", "Option 'Blackhole' is not set in scope ''."),
        ("config eval blackhole", "Blackhole = 0"),
        ("config get message_expiration", "Message_Expiration = 7200"),
        ("config get domain example.net message_expiration", "        Message_Expiration = 600"),
        ("config get domain nowhere.example message_expiration",
         "Option 'Message_Expiration' is not set in scope 'Domain:nowhere.example:'."),
        ("config set suspend_delivery true", "Suspend_Delivery = true"),
        ("config set suspend_delivery = on", "Suspend_Delivery = on"),
        ("config set Relay_Hosts ( 10.0.0.1 10.0.0.2 )", "Relay_Hosts = (\n  10.0.0.1\n  10.0.0.2\n  )"),
        ("config set Relay_Hosts=( 10.0.0.1 )",
         "ERR unknown option 'Relay_Hosts=(' in the global scope; did you mean 'Relay_Hosts'?"),
        ("config set relay_hosts ()", "Relay_Hosts = (\n  )"),
        ("config set esmtp_listener listen :587 idle_time 5", "        Idle_Time = 5"),
        ("config set esmtp_listener listen :25 context [ a = b ]", "        Context = [\n          a = b\n          ]"),
        ("config get esmtp_listener listen *:25 smtp_extensions",
         "        SMTP_Extensions = (\n          8BITMIME\n          PIPELINING\n          )"),
        ("config eval esmtp_listener listen :25 idle_time", "        Idle_Time = 300"),
        ("config eval esmtp_listener listen :25 peer 10.1.2.3 idle_time", "        Idle_Time = 30"),
        ("config eval esmtp_listener listen :25 peer 10.1.2.3 context",
         '        Context = [\n          site = "a b"\n          path = "/x"\n          ]'),
        ("config eval esmtp_listener listen :25 open_relay", "        Open_Relay = 0"),
        ("config eval esmtp_listener listen :25 message_expiration", "        Message_Expiration = 7200"),
        ("config eval control_listener listen 127.0.0.1:2025 enable_authentication",
         "        Enable_Authentication = true"),
        ("config eval domain name.example suspend_delivery", "        Suspend_Delivery = on"),
        ("config eval threadpool io concurrency", "        Concurrency = 50"),
        ("config unset message_expiration", '"Message_Expiration" has been unset. Effective value is now:\n'
         "Message_Expiration = 86400"),
        ("config unset domain example.net message_expiration",
         '"Message_Expiration" has been unset. Effective value is now:\n        Message_Expiration = 7200'),
        ("config unset esmtp_listener listen :25", "Scope 'Esmtp_Listener::Listen:\\:25:' has been unset."),
        ("config unset", "ERR the global scope can't be unset: name an option or a scope"),
        ("config unset blackhole", "ERR Option 'Blackhole' is not set in scope ''."),
        ("config unset esmtp_listener listen :99", "ERR Scope 'Esmtp_Listener::Listen:\\:99:' is not set."),
        ("config locate listen", 'Listen ":25"\n  is at Esmtp_Listener::Listen:\\:25:\n'
         'Listen "/tmp/2025"\n  is at Control_Listener::Listen:/tmp/2025:\n'
         'Listen "127.0.0.1:2025"\n  is at Control_Listener::Listen:127.0.0.1\\:2025:'),
        ("config locate Listen tmp", 'Listen "/tmp/2025"\n  is at Control_Listener::Listen:/tmp/2025:'),
        ("config locate listen [", "ERR '[' is no regular expression: unterminated character set at position 0"),
        ("config locate binding", "There is no stanza Binding."),
        ("config show", "Message_Expiration = 7200\n" 'Domain "example.net" { ... }\nEsmtp_Listener { ... }\n'
         'Control_Listener { ... }\nec_logger "main" { ... }\nDomain "/^name\\\\..*/" { ... }'),
        ("config show esmtp_listener", 'Idle_Time = 300\nListen ":25" { ... }'),
        ("config show esmtp_listener idle_time", "        Idle_Time = 300"),
        ("config show ec_logger main", 'Mainlog = "/var/log/m.ec"'),
        ("config show security", "ERR Scope 'Security::' is not set."),
        ("config showrecurse esmtp_listener",
         'Idle_Time = 300\nListen ":25" {\n  SMTP_Extensions = (\n    8BITMIME\n    PIPELINING\n    )\n'
         '  Context = [\n    site = "a b"\n    path = "/x"\n    ]\n  Peer "10.0.0.0/8" {\n    Idle_Time = 30\n  }\n}'),
        ("config reload", "Configuration reloaded."),
        ("config replay", "ERR no transaction is open: `config begin` opens one"),
        ("config writeback", "Nothing to write back."),
    ],
)  # fmt: skip
def test_the_documented_shape(desk: Desk, line: str, expected: str) -> None:
    assert desk.say(line) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("config get blackhoel", "unknown option 'blackhoel' in the global scope; did you mean 'Blackhole'?"),
        ("config get esmtp_listener idel_time",
         "unknown option 'idel_time' in ESMTP_Listener; did you mean 'Idle_Time'?"),
        ("config set esmtp_listner listen :25 idle_time 5",
         "unknown option 'esmtp_listner' in the global scope; did you mean 'ESMTP_Listener'?"),
        ("config get", "an option is missing: config get [scope ...] option"),
        ("config get blackhole now", "'now' is too much: config get [scope ...] option"),
        ("config get esmtp_listener listen", "Listen needs a name; there is: :25"),
        ("config eval esmtp_listener listen :99 idle_time", "there is no Listen :99; there is: :25"),
        ("config set blackhole", "option 'blackhole' needs a value: config set [scope ...] option [=] value"),
        ("config set hostname a b",
         "unexpected 'b' after the value of 'hostname': a value with spaces needs quotes: hostname = \"a b\""),
        ("config set relay_hosts ( 10.0.0.1", "array of 'relay_hosts' is not closed: add ')' after its last item"),
        ("config set hostname a blackhole = true",
         "option 'hostname' takes one value; quote one that holds blanks, and write lists as ( a b )"),
        ("config set esmtp_listener listen :25", "an option is missing: config set [scope ...] option [=] value"),
        ("config set listen :25 idle_time 5",
         "unknown option 'listen' in the global scope; Listen is a stanza of ESMTP_Listener, Control_Listener, "
         "eccluster_listener, ecstream_listener, http_listener, msgcserver_listener, xmpp_listener"),
    ],
)  # fmt: skip
def test_a_wrong_command_says_what_is_wrong(desk: Desk, line: str, expected: str) -> None:
    assert desk.say(line) == f"ERR {expected}"


def test_a_bad_value_changes_nothing_and_says_why(desk: Desk) -> None:
    before = desk.server.configuration
    said = desk.say("config set esmtp_listener idle_time 5m")
    assert said == (
        "ERR Reconfigure failed\nconsole: error: value '5m' is not valid for option 'Idle_Time': "
        "expected a number of seconds without a unit: 300"
    )
    assert desk.server.configuration is before


@pytest.mark.parametrize(
    ("line", "remark"),
    [
        ("config set spoolbase /var/spool/x", "Spoolbase needs a restart to take effect."),
        ("config set force_fsync false", "Force_Fsync needs a restart to take effect."),
        ("config set esmtp_listener listen :25 listen_backlog 5",
         "Listen_Backlog takes effect when the socket is made anew."),
        ("config set hostname x.example", "Hostname = x.example"),
    ],
)  # fmt: skip
def test_what_takes_no_effect_at_once_is_said(desk: Desk, line: str, remark: str) -> None:
    assert desk.say(line).splitlines()[-1] == remark


def test_reload_drops_what_was_not_written_back_and_counts_it(desk: Desk) -> None:
    desk.say("config set blackhole true")
    desk.say("config set esmtp_listener listen :587 idle_time 5")
    assert desk.say("config reload") == "Configuration reloaded.\n2 changes made by console were dropped."
    assert desk.say("config get blackhole") == "Option 'Blackhole' is not set in scope ''."
    desk.say("config set blackhole true")
    desk.say("config writeback")
    assert desk.say("config reload") == "Configuration reloaded."
    assert desk.say("config get blackhole") == "Blackhole = true"


def test_each_command_has_data_for_programs(desk: Desk) -> None:
    got = desk.output("config get esmtp_listener listen :25 smtp_extensions").data
    assert got == {
        "option": "SMTP_Extensions",
        "scope": "Esmtp_Listener::Listen:\\:25:",
        "value": ["8BITMIME", "PIPELINING"],
        "is_set": True,
        "at": f"{desk.folder}/ecelerity.conf:8:5",
    }
    assert desk.output("config eval esmtp_listener listen :25 open_relay").data == {
        "option": "Open_Relay",
        "scope": "Esmtp_Listener::Listen:\\:25:",
        "value": "0",
        "is_default": True,
        "from": None,
    }
    assert desk.output("config show ec_logger main").data == {
        "scope": "ec_logger",
        "name": "main",
        "place": "ec_logger:main:",
        "settings": {"Mainlog": "/var/log/m.ec"},
        "scopes": [],
    }


_SAMPLE = {"listen": ":25", "peer": "10.0.0.1", "domain": "example.com", "host": "mx.example.com"}


def _words(kind: str) -> list[str]:
    """A place of that kind, from the outside in."""
    if kind == "global":
        return []
    stanza = STANZAS.get(kind)
    assert stanza is not None
    outer = "esmtp_listener" if "esmtp_listener" in stanza.inside else stanza.inside[0]
    name = [] if stanza.name is Name.NONE else [_SAMPLE.get(kind, "n1")]
    return [*_words(outer), kind, *name]


def test_every_name_of_every_scope_has_a_value_and_is_shown(tmp_path: Path) -> None:
    """Defaults of whatever kind, served or not, print and are data; so are values that somebody set."""
    desk = Desk(tmp_path, {"ecelerity.conf": 'ESMTP_Listener { Listen ":25" { } }\n'})
    desk.say("config begin")
    kinds = ["global", *(stanza.key for stanza in STANZAS)]
    asked = 0
    for kind in kinds:
        place = " ".join(_words(kind))
        names = valid_names(kind)
        for name in names:
            output = desk.output(f"config eval {place} {name}")
            json.dumps(output.data)
            assert next(iter(output.lines)).lstrip().startswith(f"{display_name(kind, name)} = ")
            asked += 1
        for name in names:
            desk.output(f"config set {place} {name} x")
        if names and kind != "global":
            shown = desk.output(f"config show {place}")
            json.dumps(shown.data)
            options = [line for line in shown.lines if not line.endswith("{ ... }")]
            assert len(options) == len({display_name(kind, name) for name in names})
        for name in names:
            if not desk.say(f"config get {place} {name}").startswith("Option"):
                desk.output(f"config unset {place} {name}")
    assert asked > 800
