"""A locust user that sends mail: what it is set up with, and what it reports to locust.

Every step is one event of the type ``step`` (connect, EHLO, STARTTLS, AUTH, MAIL, RCPT, DATA, body, QUIT), and every
transaction one of the type ``mail``, named after its message. A scenario is a file with subclasses of `SmtpUser`
(`scenarios/`); all settings are locust's command line options, shown by ``locust -f FILE --help``.

Importing this imports locust, which patches the whole process: never do so in a server.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from locust import User, events, task
from locust.env import Environment
from locust.runners import WorkerRunner

from loadtest.ledger import Ledger
from loadtest.messages import Mix, span
from loadtest.smtp_client import Disconnected, Refused, SmtpClient, SmtpError, Tls
from loadtest.target import check_target

_ledger = Ledger(None)


def ledger() -> Ledger:
    """Where this process writes down what it is told."""
    return _ledger


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator,unused-ignore]
def _add_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("SMTP", "What SmtpUser does; --host is smtp://, smtps:// or smtp+starttls://")
    add = group.add_argument
    add("--mix", default="", help="messages as KIND:SIZE*WEIGHT,…; the scenario's own by default")
    add("--recipients", default="", metavar="N[-M]", help="recipients a message; the scenario's own by default")
    add("--messages", default="", metavar="N[-M]", help="messages a connection; 1 opens one for each")
    add("--think", default="", metavar="S[-S]", help="seconds between two messages of a user")
    add("--login", default="", metavar="USER:PASSWORD", help="AUTH PLAIN with this")
    add("--domain", default="example.com", help="of the recipients (%(default)s)")
    add("--ledger", default="", metavar="DIR", help="write down there what the server confirmed, for the gate")
    add("--summary", default="", metavar="FILE", help="write the figures there as JSON when the run ends")
    add("--allow-remote", action="store_true", help="send to a host that is not this machine; it must be your own")


@events.init.add_listener  # type: ignore[untyped-decorator,unused-ignore]
def _begin(environment: Environment, **_: Any) -> None:
    global _ledger
    options = environment.parsed_options
    if options is None:
        return
    try:
        if environment.host:
            check_target(environment.host, options.allow_remote)
        for text in filter(None, (options.recipients, options.messages)):
            span(text)
        if options.mix:
            Mix(options.mix)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    if options.ledger:
        _ledger = Ledger(Path(options.ledger) / f"{os.getpid()}.ledger")


@events.quitting.add_listener  # type: ignore[untyped-decorator,unused-ignore]
def _write_summary(environment: Environment, **_: Any) -> None:
    options = environment.parsed_options
    if options is None or not options.summary or isinstance(environment.runner, WorkerRunner):
        return
    stats = environment.stats
    entries = [
        {
            "type": entry.method,
            "name": entry.name,
            "count": entry.num_requests,
            "failures": entry.num_failures,
            "rate": round(entry.total_rps, 1),
            "p50_ms": entry.get_response_time_percentile(0.5),
            "p99_ms": entry.get_response_time_percentile(0.99),
        }
        for entry in stats.entries.values()
    ]
    errors = [
        {"name": f"{e.method} {e.name}", "error": str(e.error), "count": e.occurrences} for e in stats.errors.values()
    ]
    Path(options.summary).write_text(json.dumps({"entries": entries, "errors": errors}, indent=1))


class SmtpUser(User):  # type: ignore[misc,unused-ignore]
    """Somebody who sends mail. Subclasses set what a scenario is about; the command line goes before that."""

    abstract = True
    mix = "text:1k"
    recipients = "1"
    messages = "1"
    """A connection."""
    think = "0"
    login = ""
    name_in_ehlo = "load.example"
    is_polite = True
    """Whether steps are reported: what a hostile user does is judged by itself."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        options = environment.parsed_options
        chosen = {name: getattr(options, name, "") or getattr(type(self), name) for name in ("mix", "recipients")}
        self._mix = Mix(chosen["mix"])
        self._recipients = span(chosen["recipients"])
        self._messages = span(getattr(options, "messages", "") or self.messages)
        self._login = getattr(options, "login", "") or self.login
        self._domain: str = getattr(options, "domain", "example.com")
        least, dash, most = (getattr(options, "think", "") or self.think).partition("-")
        self._think = (float(least), float(most if dash else least))
        url = self.host or environment.host or ""
        self._host, self._port, self._mode = check_target(url, getattr(options, "allow_remote", False))
        self._tls = Tls(self._mode)
        self._tls = Tls(self._mode, self._tls.client() if self._mode else None)
        self._client: SmtpClient | None = None
        self._left = 0

    def wait_time(self) -> float:
        """Seconds until the next task."""
        return random.uniform(*self._think)

    def report(self, kind: str, name: str, seconds: float, octets: int, error: Exception | None) -> None:
        """One event."""
        self.environment.events.request.fire(
            request_type=kind,
            name=name,
            response_time=seconds * 1000,
            response_length=octets,
            exception=error,
            context={},
        )

    def new_client(self) -> SmtpClient:
        """A client that isn't connected."""
        step = (lambda *words: self.report("step", *words)) if self.is_polite else None
        return SmtpClient(self._host, self._port, step, self.name_in_ehlo)

    def open(self) -> SmtpClient:
        """A connection after EHLO, STARTTLS and AUTH, as far as they are asked for. Raises SmtpError."""
        client = self.new_client()
        try:
            client.connect(self._tls)
            client.ehlo()
            if self._mode == "starttls":
                client.starttls(self._tls)
            if self._login:
                user, _, password = self._login.partition(":")
                client.auth_plain(user, password)
        except BaseException:
            client.close()
            raise
        return client

    @task
    def one_message(self) -> None:
        """Send a message, over the connection that is kept or a new one."""
        sample, started = self._mix.pick(), time.perf_counter()
        error: Exception | None = None
        try:
            if self._client is None or not self._client.is_open:
                self._client, self._left = self.open(), random.randint(*self._messages)
            started = time.perf_counter() if self._messages[1] > 1 else started
            self.send_one(self._client, sample.wire, sample.parameters)
        except SmtpError as failure:
            error = failure
            if isinstance(failure, Disconnected) and self._client is not None:
                self._client.close()
        self.report("mail", sample.name, time.perf_counter() - started, sample.size_bytes, error)
        self._left -= 1
        if self._left <= 0 or self._client is None or not self._client.is_open:
            self.hang_up()

    def send_one(self, client: SmtpClient, wire: Callable[[str], bytes], parameters: str = "", count: int = 0) -> None:
        """One transaction that is to be taken whole, with the ledger kept. Raises SmtpError when it wasn't.

        Args:
            client: a connection after EHLO.
            wire: makes the text from a token.
            parameters: of MAIL FROM.
            count: recipients; picked when 0.
        """
        count = count or random.randint(*self._recipients)
        addresses = [f"reader{number}@{self._domain}" for number in range(count)]
        delivery = ledger().deliver(client, addresses, wire, parameters)
        if delivery.trouble is not None:
            raise Refused(delivery.trouble)

    def hang_up(self) -> None:
        """QUIT."""
        client, self._client = self._client, None
        if client is not None and client.is_open:
            try:
                client.quit()
            except SmtpError:
                pass  # reported as a step; the mail before it is safe

    def on_stop(self) -> None:
        """The run ends."""
        self.hang_up()
