"""Options and limits for all end-to-end tests."""

import pathlib
import resource
import sys
import threading

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from harness.proxy import fairlead_binary  # noqa: E402


def pytest_addoption(parser):
    """`--envoy-only` checks the tests themselves, against the real Envoy alone."""
    parser.addoption("--envoy-only", action="store_true", help="run what can run without Fairlead")
    parser.addoption("--record", metavar="FILE",
                     help="write what Envoy did in every differential case, as JSON")
    parser.addoption("--self-check", action="store_true",
                     help="compare Envoy with itself: shows cases that are not deterministic")


def pytest_configure(config):
    """Hundreds of proxies' and upstreams' sockets and threads live in this process."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    threading.stack_size(512 * 1024)
    alone = config.getoption("--envoy-only") or config.getoption("--self-check")
    if not alone and not fairlead_binary():
        raise pytest.UsageError("no fairlead binary: build it or set FAIRLEAD_BIN")


def pytest_report_header(config):
    """Names what is tested."""
    if config.getoption("--envoy-only"):
        return "Envoy alone"
    return f"fairlead: {fairlead_binary()}"


@pytest.fixture(scope="session")
def proxy_kind(request):
    """What the tests that do not compare run against: Fairlead, or Envoy for orientation."""
    return "envoy" if request.config.getoption("--envoy-only") else "fairlead"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Envoy alone is held to its own cases only; what else it misses is told as `xfailed`."""
    outcome = yield
    report = outcome.get_result()
    orientation = item.config.getoption("--envoy-only") and "proxy_kind" in item.fixturenames
    if orientation and call.when == "call" and report.failed:
        report.outcome = "skipped"
        report.wasxfail = "Envoy: " + str(call.excinfo.value)[:160]
