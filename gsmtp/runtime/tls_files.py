"""The files of TLS: read and judged in words before OpenSSL sees them, and which certificate SNI chooses."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from gsmtp.config.option import Option
from gsmtp.runtime.tls_settings import TlsFileError, TlsSettings
from gsmtp.smtp.tls_options import TLS_CERTIFICATE, TLS_CERTIFICATES, TLS_CLIENT_CA, TLS_DHPARAMS_FILE, TLS_KEY

T = TypeVar("T")

DEFAULT_DH_FILE: Final = os.path.join(os.path.dirname(__file__), "ffdhe2048.pem")
"""The group ffdhe2048 of RFC 7919 appendix A.1."""

_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
_KEY = b"PRIVATE KEY-----"
_LOCKED = re.compile(rb"-----BEGIN ENCRYPTED PRIVATE KEY-----|Proc-Type:\s*4,\s*ENCRYPTED")


def read_chain(certificate: str, key: str) -> None:
    """Look at a certificate's and a key's file. Raises TlsFileError that says in words what is missing."""
    text = _read(certificate, TLS_CERTIFICATE)
    if _CERTIFICATE not in text:
        raise TlsFileError(TLS_CERTIFICATE, f"{certificate} holds no certificate in PEM form")
    if key:
        text = _read(key, TLS_KEY)
        if _KEY not in text:
            raise TlsFileError(TLS_KEY, f"{key} holds no key in PEM form")
    elif _KEY not in text:
        raise TlsFileError(
            TLS_CERTIFICATE, f"{certificate} holds no key, and TLS_Key is not set in the same scope or a narrower one"
        )
    if _LOCKED.search(text):  # OpenSSL would ask for the password on the terminal, and the server would stand still
        raise TlsFileError(
            TLS_KEY if key else TLS_CERTIFICATE,
            f"the key in {key or certificate} has a password: nobody could be asked for it",
        )


def read_issuers(path: str) -> None:
    """Look at the file of TLS_Client_CA. Raises TlsFileError."""
    if _CERTIFICATE not in _read(path, TLS_CLIENT_CA):
        raise TlsFileError(TLS_CLIENT_CA, f"{path} holds no certificate in PEM form")


def load_dh(load: Callable[[str], object], path: str) -> None:
    """Load DH parameters. Raises TlsFileError."""
    try:
        load(path)
    except Exception as error:
        why = getattr(error, "strerror", "") or "no DH parameters in PEM form"
        raise TlsFileError(TLS_DHPARAMS_FILE, f"{path}: {why}") from error


def as_file_error(error: Exception, certificate: str, key: str) -> TlsFileError:
    """What OpenSSL says of a pair of files, in words."""
    text = str(error)
    if "KEY_VALUES_MISMATCH" in text or "key values mismatch" in text:
        option = TLS_KEY if key else TLS_CERTIFICATE
        return TlsFileError(option, f"{key or certificate} is not the key of {certificate}")
    return TlsFileError(TLS_CERTIFICATE, f"{certificate} can't be used: {text}")


def by_name(settings: TlsSettings, make: Callable[[str], T]) -> dict[str, T]:
    """The contexts among which SNI chooses. Raises TlsFileError."""
    made: dict[str, T] = {}
    for name, path in settings.others:
        try:
            made[name] = make(path)
        except TlsFileError as error:
            about_file = error.option in (TLS_CERTIFICATE, TLS_KEY)
            raise TlsFileError(TLS_CERTIFICATES if about_file else error.option, str(error)) from error
    return made


def chosen(others: Mapping[str, T], name: str | None) -> T | None:
    """The context for a name that a client asked for: the name itself, then ``*.`` and its parent, else None."""
    if not name:
        return None
    wanted = name.lower().rstrip(".")
    return others.get(wanted) or others.get("*." + wanted.partition(".")[2])


def _read(path: str, option: Option[str]) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise TlsFileError(option, f"can't read {path}: {error.strerror}") from error
