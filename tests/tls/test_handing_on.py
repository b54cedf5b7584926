"""A whole server hands mail on over TLS: what its log says, and what files that can't be used stop."""

from __future__ import annotations

import signal
import ssl
from pathlib import Path

from tests.support.certificates import Authority
from tests.support.server import Server
from tests.support.sink import Sink
from tests.support.waiting import wait_until

CONF = """
hostname = "mx.example.com"
spoolbase = "{folder}/spool"
relay_domains = ( "example.com" )
gateway = "localhost:GATE"
tls = required
tls_verify = host
tls_ca = "CA"
ESMTP_Listener {{
  Listen "127.0.0.1:{port}" {{ }}
}}
"""


def test_tls_to_the_next_host_from_start_to_reload(tmp_path: Path) -> None:
    ours, foreign = Authority("ours"), Authority("foreign")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ours.issue("localhost").write(tmp_path / "localhost.pem"))
    ca = ours.write(tmp_path / "ca.pem")
    with Sink(tls=context) as sink:
        conf = CONF.replace("{{", "{").replace("}}", "}").replace("GATE", str(sink.port))
        server = Server(tmp_path, conf.replace("CA", str(tmp_path / "nowhere.pem")))
        try:
            server.launch()
            assert server.wait() != 0
            assert f":8:10: error: TLS_CA: can't read {tmp_path}/nowhere.pem: No such file" in server.log()
            server.write_conf(conf.replace("CA", str(ca)))
            server.start()
            with server.client() as client:
                client.sendmail("a@example.net", ["b@example.com"], "Subject: x\r\n\r\nhello\r\n")
            sink.wait_for(1)
            wait_until(lambda: " delivered " in server.log(), "the log line")
            (line,) = [line for line in server.log().splitlines() if " delivered " in line]
            assert 'tls="TLSv1.3 TLS_AES_256_GCM_SHA384 verified"' in line
            assert sink.handshakes == ["localhost"]

            server.write_conf(conf.replace("CA", str(tmp_path / "nowhere.pem")))
            server.signal(signal.SIGHUP)
            wait_until(lambda: "error: TLS_CA: can't read" in server.log().partition(" delivered ")[2], "the refusal")
            with server.client() as client:
                client.sendmail("a@example.net", ["b@example.com"], "Subject: y\r\n\r\nstill\r\n")
            sink.wait_for(2)

            foreign.write(ca)
            server.write_conf(conf.replace("CA", str(ca)))
            server.signal(signal.SIGHUP)
            wait_until(lambda: " reloaded " in server.log(), "the reload")
            with server.client() as client:
                client.sendmail("a@example.net", ["b@example.com"], "Subject: z\r\n\r\nnot this one\r\n")
            wait_until(lambda: " deferred " in server.log(), "the failed try")
            assert "450 4.7.5 [internal] TLS failed: localhost[127.0.0.1]:" in server.log()
            assert "certificate is not good" in server.log()
            assert len(sink.messages) == 2
            assert server.stop() == 0
        finally:
            server.kill()
