"""One client of the console: who it is, whether it may, and its commands one after the other.

A session is a green thread of its own: there are few of them, and what they do may block. Clients of Unix sockets are
known by their operating-system user; clients of TCP sockets log in where Enable_Authentication says so.
Source: reference/console-and-logs.md sections 1 and 2.
"""

from __future__ import annotations

import logging
import os
import pwd
import re
import socket as sockets
import struct
from typing import TYPE_CHECKING, Any, Final

import gevent
import gevent.event
import gevent.socket

from gsmtp import __version__
from gsmtp.auth.attempts import delay_after
from gsmtp.config.kinds import BOOLEAN_WORDS
from gsmtp.control import completion
from gsmtp.control.authorization import DENIED, Verdict, judge, told
from gsmtp.control.command import CommandError
from gsmtp.control.console import Console
from gsmtp.control.dispatch import Answer, Request, find, perform, read, refused
from gsmtp.control.login import encoded, log_in, parameters_of, response, usable
from gsmtp.control.options import TIMEOUT
from gsmtp.control.wire import BadLine, Gone, Wire
from gsmtp.core.errors import GsmtpError
from gsmtp.core.records import AuthAttempt, Authorization, Peering
from gsmtp.sasl.mechanism import Mechanism
from gsmtp.sasl.need import Status
from gsmtp.server.options import CONCURRENCY, POOL_NAME
from gsmtp.server.peering import address_text, name_of
from gsmtp.smtp.auth_options import ALWAYS_ALLOW, ALWAYS_DENY, ENABLE_AUTHENTICATION

if TYPE_CHECKING:
    from gsmtp.config.scopes import Configuration
    from gsmtp.config.view import View
    from gsmtp.control.listener import ControlListener
    from gsmtp.runtime.sockets import RawSocket

log = logging.getLogger("gsmtp.control")

PROTOCOL: Final = 1
ANONYMOUS: Final = "anonymous"
LOGIN_NEEDED: Final = "Authorization required for console session"
_LONGEST_IDLE_S: Final = 3600.0
_MOST_FAILURES: Final = 3
_MOST_BEFORE_LOGIN: Final = 10
_FAILURE_DELAY_S: Final = 1.0
_FAILURES_PER_ADDRESS: Final = 20
_FAILURE_WINDOW_S: Final = 600.0
_HTTP: Final = re.compile(r"[A-Z]+ \S+ HTTP/\d")
"""A browser that a page made speak to us: it must not get as far as its body."""
_QUIT: Final = ("quit", "exit")


