"""The options that the configuration layer itself acts on, and the stanzas of the language.

`Pathway`, `Enable` and `Use_SSL` decide how views are chained and which sockets are to be opened, `Match_Cache_*`
bounds the views' cache; the rooms that serve them import them from here. Stanzas that gsmtp doesn't serve are read and
kept, and named once at load with the reason. Source: reference/config-language.md section 9,
reference/policy-and-context.md section 4.
"""

from __future__ import annotations

from gsmtp.config import kinds
from gsmtp.config.option import ANY_SOCKET, GLOBAL, INBOUND, Option, declare
from gsmtp.config.stanza import Name, NameKind, Stanza, declare_stanza

PATHWAY: Option[str] = declare(
    Option(
        name="Pathway",
        kind=kinds.line,
        default="default",
        scopes=("esmtp_listener", "listen", "peer"),
        doc="Attaches the Pathway stanza of that name: its options apply where listener, Listen and Peer set none.",
        source="Momentum: pathway",
    )
)

ENABLE: Option[bool] = declare(
    Option(
        name="Enable",
        kind=kinds.boolean,
        default=True,
        scopes=ANY_SOCKET,
        doc="Whether the socket is opened. A reload that sets it to false closes the socket and leaves its sessions "
        "alone.",
        source="Momentum: enable",
    )
)

TLS_OTHERS = "it concerns listeners that are not served"
AUTH_LATER = "users are looked up in file://, digest:// and by auth_ds only"


USE_SSL: Option[bool] = declare(
    Option(
        name="Use_SSL",
        kind=kinds.boolean,
        default=False,
        scopes=INBOUND,
        doc="TLS from the first byte (port 465). STARTTLS is not offered there.",
        dynamic="socket",
        source="RFC 8314 section 3.3",
    )
)

MATCH_CACHE_SIZE: Option[int] = declare(
    Option(
        name="Match_Cache_Size",
        kind=kinds.integer_between(1),
        default=16384,
        scopes=GLOBAL,
        doc="How many clients' resolved options (Peer matches) are remembered for each socket.",
        source="Momentum: match_cache_size",
    )
)

MATCH_CACHE_LIFE: Option[int] = declare(
    Option(
        name="Match_Cache_Life",
        kind=kinds.seconds,
        default=0,
        scopes=GLOBAL,
        unit="seconds",
        doc="How long a remembered Peer match is used; 0 means as long as the configuration lives.",
        source="Momentum: match_cache_life",
    )
)

LOCAL_CHANGES_FILE: Option[str] = declare(
    Option(
        name="Local_Changes_File",
        kind=kinds.path,
        default="",
        scopes=GLOBAL,
        doc="A file that is read after everything else, wherever it is named; that it doesn't exist is no error. "
        "``config writeback`` puts into it what no other file takes.",
        source="Momentum: local_changes_file",
    )
)

LOCAL_CHANGES_ONLY: Option[bool] = declare(
    Option(
        name="Local_Changes_Only",
        kind=kinds.boolean,
        default=False,
        scopes=GLOBAL,
        doc="Whether ``config writeback`` changes no file but Local_Changes_File, which must then be set.",
        source="Momentum: local_changes_only",
    )
)

LISTENERS = (
    "esmtp_listener",
    "control_listener",
    "eccluster_listener",
    "ecstream_listener",
    "http_listener",
    "msgcserver_listener",
    "xmpp_listener",
)
"""The listeners of the language; the first two are served."""

_GLOBAL = ("global",)

