"""`gsmtp passwd FILE USER`: make and change the password files of AUTH and of the console.

Passwords come from a prompt or from standard input, never from the command line, where others could see them.
"""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from hmac import compare_digest

from gsmtp.auth import passwords
from gsmtp.auth.edit import CONSOLE_REALM, change, checked_password, checked_realm, checked_user, with_line
from gsmtp.auth.lines import trouble
from gsmtp.auth.passwords import SCHEMES, UnusablePassword, best_scheme, is_installed, make, parse
from gsmtp.auth.stores.digest import read_digests
from gsmtp.auth.stores.file import Users, read_users
from gsmtp.core.errors import GsmtpError
from gsmtp.sasl.digest import password_digest

_MADE = [name for name, scheme in SCHEMES.items() if scheme.make is not None]
_SCHEMES = "\n".join(f"  {name:<15} {SCHEMES[name].doc}" for name in _MADE)

EXAMPLES = f"""\
examples:
  gsmtp passwd /etc/gsmtp/users alice              add alice or change her password, asked for twice
  gsmtp passwd --scheme CLEAR /etc/gsmtp/users bob      for CRAM-MD5 and DIGEST-MD5, which need clear text
  pwgen 20 1 | gsmtp passwd /etc/gsmtp/users carol      the first line of standard input
  gsmtp passwd --list /etc/gsmtp/users             users and how their passwords are stored
  gsmtp passwd --verify /etc/gsmtp/users alice     is this alice's password? exit status 0 or 1
  gsmtp passwd --delete /etc/gsmtp/users alice
  gsmtp passwd --realm mail.example.com /etc/gsmtp/digests alice      a digest:// file

schemes, the best first; the default is the first one that is installed:
{_SCHEMES}

A running server reads a changed file by itself. Keep one scheme in a file: or how long an answer takes tells who has
which. Exit status: 0 done, 1 no such user, wrong password or trouble with the file, 2 wrong usage.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        "passwd",
        help="make and change password files",
        description="Add, change, delete, list or verify users of a file:// or digest:// password file. A file that is "
        "not there is made, with mode 0640; the mode and owner of one that is there stay.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", metavar="FILE", help="the password file")
    parser.add_argument("user", metavar="USER", nargs="?", help="whom it is about")
    actions = parser.add_mutually_exclusive_group()
    actions.add_argument("--delete", action="store_true", help="take the user out")
    actions.add_argument("--list", action="store_true", help="print the users, one a line")
    actions.add_argument("--verify", action="store_true", help="check a password instead of setting one")
    parser.add_argument(
        "--scheme", metavar="S", type=_scheme, help=f"how to store it: {', '.join(_MADE)} (file:// only)"
    )
    parser.add_argument("--digest", action="store_true", help="the file is a digest:// file")
    parser.add_argument(
        "--realm",
        metavar="R",
        help="realm of a digest:// file; means --digest (default: $EC_DIGEST_REALM, else Momentum Console)",
    )
    parser.set_defaults(run=run, parser=parser)


def _scheme(text: str) -> str:
    name = text.upper()
    if name not in _MADE:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(_MADE)}")
    if not is_installed(name):
        raise argparse.ArgumentTypeError(f"{name} needs {SCHEMES[name].needs}: pip install {passwords.EXTRA}")
    return name


def run(args: argparse.Namespace) -> int:
    """Do what was asked for. Raises GsmtpError for trouble with the file or an unusable name or password."""
    is_digest = args.digest or args.realm is not None
    if args.list:
        if args.user is not None or args.scheme is not None:
            args.parser.error("--list takes a file alone")
        return _list(args.file, is_digest)
    if args.user is None:
        args.parser.error("USER is missing")
    if is_digest and args.scheme is not None:
        args.parser.error("--scheme is for file:// files")
    if args.delete and args.scheme is not None:
        args.parser.error("--scheme is for setting a password")
    user = checked_user(args.user)
    if is_digest:
        realm = args.realm if args.realm is not None else os.environ.get("EC_DIGEST_REALM") or CONSOLE_REALM
        key = f"{user}:{checked_realm(realm)}:".encode()
    else:
        realm = ""
        key = f"{user}:".encode()
    if args.delete:
        return _delete(args.file, user, key)
    if args.verify:
        return _verify(args.file, user, realm, is_digest=is_digest)
    return _set(args, user, realm, key, is_digest=is_digest)


def _set(args: argparse.Namespace, user: str, realm: str, key: bytes, *, is_digest: bool) -> int:
    if not is_digest and not args.scheme and os.path.exists(args.file):
        _hint(_read_users(args.file), user)
    password = checked_password(_asked(twice=True))
    scheme = args.scheme or best_scheme()
    try:
        value = password_digest(user, realm, password).encode() if is_digest else make(scheme, password)
    except UnusablePassword as error:
        raise GsmtpError(str(error)) from None
    was_there = False

    def edited(data: bytes) -> bytes:
        nonlocal was_there
        content, was_there = with_line(data, key, key + value)
        return content

    is_new = change(args.file, edited, may_create=True)
    if is_new:
        print(f"made {args.file}")
    print(f"{user}: {'changed' if was_there else 'added'} ({'digest of realm ' + realm if is_digest else scheme})")
    return 0


def _hint(users: Users, user: str) -> None:
    """Say so when the new password is to be stored in another way than all others."""
    others = {parse(text).scheme for name, text in users.by_name.items() if name != user}
    if others and best_scheme() not in others:
        names = " and ".join(sorted(others))
        print(
            f"note: the other passwords are stored as {names}, this one as {best_scheme()} (see --scheme)",
            file=sys.stderr,
        )


def _delete(path: str, user: str, key: bytes) -> int:
    was_there = False

    def edited(data: bytes) -> bytes | None:
        nonlocal was_there
        content, was_there = with_line(data, key, None)
        return content if was_there else None

    change(path, edited, may_create=False)
    if not was_there:
        raise GsmtpError(f"{path} has no user {user}")
    print(f"{user}: deleted")
    return 0


def _list(path: str, is_digest: bool) -> int:
    if is_digest:
        for user, realm in sorted(read_digests(_read(path))):
            print(f"{user}\t{realm}")
        return 0
    for user, text in sorted(_read_users(path).by_name.items()):
        print(f"{user}\t{parse(text).scheme}")
    return 0


def _verify(path: str, user: str, realm: str, *, is_digest: bool) -> int:
    if is_digest:
        stored = read_digests(_read(path)).get((user, realm), b"")
        password = _asked(twice=False)
        is_good = compare_digest(password_digest(user, realm, password).encode(), stored.lower())
    else:
        text = _read_users(path).by_name.get(user)
        password = _asked(twice=False)
        try:
            is_good = text is not None and passwords.check(parse(text), password)
        except UnusablePassword as error:
            raise GsmtpError(f"{path}: password of {user}: {error}") from None
    print(f"{user}: {'good' if is_good else 'wrong'}")
    return 0 if is_good else 1


def _asked(*, twice: bool) -> bytes:
    """The password: from a prompt on the terminal, else the first line of standard input."""
    if not sys.stdin.isatty():
        line = sys.stdin.buffer.readline()
        return line.removesuffix(b"\n").removesuffix(b"\r")
    first = getpass.getpass("Password: ")
    if twice and getpass.getpass("Once more: ") != first:
        raise GsmtpError("the two passwords differ")
    return first.encode("utf-8", "surrogateescape")


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise GsmtpError(trouble(path, error)) from error


def _read_users(path: str) -> Users:
    return read_users(_read(path))
