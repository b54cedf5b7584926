"""Names that Momentum documents and gsmtp doesn't serve: taken without an error, named once at load with the reason.

A row is (scopes, reason, names), names as ``name=default`` separated by semicolons. A name that comes to be served is
declared beside its effect and taken out here; a test compares both with the documented vocabulary.
Source: reference/options.csv.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gsmtp.config.common import (
    ADAPTIVE_NEVER,
    CLUSTER_NEVER,
    LISTENER_LATER,
    SNMP_NEVER,
    TLS_OTHERS,
    UNSAFE_NEVER,
)
from gsmtp.config.option import GLOBAL, INBOUND, OUTBOUND

_BOUNCES_IN = "bounces that come in go on to their recipients as other mail does; none is evaluated"
_CONTEXT = "contexts are written with the message and leave memory with it"
_DNS = "names are looked up when mail is to go there, and a failed look-up is tried again until the message expires"
_HTTP = "mail is handed on by ESMTP, SMTP and LMTP only"
_INTERNAL = "it tunes a part of Momentum that gsmtp doesn't have"
_LOOPS = "one event loop does everything"
_MEMORY = "memory is not watched yet; what a session can hold is bounded"
_QUEUE = "it tunes Momentum's queue; gsmtp's has no such part"
_SIGN = "messages are not signed"
_TRACKING = "messages are never changed for tracking"

_OTHERS = ("ecstream_listener", "http_listener", "xmpp_listener")
_UNSERVED_LISTENERS = ("eccluster_listener", *_OTHERS)

_ROWS: tuple[tuple[tuple[str, ...], str, str], ...] = (
    # Inbound.
    (_OTHERS, TLS_OTHERS, "tls_allow_renegotiation=true; tls_verify_mode; tls_client_ca"),
    (("ecstream_listener",), TLS_OTHERS, "tls_verified_peer_can_relay=false"),
    (("ecstream_listener", "http_listener"), TLS_OTHERS, "use_ssl=false"),
    ((*_OTHERS,), TLS_OTHERS, "tls_certificate; tls_ciphers; tls_key"),
    (("ecstream_listener", "http_listener"), TLS_OTHERS, "tls_protocols"),
    (
        GLOBAL,
        "OpenSSL is used as Python brings it",
        "crypto_engine; crypto_lock_method=EC_SSL_DEFAULTLOCK; ssl_lock_method=mutex",
    ),
    (
        ("http_listener", "listen", "pathway", "peer"),
        "it concerns the HTTP listener only",
        "tls_verified_peer_is_authorized=false",
    ),
    (("http_listener",), LISTENER_LATER, "always_allow=false; always_deny=false"),
    (("http_listener", "xmpp_listener"), LISTENER_LATER, "authdigestmd5parameters; authplainparameters"),
    (("esmtp_listener",), "roles are asked for on the console only", "authorizationparameters"),
    (("http_listener",), LISTENER_LATER, "enable_authentication"),
    (GLOBAL, "Timeout in Control_Listener has taken its place", "control_client_timeout=60"),
    (
        INBOUND,
        _TRACKING,
        "click_tracking_enabled=false; click_tracking_scheme=http; open_tracking_enabled=false; "
        "open_tracking_scheme=http; tracking_domain=localhost:8080; tracking_link_expiry=31536000",
    ),
    (INBOUND, "messages are never changed for mobile devices", "mcmt_reception=passthru"),
    (("binding", "listen"), CLUSTER_NEVER, "duravip_preference; enable_duravip"),
    (("listen",), CLUSTER_NEVER, "duravip_follow"),
    (
        ("http_listener", "listen", "pathway", "pathway_group", "peer"),
        "it concerns the HTTP listener only",
        "disable_chunked=false; log_requests_to_paniclog=false; max_request_size",
    ),
    (
        ("ecstream_listener", "listen", "pathway", "pathway_group", "peer"),
        "it concerns the ECStream listener only",
        "ecstream_idle_time=300; ecstream_max_batch_size=10000",
    ),
    # Listeners that are not opened.
    (
        (*_UNSERVED_LISTENERS, "msgcserver_listener"),
        LISTENER_LATER,
        "accept_queue_backlog=0; enable=true; file_mode=0660",
    ),
    (
        _UNSERVED_LISTENERS,
        LISTENER_LATER,
        "concurrency=0; disable_nagle_algorithm=false; events_per_iter=0; listen_backlog=500; pool_name; "
        "tcp_recv_buffer_size=4096; tcp_send_buffer_size=4096",
    ),
    (("ecstream_listener",), LISTENER_LATER, "event_loop; pathway"),
    (("http_listener", "xmpp_listener"), LISTENER_LATER, "idle_time=300"),
    # Process and spool.
    (GLOBAL, "gsmtp has no such license", "license"),
    (
        GLOBAL,
        UNSAFE_NEVER,
        "_unsafe_spool=false",
    ),
    (GLOBAL, "a spool record that can't be read is never removed", "unlink_on_spool_in_failure=true"),
    (GLOBAL, _CONTEXT, "keep_message_dicts_in_memory=false"),
    (GLOBAL, _MEMORY, "memory_goal=90; memory_hwm=95"),
    (
        GLOBAL,
        _INTERNAL,
        "expensive_batch_assessment=false; growbuf_size=16384; initial_hash_buckets=32; malloc2mmap_threshold=4092; "
        "masterdb_file=/var/log/ecelerity/ecdb; max_timed_events_per_iter=1024; "
        "mime_parse_large_messages_during_reception=true; pcre_cache_size=100; pcre_cache_ttl=300; "
        "permastore_interval=300; scheduler; signing_stats=all; siv_throttle_cache_size=100, 1000; "
        "umem_reap_interval=1800; use_iflist_cache=0; use_mmap=false; use_sendfile=false",
    ),
    (GLOBAL, _LOOPS, "delivery_pool; maintainer_pool"),
    (("cluster", "global"), "the kernel tunes the buffers of outgoing connections", "tcp_buffer_size=32768"),
    # Handing on.
    (("domain", "global"), _BOUNCES_IN, "bounce_behavior=pass; bounce_pattern"),
    (GLOBAL, _BOUNCES_IN, "bounce_suppress_list"),
    (GLOBAL, "bounces are always written in native threads of the pool IO", "async_bounce_rendering=true"),
    (GLOBAL, "a bounce is stored together with the failure that it tells of", "soft_bounce_drain_rate=100"),
    (
        OUTBOUND,
        "bodies are handed on as they came, which keeps signatures whole, with BODY= where the next host offers it",
        "send_8bitmime=no; transform_8bitmime_content=ifneeded",
    ),
    (OUTBOUND, _SIGN, "domainkeys; opendkim_sign=true"),
    (OUTBOUND, "replies are logged as they came", "response_transcode_pattern; response_transcode_replace"),
    (OUTBOUND, "messages are never changed for feedback loops", "enable_fbl_header_insertion"),
    (
        OUTBOUND,
        _QUEUE,
        "connect_timeout_to_delay=900; connection_allocation_aggressiveness=normal; drop_body_after_trans_fail=3; "
        "max_resident_active_queue=250",
    ),
    (
        GLOBAL,
        _QUEUE,
        "address_metrics_cleanse_interval=3600; address_metrics_lifetime=1800; clear_mail_queue_maintainers=true; "
        "delayed_queue_scan_interval=15; disk_queue_drain_rate=100; inline_transfail_processing=1; "
        "mail_queue_check_vm_interval=60; max_resident_transfails=100; "
        "migrate_connections_between_sibling_domains=true; reserve_maintenance_interval=15; "
        "transfail_drain_rate=100",
    ),
    (("binding", "binding_group", "global"), _QUEUE, "delayed_binding_domain_fuzz=0; max_resident_messages=32768"),
    (("binding", "domain", "global"), _QUEUE, "delivery_response_timeout=5000"),
    (GLOBAL, "gsmtp sets up no addresses of the system", "binding_auto_replumb; binding_auto_replumb_interval"),
    (GLOBAL, 'mail for which policy chose no binding goes by Binding "default"', "default_binding=normal"),
    (OUTBOUND, "all names are looked up before the first connection, as with true", "fully_resolve_before_smtp=true"),
    (
        ("domain", "global"),
        "mail for a domain none of whose hosts can be reached is put off at once, without a connection, for as long as "
        "Host_Failure_Retry says",
        "mx_failures_to_delay=50",
    ),
    (GLOBAL, _DNS, "dns_expire_interval=10"),
    (("domain", "global"), _DNS, "dns_failures_to_purge=10"),
    (
        OUTBOUND,
        _HTTP,
        "apn_expiry=yes; ecstream_port=1825; ecstream_timeout=600; gcm_application_id; gcm_authorization_token_id; "
        "gcm_delay_while_idle=false; gcm_dry_run=false; gcm_ttl=-1; http_basic_auth; http_host; http_method=POST; "
        "http_uri; http_version=1.1",
    ),
    (("domain",), _HTTP, "xmpp_dialback_secret; xmpp_role"),
    (
        OUTBOUND,
        ADAPTIVE_NEVER,
        "adaptive_adjustment_interval=60; adaptive_alert_email_destination; adaptive_attempt_threshold=2000; "
        "adaptive_body_timeout; adaptive_default_suspension=4 hours; adaptive_ehlo_timeout; adaptive_enabled=false; "
        "adaptive_fbl_volume_threshold=20000; adaptive_idle_timeout; adaptive_mailfrom_timeout; "
        "adaptive_max_deliveries_per_connection; adaptive_max_outbound_connections; adaptive_max_recipients_per_batch; "
        "adaptive_max_recipients_per_connection; adaptive_max_resident_active_queue; adaptive_max_retries; "
        "adaptive_max_retry_interval; adaptive_notification_events=NULL; adaptive_notification_interval=3600; "
        "adaptive_outbound_throttle_messages; adaptive_positive_adjustment_interval=3600; adaptive_rcptto_timeout; "
        "adaptive_rejection_rate_suspension_percentage=20; adaptive_retry_fuzz=4096; adaptive_retry_interval; "
        "adaptive_rset_timeout; adaptive_scope=auto; adaptive_sweep_rule_enabled=1",
    ),
    (
        ("adaptive_sweep_rule",),
        ADAPTIVE_NEVER,
        'codes; high_action="suspend" "4 hours"; high_threshold=10; low_action="throttle" "down"; low_threshold=5',
    ),
    # Clusters, logs, SNMP.
    ((*OUTBOUND, "host"), CLUSTER_NEVER, "cluster_scope_max_outbound_connections"),
    (("binding", "binding_group", "global"), CLUSTER_NEVER, "cluster_server_max_outbound_connections"),
    (("binding", "domain", "global", "host"), CLUSTER_NEVER, "cluster_max_outbound_connections=-1"),
    (
        ("binding_group", "domain", "global"),
        CLUSTER_NEVER,
        "cluster_outbound_throttle_connections; cluster_outbound_throttle_messages",
    ),
    (
        ("cluster",),
        CLUSTER_NEVER,
        "arp_all_hosts=true; cluster_group=ec_cluster; control_group=ec_console; debug_level=error; "
        "duravip_balance_set_size=1; enabled=true; heartbeat_start_delay=15; heartbeats_per_sec=1; "
        "if_check_interval=30; "
        "if_down_limit=4; log_active_interval=1; log_group; log_idle_interval=10; logs; nodeaddr; nodename; "
        "unconditional_rebind=true; view_balance_interval=10; view_broadcast_interval=0; view_mature_time=5",
    ),
    (("logs",), CLUSTER_NEVER, "control_cache; dir_mode; file_mode; logfile; max_idle; max_open"),
    (("snmp",), SNMP_NEVER, "address; community=public; state=1; syscontact; sysdescription; syslocation"),
    (("snmp_traps",), SNMP_NEVER, "state=0; trap_destination; trap_interval=60; watch_variables"),
)


@dataclass(frozen=True, slots=True)
class Accepted:
    """A documented name that has no effect here.

    Args:
        name: in lower case.
        scopes: where it may be set.
        default: Momentum's default as text, or "".
        reason: why it has no effect.
    """

    name: str
    scopes: tuple[str, ...]
    default: str
    reason: str


def _read_rows() -> Iterator[Accepted]:
    for scopes, reason, names in _ROWS:
        for item in names.split(";"):
            name, _, default = item.strip().partition("=")
            yield Accepted(name, tuple(sorted(scopes)), default, reason)


ACCEPTED: tuple[Accepted, ...] = tuple(sorted(_read_rows(), key=lambda row: (row.name, row.scopes)))

_BY_PLACE: dict[tuple[str, str], Accepted] = {(scope, row.name): row for row in ACCEPTED for scope in row.scopes}


def find(scope: str, name: str) -> Accepted | None:
    """The row of that name (any case) that is valid in that scope (lower case)."""
    return _BY_PLACE.get((scope, name.lower()))


def named(name: str) -> list[Accepted]:
    """All rows of a name, whatever their scopes."""
    key = name.lower()
    return [row for row in ACCEPTED if row.name == key]


def in_scope(scope: str) -> list[Accepted]:
    """The rows valid in a scope, by name."""
    return [row for row in ACCEPTED if scope in row.scopes]
