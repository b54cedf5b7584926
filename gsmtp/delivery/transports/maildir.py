r"""Stores mail in Maildirs: ``Basedir/[domain/]user/{tmp,new,cur}``.

A message is written to ``tmp/``, synced, renamed into ``new/``, and ``new/`` is synced; all of it in a native thread of
the stanza's own, so that a network file system that hangs holds up the mail of its stanza and nothing else.
Its file name comes from message id and recipient, so that a message that is stored again after a crash replaces the
first copy as long as nobody moved that to ``cur/``.

The local part is the mailbox, in lower case as Postfix's virtual(8) looks mailboxes up; quotes are taken off first.
What could leave the directory (``/``, NUL, a leading dot) is refused. A file is the message as accepted, CR LF line
ends and all, with a Return-Path line in front (RFC 5321 section 4.4) unless reception put one there
(``RFC2822_Trace_Headers``).

Source: reference/policy-and-context.md section 4 (maildir).
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass

from gsmtp.config.view import View
from gsmtp.core.envelope import Envelope, Recipient
from gsmtp.core.errors import DeliveryError, SpoolError
from gsmtp.delivery.options import (
    ALL_DOMAINS,
    BASEDIR,
    CREATE_USERS,
    DIRMODE,
    DOMAIN_IN_PATH,
    DOMAINS,
    ENABLED,
    FILEMODE,
)
from gsmtp.delivery.stanza_threads import StanzaThreads
from gsmtp.delivery.transport import Job, Outcome, Tools, Transport, transport
from gsmtp.spool.base import StoredBody

STORED = "250 2.0.0 stored"
NO_SUCH_USER = "550 5.1.1 [internal] no such mailbox"
NOTHING_THERE = "451 4.3.0 [internal] no mailboxes at all, is a disk missing?"
NO_ANSWER = "451 4.3.0 [internal] no answer from the file system"
ANSWER_S = 60.0
"""How long a copy may take. What is late is tried again, and replaces the copy that may come yet."""
THREADS = 4
"""Of a stanza."""
BAD_NAME = "550 5.1.1 [internal] this local part can't be a mailbox"
_RETURN_PATH = b"return-path:"
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK  # nobody's FIFO holds a thread
_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, slots=True)
class _Job:
    """What a native thread needs to store one copy."""

    basedir: str
    folders: tuple[str, ...]
    name: str
    head: bytes
    create: bool
    dirmode: int
    filemode: int


@transport("maildir")
class MaildirTransport(Transport):
    """Stores in the Maildirs of one stanza. A copy that is stored twice replaces itself: no mark is needed."""

    stanza = "maildir"
    order = 10

    def __init__(self, tools: Tools) -> None:
        super().__init__(tools)
        self._threads = StanzaThreads(lambda _title: THREADS)
        self._at_work: set[tuple[str, ...]] = set()
        """Copies that are being written: a late one must not meet itself."""

    @classmethod
    def takes(cls, view: View, domain: str) -> bool:
        """All_Domains and Domains say."""
        return bool(view[ENABLED] and (view[ALL_DOMAINS] or view[DOMAINS].matches(domain)))

    def deliver(self, job: Job) -> list[Outcome]:
        """See `Transport.deliver`."""
        view = job.view
        if not view[BASEDIR]:
            raise DeliveryError("451 4.3.5 [internal] the maildir stanza has no basedir")
        hop = f"maildir {view.chain[0].spelled or ''}".strip()
        places = {id(recipient): index for index, recipient in enumerate(job.envelope.recipients)}
        replies: list[str] = []
        for recipient in job.recipients:
            if replies and replies[-1].startswith(NO_ANSWER):
                replies.append(replies[-1])  # the others needn't wait for the same
            else:
                replies.append(self._deliver_one(job.envelope, job.body, recipient, places[id(recipient)], view))
        return [Outcome(int(reply[:3]), reply, hop, remote="127.0.0.1") for reply in replies]

    def _deliver_one(self, envelope: Envelope, body: StoredBody, recipient: Recipient, index: int, view: View) -> str:
        """The reply."""
        from gsmtp.runtime.calls import DeadlinePassed

        folders = mailbox_folders(recipient.address, recipient.domain, view[DOMAIN_IN_PATH])
        if folders is None:
            return BAD_NAME
        job = _Job(
            basedir=view[BASEDIR],
            folders=folders,
            name=file_name(envelope, index, self.tools.hostname),
            head=f"Return-Path: <{envelope.reverse_path}>\r\n".encode("utf-8", "surrogateescape"),
            create=view[CREATE_USERS],
            dirmode=view[DIRMODE],
            filemode=view[FILEMODE],
        )
        no_answer = f"{NO_ANSWER} within {ANSWER_S:g} s: {job.basedir}"
        copy = (job.basedir, *folders, job.name)
        if copy in self._at_work:
            return no_answer
        has_begun = False

        def store() -> str:
            nonlocal has_begun
            has_begun = True
            try:
                return _store(job, body)
            finally:
                self._at_work.discard(copy)

        self._at_work.add(copy)
        try:
            return self._threads.calls.in_thread(str(view.chain[0]), ANSWER_S, store)
        except DeadlinePassed:
            if not has_begun:
                self._at_work.discard(copy)
            return no_answer

    def close(self) -> None:
        """See `Transport.close`."""
        self._threads.close()


def mailbox_folders(address: str, domain: str, domain_in_path: bool) -> tuple[str, ...] | None:
    """The folders from Basedir down to a recipient's Maildir, or None for a local part that can't be one.

    >>> mailbox_folders("Ann.Lee@example.org", "example.org", True)
    ('example.org', 'ann.lee')
    """
    local = address.rpartition("@")[0] if domain else address
    user = _unquote(local).lower()
    if not _is_folder(user):
        return None
    if domain_in_path and domain:
        return (domain, user) if _is_folder(domain) else None
    return (user,)


def file_name(envelope: Envelope, index: int, hostname: str) -> str:
    """The name of a recipient's copy: the same each time, different for each message and recipient."""
    unique = f"{envelope.message_id.replace('/', '-')}_{index}"
    host = hostname.replace("/", "\\057").replace(":", "\\072") or "localhost"
    return f"{int(envelope.received_wall)}.{unique}.{host}"


