"""The one place that loads what declares and registers itself: options, stanzas, extensions, transports, checks.

Importing such a module has no effect but registration, and none of ours imports gevent, so that `gsmtp check` starts
fast. A leading underscore keeps a file of a plug-in folder from loading. Other packages add theirs through the
entry-point group ``gsmtp.plugins``.
"""

from __future__ import annotations

import functools
import importlib
import os
import pkgutil
import sys

from gsmtp.core.errors import ConfigError

DECLARING_MODULES = (
    "gsmtp.config.common",
    "gsmtp.smtp.options",
    "gsmtp.smtp.auth_options",
    "gsmtp.smtp.auth_check",
    "gsmtp.smtp.trust",
    "gsmtp.smtp.format_options",
    "gsmtp.smtp.tls_options",
    "gsmtp.smtp.tls_check",
    "gsmtp.runtime.options",
    "gsmtp.runtime.dns_options",
    "gsmtp.spool.options",
    "gsmtp.datasource.options",
    "gsmtp.policy.options",
    "gsmtp.policy.keep",
    "gsmtp.policy.script_options",
    "gsmtp.delivery.options",
    "gsmtp.delivery.client_options",
    "gsmtp.delivery.mx_options",
    "gsmtp.delivery.bounce_options",
    "gsmtp.delivery.limit_options",
    "gsmtp.delivery.overlap",
    "gsmtp.observe.options",
    "gsmtp.observe.logger_options",
    "gsmtp.server.options",
    "gsmtp.control.options",
    "gsmtp.control.check",
    "gsmtp.app.options",
)
"""Where options and stanzas are declared beside, or on behalf of, the code that reads them."""

PLUGIN_FOLDERS = (
    "gsmtp.datasource.drivers",
    "gsmtp.auth.stores",
    "gsmtp.sasl.mech",
    "gsmtp.smtp.ext",
    "gsmtp.policy.modules",
    "gsmtp.delivery.transports",
)
"""Folders of which every file is loaded."""

SERVING_FOLDERS = (
    "gsmtp.policy.checks",
    "gsmtp.control.commands",
)
"""The same, but their files declare nothing that a configuration could say: a judgement does without them."""

ENTRY_POINTS = "gsmtp.plugins"


def plugin_modules(folder: str) -> list[str]:
    """The modules of a plug-in folder that load, by name; files with a leading underscore don't."""
    package = importlib.import_module(folder)
    names = (module.name for module in pkgutil.iter_modules(package.__path__))
    return [f"{folder}.{name}" for name in sorted(names) if not name.startswith("_")]


@functools.cache
def declare_all(*, serving: bool = True) -> None:
    """Import every module of gsmtp that declares something. Calling it again does nothing.

    Args:
        serving: `SERVING_FOLDERS`, too.
    """
    for name in DECLARING_MODULES:
        importlib.import_module(name)
    for folder in PLUGIN_FOLDERS + (SERVING_FOLDERS if serving else ()):
        for name in plugin_modules(folder):
            importlib.import_module(name)


@functools.cache
def load(*, serving: bool = True) -> None:
    """Import everything that declares, other packages' plug-ins too. Calling it again does nothing.

    Args:
        serving: `SERVING_FOLDERS`, too: a third of the time, and nothing to judge a configuration by.

    Raises:
        ConfigError: a plug-in of another package can't be loaded, or claims a name that is taken.
    """
    declare_all(serving=serving)
    if not _has_plugins():
        return
    from importlib import metadata

    for entry in metadata.entry_points(group=ENTRY_POINTS):
        try:
            entry.load()
        except ConfigError:
            raise
        except Exception as error:
            raise ConfigError(f"plug-in {entry.name} ({entry.value}) can't be loaded: {error!r}") from error


def _has_plugins() -> bool:
    """Whether an installed package may have an entry point for us. The library that knows for sure takes longer to
    load than the rest of `gsmtp check` takes, so it is loaded only then."""
    wanted = ENTRY_POINTS.encode()
    for folder in sys.path:
        try:
            names = os.listdir(folder or ".")
        except NotADirectoryError:
            return True  # an archive: the library knows how to read it
        except OSError:
            continue
        for name in names:
            if name.endswith((".dist-info", ".egg-info")):
                try:
                    with open(os.path.join(folder, name, "entry_points.txt"), "rb") as file:
                        if wanted in file.read():
                            return True
                except OSError:
                    pass
    return False
