"""Scripts in a running server: order, bypass, deadlines, threads, the watch, trouble, reloads."""

from __future__ import annotations

import base64
import gc
import os
import sys
import threading
from pathlib import Path
from textwrap import dedent

import pytest

from gsmtp.app import wiring
from gsmtp.app.loading import load
from gsmtp.core.errors import ConfigError
from tests.support.inprocess import BASE, Client, running
from tests.support.policy import BODY, LISTENER, hook_of, play, policed, script, spooled

NOTING = """
from gsmtp.api import *
class Noting(Hook):
    def __init__(self): self.calls = []
    def init(self, config):
        self.mark = config.text("mark")
        return True
    def mailfrom(self, conn, ctx, line):
        ctx.mess["seen"] = ctx.mess.get("seen", "") + self.mark
        if self.mark == "B": return ctx.tarpit(0)
        if self.mark == "C": ctx.reject(550, "5.7.1 C said no")
        if self.mark == "D": return Reject(550, "5.7.1 D said no")
"""


def _scripts(folder: Path, *marks: str, extra: str = "") -> str:
    (folder / "p.py").write_text(NOTING)
    inner = "".join(f'script "{mark}" {{ source = "p.py" mark = "{mark}" }}\n' for mark in marks)
    return f'scriptlet "scriptlet" {{ {inner} }}\n{extra}{LISTENER}'


def test_hooks_run_in_the_order_of_the_file_and_the_first_verdict_wins(tmp_path: Path) -> None:
    with running(tmp_path, _scripts(tmp_path, "B", "A", "C", "E")) as server:
        client = server.client().greet()
        assert client.say(b"MAIL FROM:<a@example.net>") == b"550 5.7.1 C said no\r\n"
        context = next(iter(server.supervisor.service.connections)).reception.context
        assert context.mess["seen"] == "BACE"  # C noted its verdict and went on


def test_a_returned_verdict_ends_the_phase(tmp_path: Path) -> None:
    with running(tmp_path, _scripts(tmp_path, "D", "A")) as server:
        client = server.client().greet()
        assert client.say(b"MAIL FROM:<a@example.net>") == b"550 5.7.1 D said no\r\n"
        assert next(iter(server.supervisor.service.connections)).reception.context.mess["seen"] == "D"


def test_a_script_is_bypassed_by_the_context(tmp_path: Path) -> None:
    conf = _scripts(tmp_path, "D", "A").replace(
        '"127.0.0.1:0" { }', '"127.0.0.1:0" { context = [ __bypass_D = true ] }'
    )
    with running(tmp_path, conf) as server:
        client = server.client().greet()
        assert client.code(b"MAIL FROM:<a@example.net>") == 250
        assert next(iter(server.supervisor.service.connections)).reception.context.mess["seen"] == "A"