def _unquote(local: str) -> str:
    if not (len(local) >= 2 and local.startswith('"') and local.endswith('"')):
        return local
    plain: list[str] = []
    characters = iter(local[1:-1])
    for character in characters:
        plain.append(next(characters, "") if character == "\\" else character)
    return "".join(plain)


def _is_folder(name: str) -> bool:
    if not name or name.startswith(".") or "/" in name:
        return False
    if any(character < " " or character == "\x7f" for character in name):
        return False
    return len(name.encode("utf-8", "surrogateescape")) <= 255


def _store(job: _Job, body: StoredBody) -> str:
    """Store one copy and return the reply. Runs in a native thread."""
    try:
        maildir = os.path.join(job.basedir, *job.folders)
        temporary, final = os.path.join(maildir, "tmp", job.name), os.path.join(maildir, "new", job.name)
        try:
            _write(job, body, temporary, final)
        except FileNotFoundError:  # the first message for a mailbox, or none that we may make
            if not job.create and not os.path.isdir(maildir):
                return _missing(job)
            _make_maildir(job, maildir)
            _write(job, body, temporary, final)
    except SpoolError as error:
        return f"451 4.3.0 [internal] the message can't be read: {error}"
    except OSError as error:
        what = f"{error.strerror or error}: {error.filename}" if error.filename else f"{error.strerror or error}"
        return f"452 4.2.2 [internal] {what}" if error.errno in _FULL else f"451 4.3.0 [internal] {what}"
    return STORED


def _missing(job: _Job) -> str:
    """The reply for a mailbox that isn't there: nobody's, unless its disk isn't there. Raises OSError."""
    with os.scandir(job.basedir) as found:  # raises when it is missing itself
        if next(found, None) is None:
            return f"{NOTHING_THERE}: {job.basedir}"
    path = job.basedir
    for folder in job.folders:
        path = os.path.join(path, folder)
        if os.path.islink(path):
            os.stat(path)  # raises when it leads nowhere
    return NO_SUCH_USER


def _write(job: _Job, body: StoredBody, temporary: str, final: str) -> None:
    try:
        descriptor = os.open(temporary, _FLAGS, job.filemode)
        with open(descriptor, "wb") as file:
            os.fchmod(descriptor, job.filemode)
            pieces = body.pieces()
            first = next(pieces, b"")
            if first[: len(_RETURN_PATH)].lower() != _RETURN_PATH:
                file.write(job.head)
            file.write(first)
            file.writelines(pieces)
            file.flush()
            os.fsync(descriptor)
        os.rename(temporary, final)
    except BaseException:
        try:
            os.unlink(temporary)
        except OSError:
            pass  # nothing was made, or the disk is gone with it
        raise
    _sync_folder(os.path.dirname(final))


def _make_maildir(job: _Job, maildir: str) -> None:
    if not os.path.isdir(job.basedir):
        os.makedirs(os.path.dirname(os.path.abspath(job.basedir)), exist_ok=True)
        _make_folder(os.path.abspath(job.basedir), job.dirmode)
    path = job.basedir
    for folder in job.folders:
        path = os.path.join(path, folder)
        _make_folder(path, job.dirmode)
    for folder in ("tmp", "new", "cur"):
        _make_folder(os.path.join(maildir, folder), job.dirmode)


def _make_folder(path: str, mode: int) -> None:
    """Make a folder with exactly these permission bits, whatever the umask; sync its parent."""
    try:
        os.mkdir(path, mode)
    except FileExistsError:
        return
    os.chmod(path, mode)
    _sync_folder(os.path.dirname(path))


def _sync_folder(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
