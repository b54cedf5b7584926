"""Text before, commands, text after: what write-back changes in a file, and that it changes nothing else.

Source: reference/config-language.md section 13.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.desk import Desk

LISTENER = """\
# The gateway.
ESMTP_Listener {
\tIdle_Time = 300   # short
\tSMTP_Extensions = (
\t\t"8BITMIME"     # always
\t\t"PIPELINING"
\t)
\t/* the public one */
\tListen ":25" { }

\tListen ":587" {
\t\tConcurrency = 2
\t}
}
# the end
"""


@pytest.mark.parametrize(
    ("before", "commands", "after"),
    [
        pytest.param(
            "# c\nHostname = old.example # why\n",
            ["set hostname new.example"],
            "# c\nHostname = new.example # why\n",
            id="a value, its comment stays",
        ),
        pytest.param(
            'Hostname = "old.example"\n', ["set hostname new.example"], 'Hostname = "new.example"\n', id="quotes stay"
        ),
        pytest.param(
            "ESMTP_Listener { Reconfig_Message = wait }\n",
            ['set esmtp_listener reconfig_message "a/b c"'],
            'ESMTP_Listener { Reconfig_Message = "a/b c" }\n',
            id="quotes come where they are needed",
        ),
        pytest.param(
            "hostname = a.example\n\nsecurity { user = root }\n",
            ["set blackhole true", "set security group mail"],
            "hostname = a.example\nblackhole = true\n\nsecurity { user = root  group = mail }\n",
            id="new settings behind their like, spelled as their neighbours",
        ),
        pytest.param(
            LISTENER,
            ["set esmtp_listener listen :25 concurrency 5", "set esmtp_listener listen :587 idle_time 9"],
            LISTENER.replace('":25" { }', '":25" { Concurrency = 5 }').replace(
                "\t\tConcurrency = 2\n", "\t\tConcurrency = 2\n\t\tIdle_Time = 9\n"
            ),
            id="into a stanza on one line, and into one on several, with tabs",
        ),
        pytest.param(
            LISTENER,
            ["set esmtp_listener smtp_extensions ( 8BITMIME STARTTLS PIPELINING )"],
            LISTENER.replace("# always\n", '# always\n\t\t"STARTTLS"\n'),
            id="one more item of a list, comments in it stay",
        ),
        pytest.param(
            LISTENER,
            ["set esmtp_listener smtp_extensions ( 8BITMIME )"],
            LISTENER.replace('\t\t"PIPELINING"\n', ""),
            id="one item less",
        ),
        pytest.param(
            LISTENER,
            ["unset esmtp_listener idle_time"],
            LISTENER.replace("Idle_Time = 300   # short", "# short"),
            id="the comment of a setting that goes stays",
        ),
        pytest.param(
            LISTENER,
            ["unset esmtp_listener listen :587"],
            LISTENER.replace('\n\tListen ":587" {\n\t\tConcurrency = 2\n\t}\n', ""),
            id="a stanza goes, the comment above another stays",
        ),
        pytest.param(
            LISTENER,
            ["set esmtp_listener listen 127.0.0.1:2525 enable false"],
            LISTENER.replace(
                '\t\tConcurrency = 2\n\t}\n',
                '\t\tConcurrency = 2\n\t}\n\n\tListen "127.0.0.1:2525" {\n\t  Enable = false\n\t}\n',
            ),
            id="a new stanza behind its like",
        ),
        pytest.param(
            LISTENER,
            ["set threadpool accept concurrency 4"],
            LISTENER.replace("}\n# the end", '}\n\nThreadPool "accept" {\n  Concurrency = 4\n}\n# the end'),
            id="a new stanza of a new word at the end",
        ),
        pytest.param(
            "Blackhole = true",
            ["set hostname x.example"],
            "Blackhole = true\nHostname = x.example",
            id="a file without a last line end keeps lacking it",
        ),
        pytest.param(
            "Blackhole = true\r\nESMTP_Listener {\r\n  Idle_Time = 5\r\n}\r\n",
            ["set esmtp_listener enable false", "unset blackhole"],
            "ESMTP_Listener {\r\n  Idle_Time = 5\r\n  Enable = false\r\n}\r\n",
            id="CRLF stays CRLF",
        ),
        pytest.param(
            "Blackhole = true Hostname = x.example ESMTP_Listener { Listen \":25\" {} }\n",
            ["set hostname y.example", "unset blackhole", "set esmtp_listener listen :25 enable false"],
            "Hostname = y.example ESMTP_Listener { Listen \":25\" { Enable = false } }\n",
            id="several statements on one line",
        ),
        pytest.param(
            "Security { user = mail  group = mail }\n",
            ["unset security user", "unset security group"],
            "Security { }\n",
            id="all settings of one line go, the stanza stays",
        ),
        pytest.param(
            "Relay_Hosts = ( 10.0.0.1 )\n",
            ["set relay_hosts ( " + " ".join(f"10.0.0.{n}" for n in range(1, 12)) + " )"],
            "Relay_Hosts = (\n" + "".join(f"  10.0.0.{n}\n" for n in range(1, 12)) + ")\n",
            id="a list that becomes long goes over lines",
        ),
        pytest.param(
            "Relay_Hosts = 10.0.0.1 # one\n",
            ["set relay_hosts ( 10.0.0.1 10.0.0.2 )"],
            "Relay_Hosts = ( 10.0.0.1 10.0.0.2 ) # one\n",
            id="a scalar becomes a list",
        ),
        pytest.param(
            "ESMTP_Listener {\n  Context = [\n    a = b # c\n    d = e\n  ]\n}\n",
            ["set esmtp_listener context [ a = b f = g ]"],
            "ESMTP_Listener {\n  Context = [\n    a = b # c\n    f = g\n  ]\n}\n",
            id="one pair of a dictionary",
        ),
        pytest.param(
            "ESMTP_Listener { /* none yet */\n}\n",
            ["set esmtp_listener idle_time 5"],
            "ESMTP_Listener { /* none yet */\n  Idle_Time = 5\n}\n",
            id="first setting of a stanza",
        ),
        pytest.param(
            "Blackhole = true\nBlackhole = false\n",
            ["set blackhole true"],
            "Blackhole = true\nBlackhole = true\n",
            id="set twice: the last one, which counts",
        ),
        pytest.param(
            "Blackhole = true\nHostname = x\nBlackhole = false\n",
            ["unset blackhole"],
            "Hostname = x\n",
            id="set twice and unset: both go",
        ),
    ],
)  # fmt: skip
def test_one_file(tmp_path: Path, before: str, commands: list[str], after: str) -> None:
    desk = Desk(tmp_path, {"ecelerity.conf": before})
    for line in commands:
        said = desk.say(f"config {line}")
        assert not said.startswith("ERR"), said
    assert desk.say("config writeback") == "Written: DIR/ecelerity.conf"
    assert desk.text("ecelerity.conf") == after
    running = desk.say("config showrecurse")
    assert desk.say("config reload") == "Configuration reloaded."
    assert desk.say("config showrecurse") == running or "Listen" in before


YAML = """\
# The gateway.
hostname: old.example   # why
esmtp_listener:
  idle_time: 300
  listen:
    ":25": {}
    ":587":
      concurrency: 2
      smtp_extensions:
        - 8BITMIME   # always
        - PIPELINING
      context:
        a: b   # c
        d: e
