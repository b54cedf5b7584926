"""What the process is after it has bound its sockets: files limit, chroot, groups, user, capabilities.

Source: Momentum's Security scope and Server_Max_File_Descriptors (reference/esmtp-listener.md section 13).
"""

from __future__ import annotations

import ctypes
import grp
import importlib
import logging
import os
import pwd
import resource
from collections.abc import Callable
from typing import Any

import gevent

from gsmtp.config.option import Option
from gsmtp.config.view import View
from gsmtp.core.errors import GsmtpError
from gsmtp.runtime.options import CAPABILITIES, CHROOT, GROUP, SERVER_MAX_FILE_DESCRIPTORS, SUPPLEMENTAL_GROUPS, USER

log = logging.getLogger("gsmtp.start")
_PR_SET_KEEPCAPS = 8  # linux/prctl.h

_NEEDED_LATER = (
    *("encodings.idna", "encodings.latin_1", "encodings.unicode_escape", "tempfile"),
    *("gsmtp.config.inplace_yaml", "gsmtp.config.recover", "gsmtp.config.yaml_reader"),
    *("gsmtp.config.yaml_printer", "gsmtp.control.across", "gsmtp.control.queue_work", "gsmtp.delivery.tracing"),
    *("gsmtp.delivery.amqp.budget", "gsmtp.delivery.amqp.publisher", "gsmtp.delivery.handler_runs"),
    *("gsmtp.delivery.mailer", "gsmtp.delivery.receiver"),
    *("gsmtp.runtime.periodic", "gsmtp.runtime.programs", "gsmtp.runtime.tls_openssl", "gsmtp.runtime.tls_stdlib"),
    *("argon2", "bcrypt", "psycopg.pq"),
)
"""Imported when first needed otherwise; behind a chroot, or for a user who may not read them, that is too late."""


class IdentityError(GsmtpError):
    """The process can't become what Security asks for."""


def raise_file_limit(view: View) -> None:
    """Raise RLIMIT_NOFILE to Server_Max_File_Descriptors, or to the hard limit where that is lower."""
    wanted = view[SERVER_MAX_FILE_DESCRIPTORS]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and wanted > hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
            return
        except (ValueError, OSError):
            log.debug("server_max_file_descriptors = %d is above the hard limit, using %d", wanted, hard)
            wanted = hard
    if soft == resource.RLIM_INFINITY or soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def owner_of(security: View | None) -> tuple[int, int]:
    """User and group ids that Security asks for, -1 where it doesn't. Raises IdentityError for unknown names."""
    if security is None:
        return -1, -1
    user, group = security[USER], security[GROUP]
    uid = gid = -1
    if user:
        try:
            entry = pwd.getpwuid(int(user)) if user.isdigit() else pwd.getpwnam(user)
        except KeyError:
            raise IdentityError(f"{_place(security, USER)}this machine has no user '{user}'") from None
        uid, gid = entry.pw_uid, entry.pw_gid
    return uid, _group_id(security, GROUP, group) if group else gid


def _group_id(security: View, option: Option[Any], name: str) -> int:
    try:
        return int(name) if name.isdigit() else grp.getgrnam(name).gr_gid
    except KeyError:
        raise IdentityError(f"{_place(security, option)}this machine has no group '{name}'") from None


def _place(security: View, option: Option[Any] | None = None) -> str:
    """The file and line of an option of Security, or of the stanza, as the beginning of a message."""
    if not security.chain:
        return ""
    stanza = security.chain[0]
    setting = stanza.settings.get(option.key) if option else None
    return f"{setting.value.span if setting else stanza.span}: error: "


def inside(security: View | None, path: str) -> str:
    """Where a path of the configuration is before the chroot that Security asks for."""
    root = security[CHROOT] if security is not None else ""
    return os.path.join(root, path.lstrip("/")) if root else path


def _import_what_is_needed_later() -> None:
    for name in _NEEDED_LATER:
        try:
            importlib.import_module(name)
        except ImportError:
            pass  # an extra that isn't installed: who needs it has been told
    gevent.get_hub().resolver  # noqa: B018  (makes it, and imports it)


def become(security: View | None) -> None:
    """Chroot, drop groups and user, keep capabilities, in the order that works. Raises IdentityError."""
    if security is None:
        return
    uid, gid = owner_of(security)
    groups = [_group_id(security, SUPPLEMENTAL_GROUPS, name) for name in security[SUPPLEMENTAL_GROUPS]]
    if (
        uid == os.getuid()
        and gid in (-1, os.getgid())
        and not (groups or bool(security[CHROOT]) or bool(security[CAPABILITIES]))
    ):
        return
    if os.getuid() != 0:
        raise IdentityError(
            f"{_place(security)}Security names another user, group or root directory, and only root can change to them"
        )
    _import_what_is_needed_later()
    try:
        _change(uid, gid, groups, security[CHROOT], security[CAPABILITIES])
    except OSError as error:
        raise IdentityError(f"{_place(security)}can't take the identity that Security asks for: {error}") from error


def work_as(security: View | None) -> Callable[[], None] | None:
    """Be the user and group that Security asks for, as far as files are concerned, with the way back open.

    For the parent of several processes, which become that user for good: to replace one that died, it must be able to
    start one with the rights that the first ones had.

    Returns:
        What takes the rights back in a process that was forked off; None when nothing has changed.

    Raises:
        IdentityError: it can't.
    """
    if security is None or os.getuid() != 0:
        return None  # the workers say whether they can become what is asked for
    if security[CHROOT]:
        raise IdentityError(
            f"{_place(security, CHROOT)}a root directory of its own is for a server of one process only"
        )
    uid, gid = owner_of(security)
    groups = [_group_id(security, SUPPLEMENTAL_GROUPS, name) for name in security[SUPPLEMENTAL_GROUPS]]
    if uid in (-1, 0) and gid in (-1, os.getgid()) and not groups:
        return None
    _import_what_is_needed_later()
    before, before_gid = os.getgroups(), os.getegid()
    try:
        if uid != -1 or groups:
            os.setgroups(groups)
        if gid != -1:
            os.setegid(gid)
        if uid != -1:
            os.seteuid(uid)
    except OSError as error:
        raise IdentityError(f"{_place(security)}can't take the identity that Security asks for: {error}") from error

    def take_back() -> None:
        os.seteuid(0)
        os.setegid(before_gid)
        os.setgroups(before)

    return take_back


def _change(uid: int, gid: int, groups: list[int], root: str, capabilities: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    caps = _read_capabilities(capabilities) if capabilities else None
    if root:
        os.chroot(root)
        os.chdir("/")
    if uid != -1 or groups:
        os.setgroups(groups)
    if gid != -1:
        os.setgid(gid)
    if uid != -1:
        if caps is not None and libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_KEEPCAPS)")
        os.setuid(uid)
    if caps is not None:
        library, state = caps
        if library.cap_set_proc(ctypes.c_void_p(state)) != 0:
            raise OSError(ctypes.get_errno(), "cap_set_proc")
        library.cap_free(ctypes.c_void_p(state))


def _read_capabilities(text: str) -> tuple[ctypes.CDLL, int]:
    """Parse the text with libcap's own ``cap_from_text``, before a chroot hides the library."""
    try:
        library = ctypes.CDLL("libcap.so.2", use_errno=True)
    except OSError as error:
        raise IdentityError("Security sets capabilities, which need the library libcap (libcap2)") from error
    library.cap_from_text.restype = ctypes.c_void_p
    state = library.cap_from_text(text.encode())
    if not state:
        raise IdentityError(f"capabilities = {text!r} is not a text that cap_from_text understands")
    return library, int(state)
