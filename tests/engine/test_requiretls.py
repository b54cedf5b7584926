"""REQUIRETLS and MT-PRIORITY as the engine sees them: offered when, and kept with the envelope (RFC 8689, RFC 6710)."""

from __future__ import annotations

from tests.engine.driving import Driver, session_of, view_of

VIEW = view_of("SMTP_Extensions = ( REQUIRETLS MT-PRIORITY )")


def test_requiretls_is_offered_and_taken_under_tls_only() -> None:
    driver = Driver(session_of(VIEW))
    driver.begin()
    assert b"REQUIRETLS" not in driver.feed(b"EHLO x\r\n")
    assert driver.feed(b"MAIL FROM:<a@example.net> REQUIRETLS\r\n").startswith(b"555 ")
    driver.session.tls_started("TLS_AES_128_GCM_SHA256", channel_bindings={})
    assert b"\r\n250-REQUIRETLS\r\n" in driver.feed(b"EHLO x\r\n")
    assert driver.feed(b"MAIL FROM:<a@example.net> REQUIRETLS=yes\r\n") == b"501 5.5.2 MAIL FROM syntax error\r\n"
    assert driver.feed(b"MAIL FROM:<a@example.net> REQUIRETLS MT-PRIORITY=-3\r\n").startswith(b"250 ")
    text = b"RCPT TO:<b@example.com>\r\nDATA\r\nSubject: x\r\nTLS-Required: No\r\n\r\nhello\r\n.\r\n"
    assert driver.feed(text).endswith(b"OK 00/2A-00001-00000002\r\n")
    (envelope,) = driver.played.envelopes
    assert (envelope.requires_tls, envelope.priority) == (True, -3)
    assert b"\r\nTLS-Required: No\r\n" in driver.played.kept[0], "the field passes unchanged"


def test_the_next_message_asks_for_nothing() -> None:
    driver = Driver(session_of(VIEW))
    driver.begin()
    driver.feed(b"EHLO x\r\nMAIL FROM:<a@example.net> MT-PRIORITY=9\r\nRSET\r\nMAIL FROM:<a@example.net>\r\n")
    driver.feed(b"RCPT TO:<b@example.com>\r\nDATA\r\nSubject: x\r\n\r\nhello\r\n.\r\n")
    (envelope,) = driver.played.envelopes
    assert (envelope.requires_tls, envelope.priority) == (False, 0)
