"""Hands mail to a function in Python: the message as an object, in a green thread, a native thread or a process.

    python "tickets" {
      domain  = ( "tickets.example.com" )
      handler = "myapp.mail:incoming"
      run_in  = "process"
    }

A handler returns None when it has taken the message, and returns or raises `Retry` or `Refuse` otherwise
(docs/transports.md). It is imported when a configuration is loaded, anew when its file has changed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from gsmtp.config import kinds
from gsmtp.config.diagnostics import Problems
from gsmtp.config.module import declare_module
from gsmtp.config.option import Option, declare
from gsmtp.config.stanza import Name
from gsmtp.config.tree import Scope, Setting
from gsmtp.config.view import View
from gsmtp.core.domains import DomainPatterns
from gsmtp.core.errors import ConfigError, DeliveryError
from gsmtp.core.inboundmail import Refuse, Verdict, inbound_mail
from gsmtp.delivery.handlers import HANDLERS, Handler, Source
from gsmtp.delivery.stanza_threads import StanzaThreads
from gsmtp.delivery.transport import Job, Native, Outcome, Tools, Transport, transport
from gsmtp.runtime.modules import LoadError

if TYPE_CHECKING:
    from gsmtp.delivery.handler_runs import Run

_PYTHON = ("python",)
HANDLED = "250 2.0.0 handled"
_CONTROLS = re.compile(r"[\x00-\x20\x7f-\x9f\u2028\u2029]+")

ENABLED = declare_module(
    "python",
    "Hands mail of its domains to a function in Python.",
    Name.REQUIRED,
    needs={"domain": 'domain = ( "example.com" )', "handler": 'handler = "pkg.module:function"'},
    ours=True,
)

DOMAIN: Option[DomainPatterns] = declare(
    Option(
        name="Domain",
        aliases=("Domains",),
        kind=kinds.domain_patterns,
        default=DomainPatterns(),
        scopes=_PYTHON,
        doc="Domains whose mail the handler gets, in the patterns of Relay_Domains. Where several stanzas have a "
        "domain, the first one gets its mail.",
        ours=True,
        source="gsmtp",
    )
)


def _examine_handler(value: str, setting: Setting, scope: Scope, problems: Problems) -> None:
    try:
        Source.of(value, "")
    except ValueError as error:
        problems.error(
            setting.value.span,
            f"value '{value}' is not valid for option '{setting.spelled}': it {error}",
            hint='name a function: handler = "myapp.mail:incoming"',
            code="bad-value",
        )


HANDLER: Option[str] = declare(
    Option(
        name="Handler",
        kind=kinds.line,
        default="",
        scopes=_PYTHON,
        doc="The function: ``pkg.module:function``, or ``path/file.py:function`` relative to the file that says so, "
        "whose folder is searched behind everything else on Python's path. It is called with a "
        "``gsmtp.api.InboundMail``.",
        ours=True,
        source="gsmtp",
        examine=_examine_handler,
    )
)

RUN_IN: Option[str] = declare(
    Option(
        name="Run_In",
        kind=kinds.enumeration("thread", "greenlet", "process"),
        default="thread",
        scopes=_PYTHON,
        doc="Where the handler runs. ``thread``: a native thread, for code that blocks. ``greenlet``: the server's own "
        "loop, for code that waits by gevent alone and computes little. ``process``: a process of its own, for code "
        "that computes, crashes, or doesn't end; it is killed at the deadline.",
        ours=True,
        source="gsmtp",
    )
)

TIMEOUT: Option[int] = declare(
    Option(
        name="Timeout",
        kind=kinds.integer_between(1),
        default=60,
        scopes=_PYTHON,
        unit="seconds",
        doc="How long a call may take; then the message is tried again later. A thread can't be stopped and stays "
        "busy until the call ends.",
        ours=True,
        source="gsmtp",
    )
)

CONCURRENCY: Option[int] = declare(
    Option(
        name="Concurrency",
        kind=kinds.integer_between(1),
        default=4,
        scopes=_PYTHON,
        doc="Calls at one time at the most, which is also how many threads or processes there are.",
        ours=True,
        source="gsmtp",
    )
)


@transport("python")
class PythonTransport(Transport):
    """Calls the handlers of all python stanzas.

    Args:
        tools: of the process.
    """

    stanza = "python"
    order = 45
    keeps_refused = True

    def __init__(self, tools: Tools) -> None:
        super().__init__(tools)
        self._runs: dict[str, Run] = {}
        self._sizes: dict[str, int] = {}
        self._threads = StanzaThreads(self._size)

    @classmethod
    def takes(cls, view: View, domain: str) -> bool:
        """Domain says."""
        return bool(view[ENABLED] and view[DOMAIN].matches(domain))

    @classmethod
    def most_at_once(cls, view: View) -> int:
        """Concurrency."""
        return view[CONCURRENCY]

    @classmethod
    def examine(cls, view: View, native: Native) -> None:
        """Import the handler where it is going to run. Raises ConfigError."""
        if not view[ENABLED]:
            return
        try:
            if view[RUN_IN] != "process":
                HANDLERS.examine(_source(view))
                return
            from gsmtp.delivery.handler_processes import WorkerFailed, try_import

            try:
                try_import(_source(view))
            except WorkerFailed as error:
                raise LoadError(error.text) from error
        except LoadError as error:
            setting = view.origin(HANDLER).setting
            span = setting.value.span if setting is not None else view.chain[0].span
            raise ConfigError(f"{span}: error: {error}") from error

    def configure(self, views: Sequence[View]) -> None:
        """Go on with these handlers. Processes are replaced, so that they import what is new."""
        views = [view for view in views if view[ENABLED]]
        old, self._runs = self._runs, {}
        self._sizes = {_title(view): view[CONCURRENCY] for view in views}
        self._threads.resize()
        adopted = HANDLERS.adopt(_source(view) for view in views if view[RUN_IN] != "process")
        for view in views:
            self._runs[_title(view)] = self._run(view, adopted)
        for one in old.values():
            one.close()

    def _run(self, view: View, adopted: Mapping[Source, Handler]) -> Run:
        from gsmtp.delivery.handler_runs import InGreenlet, InProcess, InThread, offload_to

        source = _source(view)
        if view[RUN_IN] == "process":
            return InProcess(source)
        handler = adopted[source]
        if view[RUN_IN] == "greenlet":
            return InGreenlet(source, handler, offload_to(self.tools.native.call))
        return InThread(source, handler, self._threads.calls, _title(view))

    def _size(self, title: str) -> int:
        if title not in self._sizes:
            raise ValueError(f"there is no stanza {title}")
        return self._sizes[title]

    def deliver(self, job: Job) -> list[Outcome]:
        """See `Transport.deliver`."""
        from gsmtp.delivery.handler_runs import HandlerFailed

        view = job.view
        run = self._runs.get(_title(view))
        if run is None:
            raise DeliveryError(f"451 4.3.5 [internal] there is no stanza {view.chain[0]} any more")
        body = job.body
        mail = inbound_mail(job.envelope, job.recipients, job.attempts, body.data, body.path, run.offload)
        hop = f"python {view.chain[0].spelled or ''}".strip()
        job.mark()
        try:
            found = run(mail, view[TIMEOUT])
        except HandlerFailed as error:
            raise DeliveryError(f"451 4.3.0 [internal] {error.text}") from error
        return [_outcome(one, hop) for one in found]

    def close(self) -> None:
        """End threads and processes."""
        for one in self._runs.values():
            one.close()
        self._runs = {}
        self._threads.close()
        HANDLERS.adopt(())


def _outcome(verdict: Verdict, hop: str) -> Outcome:
    if verdict is None:
        return Outcome(250, HANDLED, hop, remote="127.0.0.1")
    text = _CONTROLS.sub(" ", verdict.text).strip()[:500]
    if isinstance(verdict, Refuse):
        reply = _with_code(text, "5", "554 5.3.0", "refused by the handler")
        return Outcome(int(reply[:3]), reply, hop, remote="127.0.0.1")
    reply = _with_code(text, "4", "451 4.3.0", "put off by the handler")
    return Outcome(int(reply[:3]), reply, hop, remote="127.0.0.1", retry_after_s=max(verdict.after_s, 0.0))


def _with_code(text: str, digit: str, code: str, otherwise: str) -> str:
    """A handler's text as a reply of one class; a code of another class in front is part of the text."""
    if re.match(rf"{digit}[0-5][0-9] \S", text):
        return text
    return f"{code} {text or otherwise}"


def _title(view: View) -> str:
    return str(view.chain[0]).lower()


def _source(view: View) -> Source:
    setting = view.origin(HANDLER).setting
    file = setting.value.span.file if setting is not None else ""
    return Source.of(view[HANDLER], os.path.dirname(os.path.abspath(file)))