ESMTP_LISTENER = declare_stanza(
    Stanza(
        "ESMTP_Listener", Name.NONE, _GLOBAL, "Takes mail by SMTP: holds Listen and Peer stanzas and their defaults."
    )
)
CONTROL_LISTENER = declare_stanza(
    Stanza(
        "Control_Listener",
        Name.NONE,
        _GLOBAL,
        "The operator's console: holds Listen and Peer stanzas, of Unix sockets or TCP, and their defaults.",
    )
)
AUTHORIZATION = declare_stanza(Stanza("Authorization", Name.NONE, _GLOBAL, "Roles of the console's users."))
ROLE = declare_stanza(
    Stanza(
        "Role",
        Name.REQUIRED,
        ("authorization",),
        "What users with that role, or of that name, may do on the console.",
        NameKind.CASE,
    )
)
LISTEN = declare_stanza(
    Stanza("Listen", Name.REQUIRED, LISTENERS, "One socket, named by its endpoint.", NameKind.ENDPOINT)
)
PEER = declare_stanza(
    Stanza(
        "Peer",
        Name.REQUIRED,
        (*LISTENERS, "listen"),
        "Options for the clients of an address or network; the longest matching prefix that sets an option wins.",
        NameKind.NETWORK,
    )
)
PATHWAY_STANZA = declare_stanza(
    Stanza(
        "Pathway",
        Name.REQUIRED,
        ("global", "pathway_group"),
        "A bundle of options that the option Pathway attaches to a listener, a Listen or a Peer.",
        NameKind.CASE,
    )
)
PATHWAY_GROUP = declare_stanza(
    Stanza("Pathway_Group", Name.REQUIRED, _GLOBAL, "Pathways and the options they share.", NameKind.CASE)
)
THREADPOOL = declare_stanza(
    Stanza("ThreadPool", Name.REQUIRED, _GLOBAL, "A named pool of green or native threads, and its size.")
)
EVENT_LOOP = declare_stanza(
    Stanza("EventLoop", Name.REQUIRED, _GLOBAL, "How many worker processes share the sockets (docs/workers.md).")
)
SECURITY = declare_stanza(
    Stanza("Security", Name.NONE, _GLOBAL, "Whose rights the server has once its sockets are bound.")
)
DEBUG_FLAGS = declare_stanza(
    Stanza(
        "Debug_Flags", Name.NONE, _GLOBAL, "Which messages of the server's parts are logged: for each level the parts."
    )
)
DOMAIN = declare_stanza(
    Stanza(
        "Domain",
        Name.REQUIRED,
        ("global", "binding", "binding_group"),
        "How mail to a domain is handed on; the name is a domain, an address literal or a /regular expression/.",
        NameKind.DOMAIN,
    )
)


def _later(
    words: str,
    reason: str,
    *,
    name: Name = Name.OPTIONAL,
    inside: tuple[str, ...] = _GLOBAL,
    name_kind: NameKind = NameKind.NO_CASE,
    doc: str = "",
    free_form: bool = True,
) -> None:
    """Declare stanzas that are read and kept but have no effect."""
    for word in words.split():
        declare_stanza(
            Stanza(
                word,
                name,
                inside,
                doc or f"The {word} stanza of Momentum.",
                name_kind,
                served=False,
                reason=reason,
                free_form=free_form,
            )
        )


CLUSTER_NEVER = "gsmtp forms no clusters"
LISTENER_LATER = "its sockets are not opened"
_CONTENT = "messages are neither judged nor changed by it"
_LOGGER = "it writes no file: mainlog, rejectlog, paniclog and acctlog are written by ec_logger"
ADAPTIVE_NEVER = "delivery is not adaptive"
SNMP_NEVER = "gsmtp speaks no SNMP"
UNSAFE_NEVER = "a 250 always means that the message is on disk"

BINDING = declare_stanza(
    Stanza(
        "Binding",
        Name.REQUIRED,
        ("global", "binding_group"),
        "Options for the mail that policy sends by it (set_binding), its source address among them. "
        "Mail for which policy chose none goes by the one named default.",
        NameKind.CASE,
    )
)
BINDING_GROUP = declare_stanza(
    Stanza("Binding_Group", Name.REQUIRED, _GLOBAL, "Bindings and the options they share.", NameKind.CASE)
)
_later(
    "Host",
    "there are no options for single hosts",
    name=Name.REQUIRED,
    inside=("global", "binding", "binding_group"),
    name_kind=NameKind.DOMAIN,
    doc="Options for a host that mail is sent to.",
    free_form=False,
)
_later(
    "eccluster_listener ecstream_listener http_listener msgcserver_listener xmpp_listener",
    LISTENER_LATER,
    name=Name.NONE,
)
_later("cluster", CLUSTER_NEVER, name=Name.NONE)
_later("replicate topology node", CLUSTER_NEVER, inside=("cluster", "topology"))
_later("logs", CLUSTER_NEVER)
_later("manager", CLUSTER_NEVER, inside=("logs",))
_later("snmp snmp_traps", SNMP_NEVER)
_later("adaptive adaptive_backstore_leveldb adaptive_backstore_riak", ADAPTIVE_NEVER)
_later("adaptive_sweep_rule", ADAPTIVE_NEVER, inside=("global", "domain", "binding", "binding_group"))
_later("ac_auth smtp_auth_proxy auth_radius", AUTH_LATER)
_later("bounce_logger custom_logger chunk_logger reception_timing", _LOGGER)
_later("alerting", "it sends no alerts: policy in Python can (scriptlet)")
_later("smtp_cbv smtp_rcptto_proxy fbl sched", "gsmtp has no such module")
_later(
    "spf_v1 spf_macros senderid opendkim dkim domainkeys dk_sign dk_validate dkim_sign dkim_validate domain_signing "
    "url_ripper antivirus clamav brightmail cloudmark commtouch eleven symantec csapi fingerprint beik",
    _CONTENT,
)
_later("suppress_spool", UNSAFE_NEVER)
