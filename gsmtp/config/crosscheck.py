"""How the parts of a tree fit together: references, sockets, pools, pathways, relaying.

Each rule is one function over the whole tree; most give warnings, because the file is usable as it stands.
Source: reference/scopes-and-fallback.md, reference/threadpools-eventloops.md section 2.2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import ip_address

from gsmtp.config.common import PATHWAY, USE_SSL
from gsmtp.config.diagnostics import Problems, Span
from gsmtp.config.option import OPTIONS
from gsmtp.config.pools import pool_problem, predefined_pool
from gsmtp.config.scopes import Configuration, ListenStanza
from gsmtp.config.stanza import STANZAS
from gsmtp.config.suggest import did_you_mean
from gsmtp.config.titles import scope_title
from gsmtp.config.tree import Scalar, Scope, Setting, Tree

Rule = Callable[[Tree, Problems], None]
LateRule = Callable[[Configuration, Problems], None]

_LATE_RULES: list[LateRule] = []
_WITH_EVENT_LOOP = ("esmtp_listener", "listen")


def late_rule(rule: LateRule) -> LateRule:
    """Decorator: have a rule of another package applied to configurations without errors."""
    if rule not in _LATE_RULES:
        _LATE_RULES.append(rule)
    return rule


def cross_check(tree: Tree, problems: Problems) -> None:
    """Apply the rules. Those that need resolved values are left out when something before them is an error."""
    for rule in (
        _pathway_references,
        _event_loop_references,
        _several_event_loops,
        _double_pathways,
        _listen_hides_peer,
        _empty_listeners,
        _maildirs,
        _needed_options,
    ):
        rule(tree, problems)
    if problems.has_errors:
        return
    configuration = Configuration(tree)
    for late in (_pools, _use_ssl, _open_relays, *_LATE_RULES):
        late(configuration, problems)


def _text(setting: Setting) -> str:
    return setting.value.text if isinstance(setting.value, Scalar) else ""


def _settings_of(tree: Tree, key: str, kinds: tuple[str, ...]) -> Iterator[tuple[Scope, Setting]]:
    for listener in tree.root.all("esmtp_listener"):
        for scope in listener.walk():
            if scope.kind in kinds and key in scope.settings:
                yield scope, scope.settings[key]


# --- references -----------------------------------------------------------------------------------


def _pathways(tree: Tree) -> Iterator[Scope]:
    yield from tree.root.all("pathway")
    for group in tree.root.all("pathway_group"):
        yield from group.all("pathway")


def _pathway_references(tree: Tree, problems: Problems) -> None:
    names = [pathway.spelled or "" for pathway in _pathways(tree)]
    groups = [group.spelled for group in tree.root.all("pathway_group")]
    for scope, setting in _settings_of(tree, "pathway", PATHWAY.scopes):
        name = _text(setting)
        if name in names or name == PATHWAY.default or not isinstance(setting.value, Scalar):
            continue
        if name in groups:
            hint = f"'{name}' is a Pathway_Group, which can't be attached; name one of its Pathways"
        else:
            hint = did_you_mean(name, names) or f'add Pathway "{name}" {{ … }}'
        problems.error(
            setting.value.span,
            f"pathway '{name}' of {scope_title(scope)} is not defined",
            hint=hint,
            code="unknown-pathway",
        )


def _event_loop_references(tree: Tree, problems: Problems) -> None:
    names = [loop.spelled or "" for loop in tree.root.all("eventloop")]
    for scope, setting in _settings_of(tree, "event_loop", _WITH_EVENT_LOOP):
        name = _text(setting)
        if name and name.lower() not in (known.lower() for known in names):
            problems.error(
                setting.value.span,
                f"event loop '{name}' of {scope_title(scope)} is not defined",
                hint=did_you_mean(name, names) or f'add EventLoop "{name}" {{ Concurrency = 1 }}',
                code="unknown-event-loop",
            )


def _several_event_loops(tree: Tree, problems: Problems) -> None:
    """Workers are one group, whatever sockets the configuration gives to which EventLoop."""
    numbers = {}
    for loop in tree.root.all("eventloop"):
        setting = loop.settings.get("concurrency")
        numbers[(loop.spelled or "").lower()] = _text(setting) if setting is not None else "1"
    used = {_text(setting).lower(): setting for _, setting in _settings_of(tree, "event_loop", _WITH_EVENT_LOOP)}
    used = {name: setting for name, setting in used.items() if name in numbers}
    if len({numbers[name] for name in used}) > 1:
        most = max((number for name in used if (number := numbers[name]).isdigit()), key=int, default="1")
        last = list(used.values())[-1]
        problems.warning(
            last.value.span,
            f"several event loops of different size are named: {most} workers serve all sockets",
            hint="name the same EventLoop everywhere",
            code="event-loops",
        )


def _double_pathways(tree: Tree, problems: Problems) -> None:
    first: dict[str, Scope] = {}
    grouped = [pathway for group in tree.root.all("pathway_group") for pathway in group.all("pathway")]
    for pathway in (*grouped, *tree.root.all("pathway")):
        name = pathway.spelled or ""
        known = first.setdefault(name, pathway)
        if known is pathway:
            continue
        both_grouped = pathway.parent is not None and pathway.parent.kind == "pathway_group"
        problems.warning(
            pathway.span,
            f"pathway '{name}' is defined in {scope_title(known.parent or tree.root)} too",
            hint="only the first group's is used"
            if both_grouped
            else "both apply: the one in the group first, then this one",
            code="double-pathway",
            related=[("the other one is here", known.span)],
        )


# --- stanzas --------------------------------------------------------------------------------------


def _listen_hides_peer(tree: Tree, problems: Problems) -> None:
    """A Listen's own value goes before that of the listener's Peers, which may surprise.

    Source: reference/scopes-and-fallback.md section 2.
    """
    for listener in tree.root.all("esmtp_listener"):
        by_option: dict[str, Scope] = {}
        for peer in listener.all("peer"):
            for key in peer.settings:
                by_option.setdefault(key, peer)
        for listen in listener.all("listen") if by_option else ():
            for key, setting in listen.settings.items():
                hidden = by_option.get(key)
                option = OPTIONS.find("listen", key)
                if hidden is None or (option is not None and option.merges):
                    continue
                problems.warning(
                    setting.span,
                    f"{setting.spelled} of {scope_title(listen)} goes before the listener's {scope_title(hidden)}",
                    hint=f"to let the Peer win, put it into a Peer stanza of {scope_title(listen)}",
                    code="hidden-peer",
                    related=[("the Peer sets it here", hidden.settings[key].span)],
                )


def _empty_listeners(tree: Tree, problems: Problems) -> None:
    for listener in tree.root.all("esmtp_listener"):
        if next(listener.all("listen"), None) is None and listener.spans:
            problems.warning(
                listener.span,
                "ESMTP_Listener holds no Listen stanza: it opens no socket",
                hint='add Listen ":25" { }',
                code="no-listen",
            )


def _maildirs(tree: Tree, problems: Problems) -> None:
    for maildir in tree.root.all("maildir"):
        settings = maildir.settings
        if "basedir" not in settings or _text(settings["basedir"]) == "":
            problems.error(
                maildir.span,
                f"{scope_title(maildir)} has no basedir",
                hint='set basedir = "/var/mail"',
                code="missing-option",
            )
        if not {"domains", "domain", "all_domains"} & set(settings):
            problems.warning(
                maildir.span,
                f"{scope_title(maildir)} names no domains: no mail is stored in it",
                hint='set domains = ( "example.com" ), or all_domains = true',
                code="missing-option",
            )


def _needed_options(tree: Tree, problems: Problems) -> None:
    for scope in tree.root.walk():
        stanza = STANZAS.get(scope.kind)
        for name, sample in stanza.needs.items() if stanza is not None and stanza.served else ():
            if name not in scope.settings:
                problems.error(
                    scope.span, f"{scope_title(scope)} has no {name}", hint=f"set {sample}", code="missing-option"
                )


# --- sockets and pools ----------------------------------------------------------------------------


def _pools(configuration: Configuration, problems: Problems) -> None:
    for listen in (*configuration.listens, *configuration.control_listens):
        problem = pool_problem(listen.scope, listen.view, configuration.has_pool)
        setting = _first_setting(listen.scope, "pool_name") or _first_setting(listen.scope, "concurrency")
        if setting is None:
            continue
        if problem:
            names = [scope.spelled or "" for scope in configuration.tree.root.all("threadpool")]
            hint = did_you_mean(_text(setting), names) if setting.key == "pool_name" else ""
            problems.warning(
                setting.span,
                problem,
                hint=hint or 'add ThreadPool "NAME" { Concurrency = 4 } and Pool_Name = "NAME"',
                code="unknown-pool",
            )
            continue
        _concurrency(configuration, listen, problems)


def _concurrency(configuration: Configuration, listen: ListenStanza, problems: Problems) -> None:
    wanted = _first_setting(listen.scope, "concurrency")
    pool = _first_setting(listen.scope, "pool_name")
    if wanted is None or pool is None or not _text(wanted).isdigit():
        return
    name = _text(pool)
    predefined = predefined_pool(name)
    has = predefined.concurrency if predefined else 0
    related: list[tuple[str, Span]] = []
    view = configuration.threadpool(name)
    if view is not None:
        setting = view.chain[0].settings.get("concurrency")
        has = int(_text(setting)) if setting is not None else has
        related.append(("the pool is here", setting.span if setting is not None else view.chain[0].span))
    if int(_text(wanted)) > has:
        problems.warning(
            wanted.span,
            f'Concurrency of {scope_title(listen.scope)} is more than ThreadPool "{name}" has: {has} is used',
            code="concurrency",
            related=related,
        )


def _first_setting(listen: Scope, key: str) -> Setting | None:
    """What a Listen sets, or else its listener."""
    found = listen.settings.get(key)
    if found is None and listen.parent is not None:
        found = listen.parent.settings.get(key)
    return found


def _use_ssl(configuration: Configuration, problems: Problems) -> None:
    """TLS from the first byte and STARTTLS exclude each other on one socket (reference/esmtp-listener.md section 8)."""
    told: set[int] = set()
    extensions = OPTIONS.find("listen", "smtp_extensions")
    if extensions is None:
        return  # the machine's options aren't loaded
    for listen in configuration.listens:
        ssl, listed = listen.view.origin(USE_SSL), listen.view.origin(extensions)
        if not ssl.value or listed.setting is None or id(listed.setting) in told:
            continue
        if any(word.upper() == "STARTTLS" for word in listed.value):
            told.add(id(listed.setting))
            problems.warning(
                listed.setting.span,
                f"STARTTLS is not offered on {scope_title(listen.scope)}: Use_SSL is true there",
                hint="take one of them away",
                code="tls-twice",
            )


# --- relaying -------------------------------------------------------------------------------------


def _open_relays(configuration: Configuration, problems: Problems) -> None:
    option = OPTIONS.find("listen", "open_relay")
    if option is None:
        return
    seen: set[int] = set()
    for listen in configuration.listens:
        if _is_local(listen):
            continue
        everyone = [
            peer
            for scope in (listen.scope, listen.scope.parent)
            for peer in (scope.all("peer") if scope is not None else ())
            if (peer.spelled or "").endswith("/0")
        ]
        for view in (listen.view, *(listen.view.derive((peer,)) for peer in everyone)):
            origin = view.origin(option)
            if origin.value and origin.setting is not None and id(origin.setting) not in seen:
                seen.add(id(origin.setting))
                problems.warning(
                    origin.setting.span,
                    f"{origin.setting.spelled} is true for every client of {scope_title(listen.scope)}: an open relay",
                    hint="put it in a Peer stanza that names the networks that may relay",
                    code="open-relay",
                )


def _is_local(listen: ListenStanza) -> bool:
    return listen.endpoint.family == "unix" or ip_address(listen.endpoint.host).is_loopback
