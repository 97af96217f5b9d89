"""`fairleadctl proxy-status`, `version` and `completion`."""

import json
import subprocess

import pytest

from ctl.sidecar import NODE, POD
from harness.ports import free_port
from harness.tool import ControlPages, tool

SYNC = [
    {"proxy": NODE, "proxy_type": "sidecar", "client": "fairlead", "version": "0.1.0",
     "cluster_id": "Kubernetes", "types": [
         {"type": "CDS", "sent_version": "3", "acked_version": "3", "state": "SYNCED",
          "since": "2026-11-26T10:00:00Z"},
         {"type": "RDS", "sent_version": "4", "acked_version": "3", "state": "ERROR",
          "reason": "8090: virtual_hosts[0]: no domain", "since": "2026-11-26T10:00:00Z"}],
     "unsupported": []},
    {"proxy": "grpc-client", "client": "grpc", "version": "1.85", "types": [],
     "unsupported": ["retries"]}]


def test_proxies_are_listed_with_the_reason_behind_an_error():
    with ControlPages({"/debug/syncz": SYNC}) as control:
        done = tool("ps", "--control", control.address)
        assert done.rows[0] == ["NAME", "CLUSTER", "ISTIOD", "VERSION", "SUBSCRIBED TYPES"]
        assert done.rows[2] == ["grpc-client", "-", control.address, "grpc 1.85", "0"]
        assert done.rows[1] == [
            POD, "Kubernetes", control.address, "fairlead 0.1.0", "2 (CDS,RDS)"]
        assert "8090: virtual_hosts[0]: no domain" in done.out
        assert "grpc-client  not sent to grpc: retries" in done.out
        verbose = tool("proxy-status", "-v", "1", "--control", control.address)
        assert verbose.rows[0] == [
            "NAME", "CLUSTER", "CDS", "ECDS", "EDS", "LDS", "RDS", "ISTIOD", "VERSION"]
        assert verbose.rows[1][2].startswith("SYNCED (") and verbose.rows[1][6].startswith("ERROR")
        assert tool("ps", "-o", "json", "--control", control.address).document == SYNC


def test_no_proxy_is_told():
    with ControlPages({"/debug/syncz": []}) as control:
        assert "no proxy is connected" in tool("ps", "--control", control.address).err


def sent(running, source):
    """What a proxy runs, as it would have been sent to another one."""
    dump = source.proxy.admin("/config_dump?include_eds").body.decode()
    for theirs, ours in ((source.proxy.directory, running.proxy.directory),
                         (source.outbound, running.outbound), (source.inbound, running.inbound)):
        dump = dump.replace(str(theirs), str(ours))
    return json.loads(dump)


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (0, 0), (1, 1)], ids=str)
def test_what_runs_is_compared_with_what_was_sent(sidecars, order):
    """However a proxy writes it: what the other one says stands for the control plane."""
    running, source = sidecars[order[0]], sidecars[order[1]]
    dump = sent(running, source)
    clients = {"clients": [{"connectionId": "1", "nodeId": NODE,
                            "admin": f"http://{running.admin}"}]}
    with ControlPages({"/debug/connections": clients, "/debug/config_dump": dump}) as control:
        done = tool("ps", POD, "--control", control.address)
        assert done.out.splitlines() == [
            "Clusters Match", "Listeners Match", "Routes Match", "Endpoints Match"]
        text = json.dumps(dump)
        for old, new in (('"weight": 70', '"weight": 60'), ("172.20.3.60", "172.20.3.99"),
                         ("PassthroughFilterChain", "Other"), ("ORIGINAL_DST", "STATIC")):
            assert old in text
            text = text.replace(old, new)
        control.pages["/debug/config_dump"] = json.loads(text)
        done = tool("ps", POD, "--control", control.address, code=2)
        lines = [line.replace(" ", "") for line in done.out.splitlines()]
        assert [line for line in done.out.splitlines() if "Match" in line] == [
            "Clusters Don't Match", "Listeners Don't Match", "Routes Don't Match",
            "Endpoints Don't Match"]
        for line in ('-"weight":60', '+"weight":70', '-"172.20.3.99:3306HEALTHY"',
                     '+"172.20.3.60:3306HEALTHY"', '-"name":"Other"', '-"type":"STATIC"'):
            assert line in lines


def test_a_comparison_needs_to_reach_the_proxy(sidecars):
    clients = {"clients": [{"connectionId": "1", "nodeId": NODE}]}
    with ControlPages({"/debug/connections": clients}) as control:
        control.pages["/debug/config_dump"] = sent(sidecars[0], sidecars[0])
        done = tool("ps", POD, "--control", control.address, code=1)
        assert "--admin" in done.err
        done = tool("ps", POD, "--control", control.address, "--admin", sidecars[0].admin)
        assert "Clusters Match" in done.out
        assert "knows proxies by name" in tool(
            "ps", sidecars[0].admin, "--control", control.address, code=1).err


def test_version():
    with ControlPages({"/debug/syncz": SYNC, "/version": {"version": "0.1.0"}}) as control:
        done = tool("version", "--control", control.address)
        assert done.out == ("client version: 0.1.0\ncontrol plane version: 0.1.0\n"
                            "data plane version: fairlead 0.1.0 (1 proxy), grpc 1.85 (1 proxy)\n")
        assert tool("version", "-o", "json", "--control", control.address).document == {
            "clientVersion": "0.1.0", "meshVersion": "0.1.0", "dataPlaneVersion": [
                {"version": "fairlead 0.1.0", "proxies": 1}, {"version": "grpc 1.85", "proxies": 1}]}
    nobody = f"127.0.0.1:{free_port()}"
    alone = tool("version", "--control", nobody)
    assert alone.out == "client version: 0.1.0\n" and "cannot connect" in alone.err
    assert tool("version", "--remote", "false").err == ""
    assert tool("--version").out == "fairleadctl  version: 0.1.0\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell):
    script = tool("completion", shell).out
    assert "proxy-config" in script and "--direction" in script or shell == "fish"
    assert script.strip() == tool("--generate-completion-script", shell).out.strip()
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=script, text=True, check=True, timeout=20)


def test_help_names_every_command():
    assert tool("completion", "tcsh", code=64)
    words = tool("--help").out
    assert all(name in words for name in ("proxy-config", "proxy-status", "version", "completion"))
