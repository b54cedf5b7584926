"""What the checker says of the console: doors that stand open, logins that nobody can pass, options without effect.

Source: reference/console-and-logs.md section 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from gsmtp.config.crosscheck import late_rule
from gsmtp.config.diagnostics import Problems, Span
from gsmtp.config.option import OPTIONS
from gsmtp.config.scopes import Configuration, ListenStanza
from gsmtp.config.titles import scope_title
from gsmtp.config.tree import Scope
from gsmtp.config.view import View
from gsmtp.control.options import ENABLE_AUTHORIZATION
from gsmtp.sasl.mechanism import load_mechanisms
from gsmtp.smtp.auth_options import ALWAYS_DENY, AUTH_PARAMETERS, ENABLE_AUTHENTICATION

Found = Iterator[tuple[Span, str, str, str]]


@late_rule
def check_console(configuration: Configuration, problems: Problems) -> None:
    """Look at the sockets of the console and at what stands around them."""
    mail = {str(listen.endpoint): listen for listen in configuration.listens}
    for listen in configuration.control_listens:
        other = mail.get(str(listen.endpoint))
        if other is not None:
            problems.error(
                listen.scope.span,
                f"{scope_title(listen.scope)} is both the console's and a socket for mail",
                hint="give the console a socket of its own",
                code="socket-twice",
                related=[("the other one is here", other.scope.span)],
            )
        for span, what, hint, code in _found(configuration, listen):
            problems.warning(span, what, hint=hint, code=code)
    for span, what, hint, code in _misplaced(configuration.tree.root):
        problems.warning(span, what, hint=hint, code=code)


def _found(configuration: Configuration, listen: ListenStanza) -> Found:
    if listen.endpoint.family == "unix" or not listen.is_enabled:
        return
    title = scope_title(listen.scope)
    for view, name in (
        (listen.view, title),
        *((listen.view.derive((peer,)), f"{scope_title(peer)} of {title}") for peer in listen.scope.all("peer")),
    ):
        if view[ALWAYS_DENY]:
            continue
        if not view[ENABLE_AUTHENTICATION]:
            where = "on this machine" if ip_address(listen.endpoint.host).is_loopback else "who can reach it"
            yield (
                view.chain[0].span,
                f"the console on {name} asks for no login: everybody {where} may do everything",
                "set Enable_Authentication = true and an Auth…Parameters option, or use a Unix socket",
                "open-console",
            )
        elif not _mechanisms(view):
            yield (
                view.chain[0].span,
                f"nobody can log in to the console on {name}: no Auth…Parameters option is set",
                'name a store, e.g. AuthScramSHA256Parameters = [ uri = "file:///etc/gsmtp/console_users" ]',
                "auth-without-store",
            )
    if listen.view[ENABLE_AUTHORIZATION] and next(_roles(configuration.tree.root), None) is None:
        yield (
            listen.scope.span,
            f"nobody may do anything on {title}: there is no Authorization stanza with a Role",
            'add Authorization { Role "root" { allow = ( ".*" ) } }',
            "no-roles",
        )


def _roles(root: Scope) -> Iterator[Scope]:
    for stanza in root.all("authorization"):
        yield from stanza.all("role")


def _mechanisms(view: View) -> list[str]:
    known = load_mechanisms()
    usable = (one for one in known if one.option and not one.needs_binding and not one.needs_certificate)
    return [one.name for one in usable if view[AUTH_PARAMETERS[one.option]]]


def _misplaced(root: Scope) -> Found:
    """Options that a Listen or a Peer may hold, and that mean nothing to the listener around it."""
    for listener in (*root.all("control_listener"), *root.all("esmtp_listener")):
        for scope in listener.walk():
            for setting in scope.settings.values() if scope is not listener else ():
                option = OPTIONS.find(scope.kind, setting.key)
                if option is None or option.unserved:
                    continue
                if listener.kind == "control_listener" and "control_listener" not in option.scopes:
                    yield setting.span, f"{setting.spelled} has no effect on the console", "take it away", "no-effect"
                elif listener.kind == "esmtp_listener" and option.scopes == ("control_listener", "listen", "peer"):
                    yield (
                        setting.span,
                        f"{setting.spelled} has no effect on sockets for mail",
                        "it belongs into Control_Listener",
                        "no-effect",
                    )
