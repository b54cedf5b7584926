"""Bindings: which options hold for a domain and a binding, and what the log says of it."""

from __future__ import annotations

import pytest

from gsmtp.config.scopes import Configuration
from gsmtp.delivery.options import GATEWAY, RETRY_INTERVAL
from tests.config_meaning.loading import compiled

CONF = """
retry_interval = 1
gateway = "10.0.0.1"
Domain "a.example" { retry_interval = 2 }
Domain "/example$/" { max_retry_interval = 3 }
Binding "b" {
  retry_interval = 4
  Domain "a.example" { gateway = "10.0.0.4" }
}
Binding_Group "g" {
  retry_interval = 5
  gateway = "10.0.0.5"
  Domain "a.example" { retry_interval = 6 }
  Domain "/^x/" { retry_interval = 7 }
  Binding "c" {
    Domain "b.example" { retry_interval = 8 }
    Domain "/b/" { retry_interval = 9 gateway = "10.0.0.9" }
  }
  Binding "d" { gateway = "10.0.0.10" }
}
Binding "c" {
  Domain "a.example" { gateway = "10.0.0.11" }
}
"""


@pytest.fixture(scope="module")
def conf() -> Configuration:
    return compiled(CONF)


@pytest.mark.parametrize(
    ("domain", "binding", "retry_interval", "gateway", "why"),
    [
        ("a.example", "", 2, "10.0.0.1", "no binding: the Domain, then global"),
        ("other.test", "", 1, "10.0.0.1", "global"),
        ("a.example", "b", 4, "10.0.0.4", "a Binding goes before a Domain outside of it"),
        ("b.example", "b", 4, "10.0.0.1", "the Binding, then global"),
        ("b.example", "c", 8, "10.0.0.9", "the Domain's own name before a regex, option by option"),
        ("a.example", "c", 6, "10.0.0.11", "Domain in a Binding outside of groups, then Domain in the group"),
        ("x.test", "c", 7, "10.0.0.5", "a regex Domain in the group, then the group"),
        ("x.test", "d", 7, "10.0.0.10", "a Domain of the group goes before the Binding, the Binding before the group"),
        ("other.test", "d", 5, "10.0.0.10", "the group's value where the Binding sets none"),
        ("a.example", "unknown", 2, "10.0.0.1", "one that isn't configured is the default binding"),
    ],
)
def test_the_documented_chain(
    conf: Configuration, domain: str, binding: str, retry_interval: int, gateway: str, why: str
) -> None:
    """reference/scopes-and-fallback.md section 3."""
    view = conf.delivery_view(domain, binding)
    assert (view[RETRY_INTERVAL], view[GATEWAY]) == (retry_interval, gateway), why


def test_what_logs_call_them(conf: Configuration) -> None:
    names = {name: conf.binding_names(name) for name in ("", "b", "c", "unknown")}
    assert {name: (found.binding, found.group) for name, found in names.items()} == {
        "": ("default", "default"),
        "b": ("b", "default"),
        "c": ("c", "g"),
        "unknown": ("default", "default"),
    }


def test_a_binding_named_default_is_for_mail_without_one() -> None:
    conf = compiled('retry_interval = 1\nBinding "default" { retry_interval = 2 }\nBinding "b" { }')
    assert conf.delivery_view("a.example")[RETRY_INTERVAL] == 2
    assert conf.delivery_view("a.example", "unknown")[RETRY_INTERVAL] == 2
    assert conf.delivery_view("a.example", "b")[RETRY_INTERVAL] == 1


def test_reception_asks_no_binding() -> None:
    conf = compiled('retry_interval = 1\nBinding "default" { retry_interval = 2 }')
    assert conf.domain_view("a.example")[RETRY_INTERVAL] == 1
