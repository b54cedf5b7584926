"""Rules for all tests."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterator

import pytest

from gsmtp import compiled
from gsmtp.runtime import dns_sources
from tests.support.ports import NO_NAME_SERVER

_MUST_RUN = os.environ.get("GSMTP_REQUIRE_PEERS") == "1"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a test that can't run is a failure: a missing peer must not hide what an issue asks for."""
    report = yield
    if _MUST_RUN and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped where every test must run (GSMTP_REQUIRE_PEERS=1): {reason}"
    return report


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What measures Python code is left to `make tests-pure` where the compiled modules run."""
    if compiled.is_used():
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("pure")])
        items[:] = [item for item in items if not item.get_closest_marker("pure")]


@pytest.fixture(autouse=True, scope="session")
def _no_look_up_leaves_the_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Whoever names no server asks a port where nobody listens, and fails at once; processes see `support.server`."""
    path = tmp_path_factory.mktemp("dns") / "resolv.conf"
    path.write_text(f"nameserver {NO_NAME_SERVER}\n")
    system, dns_sources.RESOLV_CONF = dns_sources.RESOLV_CONF, str(path)
    yield
    dns_sources.RESOLV_CONF = system


@pytest.fixture(autouse=True)
def _no_connection_outlives_its_test() -> Iterator[None]:
    """Parts that are tested by themselves keep idle connections, which the console of a later test would count."""
    yield
    delivery = sys.modules.get("gsmtp.delivery.connection")
    if delivery is not None:
        for connection in list(delivery.CONNECTIONS):
            connection.abandon()
