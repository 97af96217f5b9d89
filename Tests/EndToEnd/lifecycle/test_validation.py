"""What a configuration may be, and what is said of one that may not."""

import json
import re
import socket
import subprocess
import time

import pytest
import yaml

from harness.waiting import eventually

from .support import MANAGER, ROUTE, changed, only_fairlead


def test_validate_accepts_a_good_configuration(proxy):
    """Exit code 0, and nothing is left listening."""
    code, output = proxy.validate(proxy.document)
    assert code == 0, output


def test_json_is_accepted_like_yaml(proxy):
    """The same document as JSON."""
    assert proxy.validate(proxy.document, "bootstrap.json")[0] == 0


MISTAKES = {
    "an unknown field": (MANAGER + ["stat_prefx"], "x", "stat_prefx"),
    "a wrong type": (MANAGER + ["stat_prefix"], {"a": 1}, "stat_prefix"),
    "a number out of range": (
        ["static_resources", "listeners", 0, "address", "socket_address", "port_value"], 70000,
        "port_value"),
    "an unknown cluster": (ROUTE + ["route", "cluster"], "nobody", "nobody"),
    "an unknown extension": (
        MANAGER + ["http_filters", 0, "typed_config", "@type"],
        "type.googleapis.com/no.such.Filter", "no.such.Filter"),
    "a malformed duration": (ROUTE + ["route", "timeout"], "five", "five"),
    "a malformed regular expression": (
        ROUTE + ["match"], {"safe_regex": {"regex": "("}}, "regex"),
    "no route match": (ROUTE + ["match"], {}, "match"),
    "an impossible enumeration": (
        ["static_resources", "clusters", 0, "lb_policy"], "ROUND_ROBINN", "ROUND_ROBIN"),
    "a missing cluster name": (
        ["static_resources", "clusters"], [{"name": "up"}, {"connect_timeout": "1s"}], "name"),
    "a malformed address": (
        ["static_resources", "listeners", 0, "address", "socket_address", "address"], "nowhere.",
        "nowhere."),
    "no filter chain": (["static_resources", "listeners", 0, "filter_chains"], [], "filter_chain"),
    "two oneof fields": (ROUTE + ["match"], {"prefix": "/", "path": "/a"}, "path"),
    "a status out of range": (
        ROUTE, {"match": {"prefix": "/"}, "direct_response": {"status": 1000}}, "direct_response"),
    "a negative timeout": (
        ["static_resources", "clusters", 0, "connect_timeout"], "-1s", "connect_timeout"),
    "a header name that is none": (
        ROUTE + ["request_headers_to_add"], [{"header": {"key": "a\nb", "value": "x"}}],
        "request_headers_to_add"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_1(proxy, name):
    """File, line and column, the place, what is wrong; when validating and when starting."""
    path, value, word = MISTAKES[name]
    document = changed(proxy.document, path, value)
    code, output = proxy.validate(document)
    assert code == 1, output
    if proxy.kind == "fairlead":
        lines = [line for line in output.splitlines() if line.strip()]
        mistakes = [line for line in lines if re.search(r"bootstrap\.yaml:\d+:\d+: ", line)]
        assert len(mistakes) == 1, output
        assert word in mistakes[0], output


def test_all_mistakes_of_a_file_are_told(proxy):
    """Not only the first."""
    only_fairlead(proxy.kind)
    document = changed(proxy.document, MANAGER + ["stat_prefx"], "x")
    document = changed(document, ["static_resources", "clusters", 0, "connect_timout"], "1s")
    document = changed(document, ROUTE + ["route", "cluster"], "nobody")
    code, output = proxy.validate(document)
    assert code == 1
    for word in ("stat_prefx", "connect_timout", "nobody"):
        assert len([li for li in output.splitlines() if word in li]) == 1, output


def test_a_mistake_names_its_line_and_the_nearest_field(proxy):
    """The place in the file as it is written, and what was probably meant."""
    only_fairlead(proxy.kind)
    text = yaml.dump(changed(proxy.document, MANAGER + ["stat_prefx"], "x"), sort_keys=False)
    line = next(n for n, li in enumerate(text.splitlines(), 1) if "stat_prefx" in li)
    _, output = proxy.validate(text)
    assert f"bootstrap.yaml:{line}:" in output and "stat_prefix" in output, output


def test_a_field_of_envoy_that_is_not_supported_is_told_apart(proxy):
    """Known to Envoy, not supported here: another message than for no such field."""
    only_fairlead(proxy.kind)
    code, output = proxy.validate(changed(
        proxy.document, ["static_resources", "listeners", 0, "enable_mptcp"], True))
    assert code == 1 and "enable_mptcp" in output
    _, unknown = proxy.validate(changed(
        proxy.document, ["static_resources", "listeners", 0, "enable_mptcpx"], True))
    assert "Envoy" in output and output.split("enable_mptcp")[1] != unknown.split("enable_mptcpx")[1]


@pytest.mark.parametrize("text", ["", "{", "a: [", "- 1", "a: &x [*x]", "\x00", "a: 1\na: 2",
                                  "&a [" * 5000])
def test_text_that_is_no_configuration_is_refused(proxy, text):
    """Exit code 1 and a message; never a crash."""
    code, output = proxy.validate(text)
    if text == "" and proxy.kind == "envoy":
        return
    assert code == 1 and output.strip(), (code, output)


def test_a_missing_file_is_refused(proxy):
    """Exit code 1."""
    done = subprocess.run(proxy.arguments(proxy.directory / "none.yaml"), capture_output=True,
                          timeout=20, check=False)
    assert done.returncode == 1


def test_an_alias_bomb_is_refused_quickly(proxy):
    """Aliases are bounded."""
    lines = ["a0: &a0 [x, x]"] + [
        f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}, *a{n - 1}, *a{n - 1}]" for n in range(1, 40)]
    only_fairlead(proxy.kind)
    started = time.monotonic()
    code, _ = proxy.validate("\n".join(lines))
    assert code == 1 and time.monotonic() - started < 2


def test_version_and_help(proxy):
    """--version names the version; --help the options."""
    for option, word in (("--version", "version"), ("--help", "--concurrency")):
        done = subprocess.run([proxy.binary, option], capture_output=True, timeout=20, check=False)
        assert done.returncode == 0
        assert word in (done.stdout + done.stderr).decode() or option == "--version"


def test_version_names_the_libraries_within(proxy):
    """Which OpenSSL, nghttp2, c-ares and libyaml were linked in; admin tells the first as Envoy its own."""
    only_fairlead(proxy.kind)
    done = subprocess.run([proxy.binary, "--version"], capture_output=True, timeout=20, check=False)
    first, second = done.stdout.decode().splitlines()
    assert re.fullmatch(
        r"libraries: OpenSSL 3\.\S+, nghttp2 1\.\S+, c-ares 1\.\S+, libyaml 0\.\S+", second)
    version = first.removeprefix("fairlead  version: ")
    assert version.split("/")[-1] == second.split(": ")[1].split(",")[0]
    proxy.start(proxy.document)
    assert json.loads(proxy.admin("/server_info").body)["version"] == version


def test_a_port_that_is_taken_is_told(proxy):
    """Exit code 1 and the address."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", proxy.port))
        other.listen()
        proxy.start(proxy.document, wait=False)
        if proxy.kind == "envoy":
            # Envoy only logs it for a listener.
            assert eventually(lambda: str(proxy.port) in proxy.output())
            return
        assert proxy.wait_exit(10) == 1
        assert str(proxy.port) in proxy.output()