def test_a_hook_that_waits_too_long_is_broken_off(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    code = """
    import gevent
    class Slow(Hook):
        def mailfrom(self, conn, ctx, line):
            gevent.sleep(60)
    """
    with policed(tmp_path, code, "timeout = 0.05") as server:
        client = server.client().greet()
        assert client.say(b"MAIL FROM:<a@example.net>") == b"451 4.3.0 transaction failed\r\n"
        assert client.code(b"NOOP") == 250
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        assert "hook p failed in phase mailfrom" in caplog.text
        assert "DeadlinePassed: not done within 0.05 s" in caplog.text
        assert "p.py" in caplog.text  # and where it waited


def test_nobody_else_waits_for_a_hook_that_waits(tmp_path: Path) -> None:
    code = """
    import gevent.event
    class Gate(Hook):
        gate = gevent.event.Event()
        def mailfrom(self, conn, ctx, line):
            if conn.helo == "slow": self.gate.wait()
    """
    with policed(tmp_path, code) as server:
        slow = server.client()
        slow.reply()
        slow.say(b"EHLO slow")
        slow.send(b"MAIL FROM:<a@example.net>\r\n")
        assert server.client().greet().transaction().startswith(b"250")
        hook_of(server).gate.set()
        assert slow.reply().startswith(b"250")


def test_fail_open_accepts_and_tells(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    code = """
    class Bad(Hook):
        def data(self, conn, ctx, message):
            raise OSError("no table")
    """
    with policed(tmp_path, code, "fail_open = true") as server:
        assert play(server.client())["data"].startswith(b"250")
        assert "accepted, as fail_open says: OSError: no table" in caplog.text


def test_a_hook_that_exits_stops_no_server(tmp_path: Path) -> None:
    code = """
    import sys
    class Bad(Hook):
        def mailfrom(self, conn, ctx, line):
            sys.exit(3)
    """
    with policed(tmp_path, code) as server:
        client = server.client().greet()
        assert client.say(b"MAIL FROM:<a@example.net>") == b"451 4.3.0 transaction failed\r\n"
        assert client.code(b"NOOP") == 250


def test_a_marked_hook_runs_in_a_native_thread_with_copies(tmp_path: Path) -> None:
    code = """
    import threading
    class Heavy(Hook):
        @in_thread
        def data(self, conn, ctx, message):
            self.thread = threading.get_ident()
            ctx.mess["words"] = len(message.body().split())
            ctx.conn["client"] = conn.client_ip
            message.headers.add("X-Words", ctx.mess["words"])
            try:
                conn.session_count()
            except RuntimeError as error:
                self.error = str(error)
        def each_rcpt(self, conn, ctx, message):
            self.here = threading.get_ident()
    """
    with policed(tmp_path, code) as server:
        assert play(server.client())["data"].startswith(b"250")
        hook = hook_of(server)
        assert hook.here == threading.get_ident() != hook.thread
        assert "can't touch the session" in hook.error
        (kept,) = spooled(server)
        assert (kept["mess"]["words"], kept["conn"]["client"]) == ("1", "127.0.0.1")
        assert b"\r\nX-Words: 1\r\n" in kept["body"]


def test_a_late_native_hook_changes_nothing(tmp_path: Path) -> None:
    code = """
    import _thread
    gate = _thread.allocate_lock()
    over = _thread.allocate_lock()
    class Late(Hook):
        gate, over = gate, over
        @in_thread
        @deadline(0.05)
        def data(self, conn, ctx, message):
            gate.acquire()
            ctx.mess["late"] = "yes"
            message.headers.add("X-Late", "yes")
            over.release()
    """
    with policed(tmp_path, code, "fail_open = true") as server:
        hook = hook_of(server)
        hook.gate.acquire()
        hook.over.acquire()
        client = server.client()
        assert play(client)["data"].startswith(b"250")
        hook.gate.release()
        assert hook.over.acquire(True, 10)
        (kept,) = spooled(server)
        assert "late" not in kept["mess"]
        assert b"X-Late" not in kept["body"]


def test_the_watch_names_the_line_that_holds_the_loop(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    code = """
    import time
    def look_up():
        time.sleep(0.5)
    class Blocking(Hook):
        def mailfrom(self, conn, ctx, line):
            look_up()
    """
    with policed(tmp_path, code, conf="Loop_Watch = 0.1\n") as server:
        client = server.client().greet()
        gc.collect()
        assert client.code(b"MAIL FROM:<a@example.net>") == 250
        server.wait_for(lambda: f"{tmp_path}/p.py:5 in look_up" in caplog.text, "no stall was told")
        assert "the loop stood still for " in caplog.text


_P = "from gsmtp.api import *\nclass P(Hook):\n"
_DATA = _P + "    def data(self, conn, ctx, message): ...\n    def init(self, config):"
MISTAKES = [
    ("import no_such_module\n", "can't be imported: ModuleNotFoundError: No module named 'no_such_module' (%s/p.py:1)"),
    ("class (:\n", "p.py can't be imported: SyntaxError: invalid syntax (%s/p.py:1)"),
    ("raise SystemExit(3)\n", "p.py can't be imported: SystemExit: 3 (%s/p.py:1)"),
    ("x = 1\n", "%s/p.py has no class that is a gsmtp.api.Hook"),
    (_P + "    pass\n", "%s/p.py:2: class P has no hook: none of connect, "),
    (
        _P + "    def data(self, message): ...\n",
        "%s/p.py:3: P.data is called as data(self, conn, ctx, message): too many positional arguments",
    ),
    (
        _P + "    async def data(self, conn, ctx, message): ...\n",
        "%s/p.py:3: P.data is a coroutine or generator: hooks are plain functions",
    ),
    (_DATA + " ...\n", "init of P returned None: it has to return True"),
    (_DATA + " return config.integer('most') > 0\n", 'script "p" needs most'),
    (_DATA + " return 1 // 0\n", "init of P failed: ZeroDivisionError: integer division or modulo by zero (%s/p.py:4)"),
    (
        _P + "    @in_thread(pool='Nope')\n    def data(self, conn, ctx, m): ...\n",
        'P.data wants ThreadPool "Nope", which is not defined',
    ),
]


@pytest.mark.parametrize(("code", "message"), MISTAKES)
def test_what_goes_wrong_at_load_is_told_with_its_place(tmp_path: Path, code: str, message: str) -> None:
    (tmp_path / "p.py").write_text(code)
    with pytest.raises(ConfigError) as caught, running(tmp_path, script() + LISTENER):
        pass
    text = str(caught.value)
    assert message.replace("%s", str(tmp_path)) in text
    assert text.startswith(f"{tmp_path}/ecelerity.conf:{BASE.count(chr(10)) + 1}:")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere.py", "there is no file"),
        ("no_such_package.policy", "No module named 'no_such_package'"),
        ("what/is this", "there is no file"),
        ("a-b", "'a-b' is neither a module (pkg.module) nor the path of a .py file"),
    ],
)
def test_a_source_that_is_nothing(tmp_path: Path, source: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught, running(tmp_path, script(source=source) + LISTENER):
        pass
    assert message in str(caught.value)


@pytest.mark.parametrize("source", ["msys/policy.lua", "x.siv", "filter.sieve"])
def test_other_languages_are_refused_by_check(tmp_path: Path, source: str) -> None:
    wiring.load()
    path = tmp_path / "gsmtp.conf"
    path.write_text(script(source=source) + LISTENER)
    (problem,) = [one for one in load(str(path), 1).problems if one.severity == "error"]
    assert problem.message == f"{source} is no Python: gsmtp runs neither Lua nor Sieve"


def test_options_that_nobody_reads_and_names_like_hooks_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    code = """
    class P(Hook):
        def init(self, config): return config.boolean("strict", False) in (True, False)
        def data(self, conn, ctx, message): ...
        def mailform(self, conn, ctx, line): ...
    """
    with policed(tmp_path, code, "strcit = true\n"):
        assert ':9:1: script "p" doesn\'t read strcit' in caplog.text
        assert "P.mailform is never called: did you mean 'mailfrom'?" in caplog.text


SAYS = """
from gsmtp.api import *
from {helper} import WORD
class P(Hook):
    events = []
    def init(self, config): self.events.append("init"); return True
    def deinit(self): self.events.append("deinit"); return True
    def mailfrom(self, conn, ctx, line): return Reject(550, WORD)
"""


def test_a_reload_imports_what_changed_and_keeps_what_did_not(tmp_path: Path) -> None:
    helper = f"gsmtp_test_helper_{os.getpid()}"
    (tmp_path / f"{helper}.py").write_text("WORD = 'one'\n")
    (tmp_path / "p.py").write_text(SAYS.replace("{helper}", helper))
    conf = BASE.format(spool=tmp_path / "spool") + script() + LISTENER
    with running(tmp_path, script() + LISTENER) as server:
        first = hook_of(server)
        sys_path = list(sys.path)
        client = server.client().greet()
        assert client.say(b"MAIL FROM:<a@example.net>") == b"550 one\r\n"

        server.reconfigure(conf + "# nothing changed\n")
        assert hook_of(server) is first
        assert first.events == ["init"]

        (tmp_path / f"{helper}.py").write_text("WORD = 'two'\n")
        server.supervisor.reload()
        assert hook_of(server) is not first
        assert first.events == ["init", "deinit"]
        assert client.say(b"MAIL FROM:<a@example.net>") == b"550 two\r\n"

        (tmp_path / f"{helper}.py").write_text("WORD = \n")
        second = hook_of(server)
        server.supervisor.reload()
        assert f"SyntaxError: invalid syntax ({tmp_path}/{helper}.py:1)" in str(server.log)
        assert hook_of(server) is second
        assert second.events == ["init"]
        assert client.say(b"MAIL FROM:<a@example.net>") == b"550 two\r\n"
        assert sys.modules[helper].WORD == "two"

        (tmp_path / f"{helper}.py").write_text("WORD = 'three'\n")
        server.reconfigure(BASE.format(spool=tmp_path / "spool") + LISTENER)
        assert second.events == ["init", "deinit"]
        assert helper not in sys.modules
        assert client.say(b"MAIL FROM:<a@example.net>").startswith(b"250")
        assert sys.path == sys_path


def test_a_failing_init_at_a_reload_takes_back_what_the_others_began(tmp_path: Path) -> None:
    code = SAYS.replace("from {helper} import WORD", "WORD = 'one'")
    (tmp_path / "p.py").write_text(code)
    with running(tmp_path, script() + LISTENER) as server:
        running_hook = hook_of(server)
        bad = 'scriptlet "scriptlet" { script "p" { source = "p.py" x = 1 }\nscript "q" { source = "q.py" } }\n'
        (tmp_path / "q.py").write_text(code.replace('"init"); return True', '"init"); return False'))
        server.reconfigure(BASE.format(spool=tmp_path / "spool") + bad + LISTENER)
        assert "init of P returned False" in str(server.log)
        assert hook_of(server) is running_hook
        assert running_hook.events == ["init", "init", "deinit"]  # a class attribute: the new object came and went


def test_deinit_is_called_at_the_stop(tmp_path: Path) -> None:
    code = SAYS.replace("from {helper} import WORD", "WORD = 'one'").replace("from gsmtp.api import *\n", "")
    with policed(tmp_path, code) as server:
        hook = hook_of(server)
    assert hook.events == ["init", "deinit"]


def test_a_package_and_one_class_of_it(tmp_path: Path) -> None:
    package = f"gsmtp_test_package_{os.getpid()}"
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text("")
    (tmp_path / package / "words.py").write_text("WORD = '5.7.1 from a package'\n")
    (tmp_path / package / "policy.py").write_text(
        "from gsmtp.api import *\nfrom .words import WORD\n"
        "class A(Hook):\n    def mailfrom(self, conn, ctx, line): return Reject(550, WORD)\n"
        "class B(A):\n    def ehlo(self, conn, ctx, line): ctx.conn['b'] = 1\n"
    )
    with running(tmp_path, script(source=f"{package}.policy:A") + LISTENER) as server:
        assert len(server.supervisor._resources.scripts.installed[0].hooks) == 1
        assert server.client().greet().say(b"MAIL FROM:<>") == b"550 5.7.1 from a package\r\n"


def test_run_in_pool_computes_in_another_thread(tmp_path: Path) -> None:
    code = """
    import threading
    class P(Hook):
        def data(self, conn, ctx, message):
            self.idents = run_in_pool("CPU", threading.get_ident), threading.get_ident()
            try:
                run_in_pool("Nope", len, "x")
            except ValueError as error:
                return Reject(550, str(error))
    """
    with policed(tmp_path, code) as server:
        assert play(server.client())["data"] == b"550 there is no ThreadPool 'Nope'\r\n"
        there, here = hook_of(server).idents
        assert there != here == threading.get_ident()


def test_never_waits_runs_without_a_green_thread(tmp_path: Path) -> None:
    code = """
    import gevent
    class P(Hook):
        @never_waits
        def data(self, conn, ctx, message):
            self.is_hub = gevent.getcurrent() is gevent.get_hub()
            ctx.mess["length"] = len(message.raw())
    """
    with policed(tmp_path, code) as server:
        assert play(server.client())["data"].startswith(b"250")
        assert hook_of(server).is_hub
        (kept,) = spooled(server)
        assert kept["mess"]["length"] == str(len(kept["body"]))


def test_capabilities_and_session_counts(tmp_path: Path) -> None:
    code = """
    class P(Hook):
        def connect(self, conn, ctx):
            conn.capability_remove("PIPELINING")
            self.counts = (conn.session_count(), conn.session_count("127.0.0.0/8", conn.endpoint),
                           conn.session_count("10.0.0.0/8"), conn.session_count("", "elsewhere"))
    """
    with policed(tmp_path, code) as server:
        client = server.client()
        client.reply()
        assert b"PIPELINING" not in client.say(b"EHLO x")
        assert hook_of(server).counts == (1, 1, 0, 0)


def test_the_whole_text_is_for_messages_up_to_the_threshold(tmp_path: Path) -> None:
    code = """
    class P(Hook):
        def data(self, conn, ctx, message):
            if "X-Pieces" in message.headers:
                ctx.mess["size"] = sum(map(len, message.pieces()))
            else:
                ctx.mess["size"] = len(message.raw())
    """
    conf = "Legacy_Message_Threshold = 200000\nLarge_Message_Threshold = 20000\n"
    line = b"x" * 76 + b"\r\n"
    with policed(tmp_path, code, conf=conf) as server:
        small, large = BODY + line * 2000, BODY + line * 3000
        assert play(server.client(), body=small)["data"].startswith(b"250")
        client = server.client()
        assert play(client, body=large)["data"] == b"421 4.3.0 message is too large to process at this time\r\n"
        assert client.is_closed()
        assert play(server.client(), body=b"X-Pieces: 1\r\n" + large)["data"].startswith(b"250")
        assert [one["mess"]["size"] for one in spooled(server)] == [str(one["size"]) for one in spooled(server)]


def test_a_login_is_judged_by_policy_too(tmp_path: Path) -> None:
    code = """
    class P(Hook):
        def auth(self, conn, ctx, result):
            self.seen = (result.mechanism, result.user, result.status, ctx.conn["auth_status"])
            return Reject(535, "5.7.8 not from here") if result.user == "alice" else None
    """
    (tmp_path / "users").write_text("tim:one\nalice:two\n")
    (tmp_path / "p.py").write_text("from gsmtp.api import *\n" + dedent(code))
    conf = (
        f'ESMTP_Listener {{ Auth_Failure_Delay = 0 SMTP_Extensions = ( "AUTH PLAIN" )\n'
        f'AuthPlainParameters = [ uri = "file://{tmp_path}/users" ] Listen "127.0.0.1:0" {{ }} }}\n'
    )
    with running(tmp_path, script() + conf) as server:
        client = server.client().greet()
        line = b"AUTH PLAIN " + base64.b64encode(b"\0alice\0two")
        assert client.say(line) == b"535 5.7.8 not from here\r\n"
        assert hook_of(server).seen == ("PLAIN", "alice", "pass", "pass")
        assert client.say(b"AUTH PLAIN " + base64.b64encode(b"\0tim\0wrong")).startswith(b"535 5.7.8 Auth")
        assert hook_of(server).seen == ("PLAIN", "tim", "fail", "fail")
        assert client.say(b"AUTH PLAIN " + base64.b64encode(b"\0tim\0one")).startswith(b"235")


GATE = """
from gevent.event import Event
class P(Hook):
    gate, here = Event(), Event()
    def data(self, conn, ctx, message):
        self.here.set()
        self.gate.wait()
        message.headers.add("X-Old", "yes")
        ctx.mess["size"] = len(message.raw())
"""


def _send_text(client: Client) -> None:
    client.greet()
    for line in (b"MAIL FROM:<a@example.net>", b"RCPT TO:<b@example.com>", b"DATA"):
        client.say(line)
    client.send(BODY + b"x" * 500 + b"\r\n" * 2000 + b".\r\n")


def test_a_message_whose_client_left_while_a_hook_waited_is_kept(tmp_path: Path) -> None:
    """It was whole: it must not be lost for a client that may think that it was taken (RFC 1047)."""
    with policed(tmp_path, GATE, conf="Large_Message_Threshold = 1000\n") as server:
        client = server.client()
        _send_text(client)
        hook = hook_of(server)
        server.wait_for(hook.here.is_set)
        client.close()
        hook.gate.set()
        server.wait_for(lambda: not server.sessions)
        (kept,) = spooled(server)
        assert kept["mess"]["size"] == str(kept["size"])


def test_a_message_is_judged_by_the_hooks_that_saw_it_begin(tmp_path: Path) -> None:
    with policed(tmp_path, GATE) as server:
        client = server.client()
        client.greet()
        for line in (b"MAIL FROM:<a@example.net>", b"RCPT TO:<b@example.com>", b"DATA"):
            client.say(line)
        hook = hook_of(server)
        hook.gate.set()
        server.reconfigure(BASE.format(spool=tmp_path / "spool") + LISTENER)
        client.send(BODY + b".\r\n")
        assert client.reply().startswith(b"250")
        (kept,) = spooled(server)
        assert b"\r\nX-Old: yes\r\n" in kept["body"]
        client.transaction()
        assert b"X-Old" not in spooled(server)[1]["body"]


def test_a_tarpit_holds_nobody_else_up(tmp_path: Path) -> None:
    code = """
    class P(Hook):
        def mailfrom(self, conn, ctx, line):
            return Tarpit(3600) if conn.helo == "slow" else None
    """
    with policed(tmp_path, code) as server:
        slow = server.client()
        slow.reply()
        slow.say(b"EHLO slow")
        slow.send(b"MAIL FROM:<a@example.net>\r\n")
        assert server.client().greet().transaction().startswith(b"250")
        slow.socket.setblocking(False)
        with pytest.raises(BlockingIOError):
            slow.socket.recv(1)


def test_all_phases_can_run_in_native_threads(tmp_path: Path) -> None:
    code = """
    import threading
    class P(Hook):
        def __init__(self): self.threads = {}
        def note(self, phase): self.threads[phase] = threading.get_ident()
        def connect(self, conn, ctx): self.note("connect")
        def ehlo(self, conn, ctx, line): self.note("ehlo")
        def mailfrom(self, conn, ctx, line):
            self.note("mailfrom")
            ctx.conn["pathway"] = "default"
            del ctx.mess["mailfrom_string"]
        def rcptto(self, conn, ctx, message, line):
            self.note("rcptto")
            message.readdress("new-" + message.rcptto)
        def rcptto_list(self, conn, ctx, recipients):
            self.note("rcptto_list")
            recipients.add("more@example.com")
        def data(self, conn, ctx, message): return self.note("data")
        def data_spool(self, conn, ctx, message): message.headers.replace("Subject", "y")
        def each_rcpt(self, conn, ctx, message):
            self.note("each_rcpt")
            return Reject(550, "5.1.1 no") if message.rcptto == "more@example.com" else None
        def set_binding(self, message): message.binding = "b-" + message.rcptto
        def final(self, conn, ctx, message): self.note("final")
        def dealloc(self, conn, ctx): self.note("dealloc")
    """
    with policed(tmp_path, code, "thread = true") as server:
        client = server.client()
        assert play(client)["data"].startswith(b"250")
        client.close()
        hook = hook_of(server)
        server.wait_for(lambda: "dealloc" in hook.threads)
        assert len(hook.threads) == 9
        assert threading.get_ident() not in hook.threads.values()
        (kept,) = spooled(server)
        assert [(row[0], row[1]) for row in kept["recipients"]] == [
            ("new-b@example.com", "queued"), ("new-c@example.com", "queued"), ("more@example.com", "queued"),
        ]  # fmt: skip
        bindings = [one.get("bind") for one in kept["envelope"]["to"]]
        assert bindings == ["b-new-b@example.com", "b-new-c@example.com", None]
        assert b"\r\nSubject: y\r\n" in kept["body"]
        assert "mailfrom_string" not in kept["mess"]


def test_the_watch_follows_a_reload(tmp_path: Path) -> None:
    def limit() -> float:
        watch = server.supervisor._around.watch
        return watch.limit_s if watch is not None else 0.0

    with running(tmp_path, LISTENER) as server:
        assert limit() == 1.0
        for limit_s in (0, 2.5):
            server.reconfigure(BASE.format(spool=tmp_path / "spool") + f"Loop_Watch = {limit_s}\n" + LISTENER)
            assert limit() == limit_s