threadpool:
  accept: {concurrency: 4}
"""


@pytest.mark.parametrize(
    ("commands", "old", "new"),
    [
        (["set hostname new.example"], "old.example", "new.example"),
        (['set hostname "5"'], "old.example", '"5"'),
        (["set blackhole true"], "old.example   # why\n", "old.example   # why\nblackhole: true\n"),
        (["unset hostname"], "hostname: old.example   # why", "# why"),
        (["set esmtp_listener listen :25 idle_time 5"], '":25": {}', '":25": {idle_time: 5}'),
        (["set esmtp_listener listen :587 idle_time 5"], "        d: e\n", "        d: e\n      idle_time: 5\n"),
        (["set esmtp_listener listen :587 smtp_extensions ( 8BITMIME STARTTLS PIPELINING )"], "# always\n",
         "# always\n        - STARTTLS\n"),
        (["set esmtp_listener listen :587 context [ a = b x = y ]"], "        d: e\n", "        x: y\n"),
        (["set esmtp_listener listen :2525 idle_time 5"], "threadpool:\n",
         '    ":2525":\n      idle_time: 5\nthreadpool:\n'),
        (["set threadpool accept concurrency 5", "set threadpool accept backlog 9"], "{concurrency: 4}",
         "{concurrency: 5, backlog: 9}"),
        (["unset esmtp_listener listen :25"], '    ":25": {}\n', ""),
        (["unset threadpool accept"], "threadpool:\n  accept: {concurrency: 4}\n", ""),
        (["set security user mail"], "  accept: {concurrency: 4}\n",
         "  accept: {concurrency: 4}\nsecurity:\n  user: mail\n"),
    ],
)  # fmt: skip
def test_one_yaml_file(tmp_path: Path, commands: list[str], old: str, new: str) -> None:
    desk = Desk(tmp_path, {"gsmtp.yaml": YAML})
    for line in commands:
        assert not desk.say(f"config {line}").startswith("ERR")
    assert desk.say("config writeback") == "Written: DIR/gsmtp.yaml"
    assert YAML.count(old) == 1
    assert desk.text("gsmtp.yaml") == YAML.replace(old, new)


def test_a_shape_of_yaml_that_cannot_be_edited_in_place_is_left_alone(tmp_path: Path) -> None:
    """A list of mappings, and a value that stands behind an anchor."""
    text = "esmtp_listener:\n  listen:\n    - {name: ':25', idle_time: 5}\nhostname: &h a.example\ncrypto_engine: *h\n"
    desk = Desk(tmp_path, {"gsmtp.yaml": text})
    desk.say("config set hostname b.example")
    said = desk.say("config writeback")
    assert said.startswith(
        "ERR the files can't be changed in place: 'hostname' in scope '' would not read back as it is"
    )
    assert desk.text("gsmtp.yaml") == text
    desk.say("config reload")
    desk.say("config set esmtp_listener listen :26 idle_time 5")
    assert desk.say("config writeback") == (
        "Not written: scope 'Esmtp_Listener::Listen:\\:26:': the stanzas of that word are written as a list."
    )
    assert desk.text("gsmtp.yaml") == text


def test_each_change_goes_into_the_file_that_it_belongs_to(tmp_path: Path) -> None:
    files = {
        "ecelerity.conf": 'Hostname = a.example\ninclude "pools"\nESMTP_Listener {\n  include "l.inc"\n}\n'
        'readonly_include "ro.conf"\n',
        "pools/10.conf": 'ThreadPool "a" { Concurrency = 1 }\n',
        "l.inc": 'Idle_Time = 300\nListen ":25" { Concurrency = 1 } # mine\n',
        "ro.conf": "Blackhole = true\nSecurity { user = mail }\n",
    }
    desk = Desk(tmp_path, files)
    for line in (
        "set threadpool a concurrency 2",
        "set threadpool b concurrency 3",
        "set esmtp_listener idle_time 5",
        "set esmtp_listener enable true",
        "set esmtp_listener listen :25 enable false",
        "set blackhole false",
        "set security group mail",
    ):
        assert not desk.say(f"config {line}").startswith("ERR")
    assert set(desk.say("config writeback").splitlines()) == {
        "Written: DIR/ecelerity.conf",
        "Written: DIR/pools/10.conf",
        "Written: DIR/l.inc",
    }
    assert desk.text("pools/10.conf") == (
        'ThreadPool "a" { Concurrency = 2 }\n\nThreadPool "b" {\n  Concurrency = 3\n}\n'
    )
    assert desk.text("l.inc") == 'Idle_Time = 5\nListen ":25" { Concurrency = 1  Enable = false } # mine\n'
    assert desk.text("ecelerity.conf") == (
        'Hostname = a.example\ninclude "pools"\nESMTP_Listener {\n  Enable = true\n  include "l.inc"\n}\n'
        'readonly_include "ro.conf"\nBlackhole = false\n\nSecurity {\n  Group = mail\n}\n'
    )
    assert desk.text("ro.conf") == files["ro.conf"]
    assert desk.say("config unset blackhole") == '"Blackhole" has been unset. Effective value is now:\nBlackhole = 0'
    assert desk.say("config writeback") == (
        "Written: DIR/ecelerity.conf\n"
        "Not written: 'Blackhole' in scope '': DIR/ro.conf:1:1 sets it, which is included read-only or more than once."
    )


def test_local_changes_take_what_no_other_file_takes(tmp_path: Path) -> None:
    files = {
        "ecelerity.conf": 'Local_Changes_File = "local.conf"\nreadonly_include "ro.conf"\n',
        "ro.conf": 'ESMTP_Listener { Listen ":25" { Idle_Time = 5 } }\n',
    }
    desk = Desk(tmp_path, files)
    desk.say("config set esmtp_listener listen :25 idle_time 6")
    desk.say("config set esmtp_listener listen :25 enable false")
    assert desk.say("config writeback") == "Written: DIR/local.conf"
    assert desk.text("local.conf") == (
        'ESMTP_Listener {\n  Listen ":25" {\n    Idle_Time = 6\n    Enable = false\n  }\n}\n'
    )
    assert desk.say("config reload") == "Configuration reloaded."
    assert desk.say("config get esmtp_listener listen :25 idle_time") == "        Idle_Time = 6"
    desk.say("config unset esmtp_listener listen :25 enable")
    desk.say("config set esmtp_listener listen :25 idle_time 5")
    desk.say("config writeback")
    desk.say("config set esmtp_listener listen :25 idle_time 6")
    desk.say("config writeback")
    assert desk.text("local.conf") == 'ESMTP_Listener {\n  Listen ":25" {\n    Idle_Time = 6\n  }\n}\n'
    assert desk.text("ro.conf") == files["ro.conf"]
    assert desk.text("ecelerity.conf") == files["ecelerity.conf"]


def test_local_changes_only_keeps_every_change_out_of_the_other_files(tmp_path: Path) -> None:
    main = 'Local_Changes_File = "local.conf"\nLocal_Changes_Only = true\nHostname = a.example\nBlackhole = true\n'
    desk = Desk(tmp_path, {"ecelerity.conf": main})
    desk.say("config set hostname b.example")
    desk.say("config unset blackhole")
    assert desk.say("config writeback") == (
        "Written: DIR/local.conf\n"
        "Not written: 'Blackhole' in scope '': DIR/ecelerity.conf:4:1 sets it, "
        "and Local_Changes_Only keeps changes out of it."
    )
    assert desk.text("ecelerity.conf") == main
    assert desk.text("local.conf") == "Hostname = b.example\n"


def test_local_changes_only_needs_its_file(tmp_path: Path) -> None:
    desk = Desk(tmp_path, {"ecelerity.conf": "Local_Changes_Only = true\n"})
    desk.say("config set hostname b.example")
    assert desk.say("config writeback") == (
        "ERR Local_Changes_Only is true and Local_Changes_File is not set: set it first"
    )


def test_with_a_path_one_file_is_written(tmp_path: Path) -> None:
    desk = Desk(
        tmp_path, {"ecelerity.conf": 'Hostname = a\ninclude "b.conf"\n', "b.conf": "Security { user = mail }\n"}
    )
    desk.say("config set hostname b")
    desk.say("config set security user root")
    assert desk.say(f"config writeback {tmp_path}/b.conf") == "Written: DIR/b.conf"
    assert desk.text("b.conf") == "Security { user = root }\n"
    assert desk.text("ecelerity.conf") == 'Hostname = a\ninclude "b.conf"\n'
    assert desk.say("config reload") == "Configuration reloaded.\n1 change made by console was dropped."
    assert desk.say("config writeback /etc/x.conf") == (
        "ERR '/etc/x.conf' is no file of this configuration; there is: DIR/ecelerity.conf, DIR/b.conf"
    )


def test_what_is_taken_back_leaves_no_trace(tmp_path: Path) -> None:
    text = 'Security {}\nESMTP_Listener{Listen ":25"{}}'
    desk = Desk(tmp_path, {"ecelerity.conf": text})
    for line in ("security user mail", "hostname x.example", "esmtp_listener listen :25 idle_time 5"):
        desk.say(f"config set {line}")
    desk.say("config set threadpool x concurrency 1")
    assert desk.say("config writeback") == "Written: DIR/ecelerity.conf"
    assert desk.text("ecelerity.conf") == (
        'Security { User = mail }\nESMTP_Listener{Listen ":25"{ Idle_Time = 5 }}\n'
        'Hostname = x.example\n\nThreadPool "x" {\n  Concurrency = 1\n}'
    )
    for line in ("security user", "hostname", "esmtp_listener listen :25 idle_time", "threadpool x"):
        desk.say(f"config unset {line}")
    assert desk.say("config writeback") == "Written: DIR/ecelerity.conf"
    assert desk.text("ecelerity.conf") == text


def test_a_file_that_somebody_edited_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    desk = Desk(tmp_path, {"ecelerity.conf": "Hostname = a.example\n"})
    desk.say("config set hostname b.example")
    (tmp_path / "ecelerity.conf").write_text("Hostname = c.example\n")
    assert desk.say("config writeback") == (
        "ERR DIR/ecelerity.conf was changed on disk since it was loaded; nothing was written. Reload, or restore it"
    )
    assert desk.text("ecelerity.conf") == "Hostname = c.example\n"


def test_write_config_prints_one_file_without_includes(tmp_path: Path) -> None:
    desk = Desk(
        tmp_path,
        {"ecelerity.conf": '# c\nHostname = a\ninclude "b.conf"\n', "b.conf": 'ESMTP_Listener { Listen ":25" {} }\n'},
    )
    assert desk.say("write config") == 'Hostname = a\nESMTP_Listener {\n  Listen ":25" { }\n}'
    assert desk.say(f"write config {tmp_path}/copy.yaml") == "Written: DIR/copy.yaml"
    assert desk.text("copy.yaml") == 'Hostname: a\nESMTP_Listener:\n  Listen:\n    ":25": {}\n'
    assert desk.say(f"write config {tmp_path}/b.conf") == (
        "ERR DIR/b.conf is a file of this configuration: `config writeback` changes it"
    )