class ControlSession:
    """One client from accept to close.

    Args:
        listener: whose socket it came by.
        raw: its socket.
        address: as accept(2) says.

    Attributes:
        user: who speaks, "" before it is known.
        client_ip: "" for a Unix socket.
        is_busy: whether a command is under way.
    """

    def __init__(self, listener: ControlListener, raw: RawSocket, address: Any) -> None:
        self._listener = listener
        self._operations = listener.operations
        self._uid = _peer_uid(raw)
        family, local = raw.family, raw.getsockname()
        self._wire = Wire(gevent.socket.socket(family, sockets.SOCK_STREAM, 0, fileno=raw.detach()))
        is_tcp = isinstance(address, tuple)
        self.client_ip = name_of(address)[0] if is_tcp else ""
        self.user = ""
        self.is_busy = False
        self._failures = 0
        self._is_logged_in = False
        self._view: View = listener.stanza.view
        self._peering = Peering(
            listener.service.ids.next(),
            address_text(*name_of(address)) if is_tcp else "",
            address_text(*name_of(local)) if is_tcp else "",
            listener.stanza.name,
        )

    # --- what others ask

    def view_in(self, configuration: Configuration) -> View:
        """The options that a configuration has for this session; those before where it knows the socket no more."""
        endpoint = str(self._listener.stanza.endpoint)
        for stanza in configuration.control_listens:
            if str(stanza.endpoint) == endpoint:
                self._view = configuration.view_for(stanza, self.client_ip)
        return self._view

    @property
    def _now(self) -> View:
        return self.view_in(self._operations.configuration)

    @property
    def _timeout_s(self) -> float:
        return float(self._now[TIMEOUT]) or _LONGEST_IDLE_S

    # --- the session

    def run(self) -> None:
        """Serve the client until it or we have had enough."""
        try:
            if self._greet():
                self._serve()
        except (Gone, CommandError) as gone:  # or an answer can't be gone on with
            if str(gone) != "peer closed":
                self._operations.service.events.event(
                    "info", "control", str(gone), session=self._peering.connection_id, user=self.user or None
                )
        except Exception:
            log.exception("console session %s failed and is closed", self._peering.connection_id)
        finally:
            self._wire.close()

    def _greet(self) -> bool:
        """Say who we are and what is expected. False: the client is not welcome."""
        view = self._now
        if self._uid is not None:
            self.user = self._user_name(self._uid)
            self._is_logged_in = not view[ALWAYS_DENY]
            self._record_login(self.user, "PEERCRED", Status.PASS if self._is_logged_in else Status.FAIL, "", None)
        elif not view[ENABLE_AUTHENTICATION] or view[ALWAYS_ALLOW]:
            self.user = ANONYMOUS
        if view[ALWAYS_DENY]:
            if self._uid is None:
                self._record_login("", "", Status.FAIL, "Always_Deny", None)
            self._answer(Answer(False, "Not authorized"))
            return False
        lines = [f"version {__version__}", f"hostname {self._operations.service.hostname}"]
        lines.append(f"endpoint {self._peering.endpoint}")
        if self._needs_login(view):
            lines.append("mechanisms " + " ".join(one.name for one in usable(view)))
        else:
            lines.append(f"user {self.user}")
        self._answer(Answer(True, f"gsmtp-console {PROTOCOL}", lines))
        return True

    def _needs_login(self, view: View) -> bool:
        return not self._is_logged_in and view[ENABLE_AUTHENTICATION] and not view[ALWAYS_ALLOW]

    def _user_name(self, uid: int) -> str:
        def name() -> str:
            try:
                return pwd.getpwuid(uid).pw_name
            except KeyError:
                return f"#{uid}"

        pool = self._operations.native_pools.get("IO")  # NSS may ask the network
        return name() if pool is None else pool.call(name)

    def _serve(self) -> None:
        console = Console(self._operations, self.user, host=self._listener.host, view=self._view, peering=self._peering)
        before_login = 0
        is_first = True
        while True:
            try:
                line = self._wire.line(self._timeout_s)
            except BadLine as error:
                self._answer(Answer(False, str(error)))
                return
            if is_first and _HTTP.match(line):
                return
            is_first = False
            text = line.strip()
            if text.lower() in _QUIT:
                self._answer(Answer(True, "bye"))
                return
            view = self._now
            if view[ALWAYS_DENY]:  # set since the session began
                self._answer(Answer(False, "Not authorized"))
                return
            if text[:6].lower() == "login ":
                if not self._log_in(view, text[6:].strip()):
                    return
            elif self._needs_login(view):
                before_login += 1
                self._answer(Answer(False, LOGIN_NEEDED))
                if before_login >= _MOST_BEFORE_LOGIN:
                    return
            elif text:
                self.user = self.user or ANONYMOUS
                console.user, console.view = self.user, view
                self.is_busy = True
                try:
                    self._answer(self._do(console, view, line))
                finally:
                    console.release()
                    self.is_busy = False
                if self._listener.host.is_closing:
                    return
            else:
                self._answer(Answer(True))

    def _answer(self, answer: Answer, word: str = "") -> None:
        word = word or ("OK" if answer.is_good else "ERR")
        self._wire.answer(f"{word} {answer.status}".rstrip(), answer.lines, self._timeout_s)

    # --- commands

    def _do(self, console: Console, view: View, line: str) -> Answer:
        if line[:9] == "complete ":
            return Answer(True, "", self._complete(console, view, line[9:]))
        try:
            request = read(line)
        except CommandError as error:
            return refused(str(error))
        verdict = judge(self._operations, view, self.user, request.line)
        self._record(view, request, verdict)
        if verdict.value != 1:
            return refused(DENIED, request.form)
        try:
            return self._perform(console, view, request)
        except GsmtpError as error:
            return refused(str(error), request.form)
        except Exception:
            log.exception("console command failed: %s", told(request.line))
            return refused("the command failed: see the log", request.form)

    def _perform(self, console: Console, view: View, request: Request) -> Answer:
        if not (view[POOL_NAME] or view[CONCURRENCY]):
            return perform(console, request)
        waiting: gevent.event.AsyncResult[Answer] = gevent.event.AsyncResult()

        def job() -> None:
            try:
                waiting.set(perform(console, request))
            except Exception as error:  # noqa: BLE001 - raised again where it is waited for
                waiting.set_exception(error)

        self._listener.submit(job)
        answer = waiting.get()
        assert answer is not None
        return answer

    def _complete(self, console: Console, view: View, text: str) -> list[str]:
        try:
            words = read(text).words
            find(words)
            is_allowed = judge(self._operations, view, self.user, text.strip()).value == 1
        except CommandError:
            is_allowed = False
        return completion.candidates(console, text, names_too=is_allowed)

    def _record(self, view: View, request: Request, verdict: Verdict) -> None:
        self._operations.service.journal.record(
            Authorization(
                self._peering,
                self.user,
                told(request.line),
                verdict.value,
                verdict.role,
                is_accounted=self._uid is not None or _is_accounted(view),
            )
        )
        if verdict.reason:
            log.error("roles of %s can't be told: %s", self.user, verdict.reason)

    # --- logging in

    def _log_in(self, view: View, text: str) -> bool:
        """One login. False: that was the last one."""
        name, _, initial = text.partition(" ")
        mechanism = next((one for one in usable(view) if one.name == name.upper()), None)
        if self._uid is not None or not view[ENABLE_AUTHENTICATION]:
            self._answer(Answer(False, "no login is needed here"))
            return True
        if self._is_logged_in:
            self._answer(Answer(False, "you are logged in already"))
            return True
        if mechanism is None:
            self._answer(Answer(False, f"no such mechanism; there is: {' '.join(one.name for one in usable(view))}"))
            self._failures += 1
            return self._failures < _MOST_FAILURES
        attempts = self._listener.host.attempts
        if attempts.count(self.client_ip, _FAILURE_WINDOW_S) >= _FAILURES_PER_ADDRESS:
            self._answer(Answer(False, "too many failed logins from this address"))
            return False
        user, status = self._exchange(view, mechanism, initial.strip())
        if status is Status.PASS:
            self.user, self._is_logged_in = user, True
            self._answer(Answer(True, f"logged in as {user}"))
            return True
        if status is Status.FAIL:
            self._failures += 1
            gevent.sleep(delay_after(attempts.failed(self.client_ip, _FAILURE_WINDOW_S), _FAILURE_DELAY_S))
        self._answer(Answer(False, "login failed" if status is Status.FAIL else "logins can't be judged at the moment"))
        return self._failures < _MOST_FAILURES

    def _exchange(self, view: View, mechanism: Mechanism, initial: str) -> tuple[str, Status]:
        def ask(challenge: bytes) -> bytes:
            self._answer(Answer(True, encoded(challenge)), "MORE")
            try:
                return response(self._wire.line(self._timeout_s))
            except BadLine as error:
                raise ValueError(str(error)) from None

        service = self._operations.service
        try:
            outcome = log_in(service.authenticator, mechanism, view, service.hostname, initial, ask)
        except Gone as gone:
            if str(gone) == "idle timeout":
                self._record_login("", mechanism.name, "timeout", "", mechanism)
            raise
        self._record_login(outcome.user, mechanism.name, outcome.status, outcome.reason, mechanism)
        return outcome.user, outcome.status

    def _record_login(
        self, user: str, name: str, status: Status | str, reason: str, mechanism: Mechanism | None
    ) -> None:
        is_accounted = self._uid is not None
        if mechanism is not None:
            is_accounted = _is_true(parameters_of(mechanism, self._view).get("log_authentication", ""))
        word = status.value if isinstance(status, Status) else status
        self._operations.service.journal.record(AuthAttempt(self._peering, user, name, word, is_accounted, reason))


def _is_accounted(view: View) -> bool:
    return any(_is_true(parameters_of(one, view).get("log_authentication", "")) for one in usable(view))


def _is_true(word: str) -> bool:
    return BOOLEAN_WORDS.get(word.lower(), False)


def _peer_uid(raw: RawSocket) -> int | None:
    """Who is at the other end of a Unix socket; None for TCP."""
    if raw.family != sockets.AF_UNIX:
        return None
    credentials = raw.getsockopt(sockets.SOL_SOCKET, sockets.SO_PEERCRED, struct.calcsize("3i"))
    uid: int = struct.unpack("3i", credentials)[1]
    return uid if uid >= 0 else os.getuid()
