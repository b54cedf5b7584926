"""An nginx of our own as SMTP proxy, with the answers of its authentication service built in."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.peers import program
from tests.support.ports import free_port, wait_for_port

_CONF = """\
load_module /usr/lib/nginx/modules/ngx_mail_module.so;
daemon off;
master_process off;
error_log {folder}/nginx.log info;
pid {folder}/nginx.pid;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder};
    proxy_temp_path {folder};
    fastcgi_temp_path {folder};
    uwsgi_temp_path {folder};
    scgi_temp_path {folder};
    server {{
        listen 127.0.0.1:{auth};
        location / {{
            add_header Auth-Status OK;
            add_header Auth-Server 127.0.0.1;
            add_header Auth-Port {upstream};
            return 200;
        }}
    }}
}}
mail {{
    auth_http http://127.0.0.1:{auth}/;
    server_name proxy.example;
    proxy_pass_error_message on;
    server {{
        listen 127.0.0.1:{port};
        protocol smtp;
        smtp_auth plain none;
        xclient on;
    }}
}}
"""


@contextmanager
def nginx(folder: Path, upstream: int) -> Iterator[int]:
    """Run an nginx that hands SMTP on to a loopback port with XCLIENT; gives its port."""
    path = program("nginx", "nginx-light and libnginx-mod-mail")
    port, auth = free_port(), free_port()
    conf = folder / "nginx.conf"
    conf.write_text(_CONF.format(folder=folder, port=port, auth=auth, upstream=upstream))
    process = subprocess.Popen(
        [path, "-c", str(conf), "-e", str(folder / "nginx.log")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for_port(port)
        yield port
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
