"""Access logs: where to, reopened when, and Envoy's own format."""

import re
import signal

import pytest

from harness.client import Connection, fetch
from harness.waiting import until

from .support import MANAGER, changed


def test_sigusr1_reopens_access_logs(proxy):
    """The old file keeps its lines, the new one gets the following ones; none is lost."""
    proxy.start(proxy.document)
    assert fetch(proxy.port, "/before").status == 200
    until(lambda: proxy.log.exists() and "/before" in proxy.log.read_text(), 5, "the first line")
    moved = proxy.log.with_suffix(".1")
    proxy.log.rename(moved)
    assert fetch(proxy.port, "/between").status == 200
    proxy.signal(signal.SIGUSR1)
    until(proxy.log.exists, 5, "the new file")
    assert fetch(proxy.port, "/after").status == 200

    def lines():
        return (moved.read_text() + proxy.log.read_text()).splitlines()

    # Several workers' lines come in any order.
    until(lambda: len(lines()) >= 3, 5, "the last line")
    assert "/after 200" in proxy.log.read_text()
    assert sorted(lines()) == ["/after 200", "/before 200", "/between 200"]


def test_reopen_logs_by_admin(proxy):
    """POST /reopen_logs does the same."""
    proxy.start(proxy.document)
    assert fetch(proxy.port, "/before").status == 200
    until(lambda: proxy.log.exists() and "/before" in proxy.log.read_text(), 5, "the first line")
    proxy.log.rename(proxy.log.with_suffix(".1"))
    assert proxy.admin("/reopen_logs", "POST").status == 200
    until(proxy.log.exists, 5, "the new file")


def test_an_access_log_on_stdout(proxy):
    """The stdout logger writes to the process's standard output."""
    log = [{"name": "stdout", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
        "log_format": {"text_format_source": {"inline_string": "LINE %REQ(:PATH)%\n"}}}}]
    proxy.start(changed(proxy.document, MANAGER + ["access_log"], log))
    assert fetch(proxy.port, "/to-stdout").status == 200
    until(lambda: "LINE /to-stdout" in proxy.output(), 5, "the line")


def test_the_default_access_log_format(proxy):
    """Envoy's own line, when no format is given."""
    log = [{"name": "file", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
        "path": str(proxy.log)}}]
    proxy.start(changed(proxy.document, MANAGER + ["access_log"], log))
    assert fetch(proxy.port, "/p", headers={"user-agent": "test/1"}).status == 200
    until(lambda: proxy.log.exists() and proxy.log.read_text(), 5, "a line")
    assert re.fullmatch(
        r'\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\] "GET /p HTTP/1\.1" 200 - 0 5 \d+ \d+ "-" '
        r'"test/1" "[0-9a-f-]{36}" "test\.example" "127\.0\.0\.1:\d+"\n', proxy.log.read_text())


@pytest.mark.parametrize("way", ["half_close", "reset"])
@pytest.mark.parametrize("part", [b"G", b"GET /a HTTP/1.1\r\nHost: test.exam"])
def test_a_head_cut_short_is_logged(proxy, part, way):
    """A client that leaves within a head leaves a line behind, and is counted."""
    log = [{"name": "file", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
        "path": str(proxy.log), "log_format": {"text_format_source": {"inline_string": (
            "%REQ(:METHOD)% %REQ(:PATH)% %PROTOCOL% %RESPONSE_CODE% %RESPONSE_FLAGS% "
            "%RESPONSE_CODE_DETAILS% %BYTES_RECEIVED%\n")}}}}]
    proxy.start(changed(proxy.document, MANAGER + ["access_log"], log))
    with Connection(proxy.port) as connection:
        connection.send(part)
        proxy.wait_stat("http.main.downstream_cx_rx_bytes_total", len(part))
        getattr(connection, way)()
        until(lambda: proxy.log.exists() and proxy.log.read_text(), 5, "a line")
    assert proxy.log.read_text() == "- - HTTP/1.1 0 DC downstream_remote_disconnect 0\n"
    proxy.wait_stat("http.main.downstream_cx_destroy_remote_active_rq", 1)
    assert proxy.stat("http.main.downstream_rq_rx_reset") == 1
    assert proxy.stat("http.main.downstream_rq_total") == 1
    assert proxy.stat("http.main.downstream_rq_active") == 0
