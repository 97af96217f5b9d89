"""`fairleadctl proxy-config` asks Fairlead and the real Envoy, and shows the same of both."""

import base64
import json
import re
import subprocess
import sys

import pytest
import yaml

from ctl import sidecar
from ctl.sidecar import NODE, POD, WEB
from harness.certificates import Authority
from harness.client import wait_listening
from harness.control import LISTENER
from harness.ports import free_port
from harness.proxy import Proxy, bootstrap
from harness.simple import cluster, listener
from harness.tls import downstream_tls
from harness.tool import ControlPages, tool
from harness.waiting import until


@pytest.mark.parametrize("arguments", [
    ["listener"], ["l", "--verbose", "false"], ["l", "--port", "8090"],
    ["l", "--port", "8090", "--address", "172.20.3.57"], ["l", "--type", "tcp"],
    ["route"], ["r", "--name", "8090"], ["r", "--verbose", "false"], ["cluster"],
    ["c", "--fqdn", WEB, "--subset", "v1"], ["c", "--direction", "inbound"], ["endpoint"],
    ["ep", "--status", "unhealthy"], ["endpoints", "--cluster", f"outbound|8090||{WEB}"],
    ["secret"], ["bootstrap", "-o", "short"],
], ids=" ".join)
def test_both_proxies_are_shown_alike(sidecars, arguments):
    kind, *rest = arguments
    answers = []
    for each in sidecars:
        text = each.general(tool("pc", kind, each.admin, *rest).out)
        # Columns are as wide as the ports in them were.
        text = re.sub(" {2,}", "  ", text)
        answers.append([line for line in text.splitlines() if not re.match("Version|Uptime", line)])
    # Where ports were in order of their numbers, they are not any more.
    assert sorted(answers[0]) == sorted(answers[1])
    assert len(answers[0]) > (0 if kind == "secret" else 1)


def test_the_decks_commands_answer_as_the_deck_shows(one_sidecar):
    """With the pod's name, through the control plane's list of connections."""
    clients = {"clients": [
        {"connectionId": "other-1", "nodeId": "other", "admin": "http://127.0.0.1:1"},
        {"connectionId": f"{POD}-2", "nodeId": NODE, "admin": f"http://{one_sidecar.admin}"}]}
    with ControlPages({"/debug/connections": clients}) as control:
        def ask(*arguments):
            return tool("pc", *arguments, "--control", control.address)

        assert ["0.0.0.0", "8090", "Trans: raw_buffer; App: HTTP", "Route: 8090"] in ask(
            "listener", POD).rows
        chain = ask("listener", POD, "--port", "8090", "--address", "172.20.3.57", "-o", "json")
        [found] = chain.document
        assert found["name"] == "virtualInbound"
        assert found["address"]["socketAddress"]["portValue"] == one_sidecar.inbound
        [chain] = found["filterChains"]
        assert chain["filterChainMatch"]["destinationPort"] == 8090
        [routes] = ask("route", POD, "--name", "8090", "-o", "json").document
        assert routes["virtualHosts"][0]["routes"][2]["route"]["weightedClusters"]["clusters"] == [
            {"name": f"outbound|8090|v1|{WEB}", "weight": 70},
            {"name": f"outbound|8090||{WEB}", "weight": 30}]
        clusters = ask("cluster", POD, "--fqdn", WEB, "--port", "8090", "-o", "json").document
        assert [each["name"] for each in clusters] == [
            f"outbound|8090||{WEB}", f"outbound|8090|v1|{WEB}"]
        assert clusters[0]["edsClusterConfig"]["edsConfig"]["resourceApiVersion"] == "V3"
        assert ask("endpoint", POD, "--cluster", f"outbound|8090|v1|{WEB}").rows == [
            ["ENDPOINT", "STATUS", "OUTLIER CHECK", "CLUSTER"],
            ["172.20.3.57:8090", "HEALTHY", "OK", f"outbound|8090|v1|{WEB}"]]
        # The same by the node's id, and by the pod's name and namespace apart.
        name, namespace = POD.rsplit(".", 1)
        assert ask("c", NODE).out == ask("c", name, "-n", namespace).out == ask("c", POD).out


def test_metadata_tells_what_a_cluster_is_for(envoy_sidecar):
    """Its service, where the name has none, and the rule that it comes from."""
    found = tool("pc", "c", envoy_sidecar.admin, "--fqdn", WEB, "--direction", "inbound").rows
    assert found[1:] == [[WEB, "8090", "-", "inbound", "ORIGINAL_DST"]]
    assert [WEB, "8090", "v1", "outbound", "EDS", "gllue-web-1.gllue-web"] in tool(
        "pc", "c", envoy_sidecar.admin).rows


def test_saved_dumps_are_read(one_sidecar, tmp_path):
    dump, statuses = tmp_path / "dump.json", tmp_path / "clusters.json"
    dump.write_bytes(one_sidecar.proxy.admin("/config_dump?include_eds").body)
    statuses.write_bytes(one_sidecar.proxy.admin("/clusters?format=json").body)
    for kind in ("l", "r", "c", "ep", "s"):
        assert tool("pc", kind, "-f", dump).out == tool("pc", kind, one_sidecar.admin).out
        assert tool("pc", kind, "-f", "-", stdin=dump.read_text()).out == tool(
            "pc", kind, "-f", dump).out
    assert tool("pc", "ep", "--file", statuses).out == tool("pc", "ep", one_sidecar.admin).out
    bare = tmp_path / "bare.json"
    bare.write_text('{"configs": []}')
    done = tool("pc", "ep", "-f", bare, code=1)
    assert "include_eds" in done.err
    bare.write_text("{")
    assert "line 1, column 2" in tool("pc", "l", "-f", bare, code=1).err
    assert "cannot read" in tool("pc", "l", "-f", tmp_path / "none", code=1).err


def test_documents_are_written_as_json_and_yaml(one_sidecar):
    for kind in ("l", "r", "c", "ep", "b", "a"):
        written = tool("pc", kind, one_sidecar.admin, "-o", "json").document
        assert written
        assert yaml.load(tool("pc", kind, one_sidecar.admin, "-o", "yaml").out,
                         Loader=yaml.CSafeLoader) == written


def test_all_has_every_table(one_sidecar):
    done = tool("pc", "all", one_sidecar.admin)
    heads = ["SERVICE FQDN", "ADDRESSES", "NAME", "RESOURCE NAME", "ENDPOINT"]
    assert [row[0] for row in done.rows if row and row[0] in heads] == heads


def test_a_process_is_found_by_its_number(one_sidecar):
    assert tool("pc", "c", f"pid:{one_sidecar.proxy.process.pid}").out == tool(
        "pc", "c", one_sidecar.admin).out


def test_a_process_without_an_admin_port_is_told():
    # A process of its own: this one may have anything open.
    port = free_port()
    with subprocess.Popen([sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"],
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            wait_listening(port)
            done = tool("pc", "c", f"pid:{server.pid}", code=1)
            assert "has no admin port" in done.err and f":{port}" in done.err
        finally:
            server.kill()
    assert "can be seen" in tool("pc", "c", "pid:4194305", code=1).err


def test_levels_of_the_log_are_read_and_set(one_sidecar):
    def levels():
        return dict(row[0].split(": ") for row in tool("pc", "log", one_sidecar.admin).rows[1:]
                    if row)

    assert levels()["http"] == "info"
    tool("pc", "log", one_sidecar.admin, "--level", "http:debug,pool:error")
    changed = levels()
    assert (changed["http"], changed["pool"], changed["main"]) == ("debug", "error", "info")
    tool("pc", "log", one_sidecar.admin, "--reset")
    assert set(levels().values()) == {"warning"}
    tool("pc", "log", one_sidecar.admin, "--level", "info")
    assert set(levels().values()) == {"info"}
    assert "no level" in tool("pc", "log", one_sidecar.admin, "--level", "loud", code=1).err
    assert "answers 4" in tool("pc", "log", one_sidecar.admin, "--level", "none:debug", code=1).err


def secret_files(directory, identity, authority):
    """Secrets of a file, as Envoy follows them."""
    kind = sidecar.TYPE + "transport_sockets.tls.v3.Secret"

    def inline(path):
        return {"inline_bytes": base64.b64encode(path.read_bytes()).decode()}

    for name, content in (
            ("default", {"tls_certificate": {"certificate_chain": inline(identity.certificate),
                                             "private_key": inline(identity.key)}}),
            ("ROOTCA", {"validation_context": {"trusted_ca": inline(authority.certificate)}})):
        (directory / f"{name}.json").write_text(json.dumps(
            {"version_info": "1", "resources": [{"@type": kind, "name": name, **content}]}))
    return {
        "tls_certificate_sds_secret_configs": [
            {"name": "default", "sds_config": sidecar.file_source(directory / "default.json")}],
        "validation_context_sds_secret_config": {
            "name": "ROOTCA", "sds_config": sidecar.file_source(directory / "ROOTCA.json")}}


def test_secrets_of_envoy_are_shown_with_their_times(tmp_path):
    authority = Authority(tmp_path)
    identity = authority.issue("web", "URI:spiffe://cluster.local/ns/default/sa/web")
    entry = listener("main", free_port())
    entry["filter_chains"][0]["transport_socket"] = downstream_tls(
        common_tls_context=secret_files(tmp_path, identity, authority))
    with Proxy("envoy") as proxy:
        proxy.start(bootstrap([entry], [cluster("up", free_port())], free_port()))
        admin = f"127.0.0.1:{proxy.admin_port}"
        until(lambda: len(tool("pc", "s", admin).rows) == 3, 10, "secrets")
        first, second = tool("pc", "s", admin, "-v").rows[1:]
        assert first[:4] == ["default", "Cert Chain", "ACTIVE", "true"]
        assert first[-1] == "cluster.local"
        assert second[:4] == ["ROOTCA", "CA", "ACTIVE", "true"]
        shown = tool("pc", "s", admin, "-o", "json").out
        assert '"name": "ROOTCA"' in shown
        assert base64.b64encode(identity.key.read_bytes()).decode() not in shown


@pytest.mark.parametrize("kind", ["fairlead", "envoy"])
def test_certificates_of_files_are_shown_too(tmp_path, kind):
    authority = Authority(tmp_path)
    identity = authority.issue("web")
    entry = listener("main", free_port())
    entry["filter_chains"][0]["transport_socket"] = downstream_tls(common_tls_context={
        **identity.common(), "validation_context": authority.trust})
    with Proxy(kind) as proxy:
        proxy.start(bootstrap([entry], [cluster("up", free_port())], free_port()))
        rows = tool("pc", "s", f"127.0.0.1:{proxy.admin_port}").rows
    assert [row[:4] for row in rows[1:]] == [
        [str(identity.certificate), "Cert Chain", "ACTIVE", "true"],
        [str(authority.certificate), "CA", "ACTIVE", "true"]]


@pytest.mark.parametrize("kind", ["fairlead", "envoy"])
def test_a_listener_that_was_refused_is_told(kind):
    made = Proxy(kind)
    with made:
        inbound = free_port()
        sidecar.write(made.directory, free_port(), inbound)
        made.start(sidecar.bootstrap(made.directory, free_port()))
        document = json.loads((made.directory / "lds.json").read_text())
        document["version_info"] = "2"
        document["resources"].append({"@type": LISTENER, "name": "bad", "filter_chains": [{}],
                                      "address": {"socket_address": {"address": "nowhere",
                                                                     "port_value": 1}}})
        fresh = made.directory / "lds.new"
        fresh.write_text(json.dumps(document))
        fresh.rename(made.directory / "lds.json")
        admin = f"127.0.0.1:{made.admin_port}"
        until(lambda: "'bad'" in tool("pc", "l", admin).err, 10, "the refusal to be shown")


def test_without_an_admin_address_the_control_planes_dump_is_shown(one_sidecar):
    """A proxy that did not say where its admin port is."""
    dump = json.loads(one_sidecar.proxy.admin("/config_dump?include_eds").body)
    with ControlPages({"/debug/connections": {"clients": [{"connectionId": "1", "nodeId": NODE}]},
                       "/debug/config_dump": dump}) as control:
        shown = tool("pc", "c", POD, "--control", control.address)
        assert shown.out == tool("pc", "c", one_sidecar.admin).out
        assert "told no admin address" in shown.err
        assert f"/debug/config_dump?proxyID={POD}" in control.asked
        assert tool("pc", "ep", POD, "--control", control.address).out == tool(
            "pc", "ep", one_sidecar.admin).out
        done = tool("pc", "log", POD, "--control", control.address, code=1)
        assert "running proxy" in done.err


def test_what_cannot_be_done_is_told_with_a_remedy(one_sidecar):
    nobody = f"127.0.0.1:{free_port()}"
    done = tool("pc", "l", "web-1.default", "--control", nobody, code=1)
    assert f"cannot connect to {nobody}" in done.err and "--control" in done.err
    assert f"cannot connect to {nobody}" in tool("pc", "l", nobody, code=1).err
    with ControlPages({"/debug/connections": {"clients": [
            {"connectionId": "1", "nodeId": NODE}]}}) as control:
        done = tool("pc", "l", "web-1.default", "--control", control.address, code=1)
        assert f"Connected are: {POD}" in done.err
        # What is no admin port.
        assert "answers /config_dump with 404" in tool("pc", "l", control.address, code=1).err
    done = tool("pc", "l", one_sidecar.admin, "--port", "1")
    assert done.rows == [["ADDRESSES", "PORT", "MATCH", "DESTINATION"]]
    assert "their ports are 0, 3306, 8090" in done.err


@pytest.mark.parametrize("arguments, words", [
    (["pc", "l"], "say which proxy"), (["pc", "l", "127.0.0.1:1", "-f", "x"], "not both"),
    (["pc", "l", "127.0.0.1:1", "-o", "xml"], "short"), (["pc", "listners"], "listners"),
    (["pc", "c", "127.0.0.1:1", "--direction", "up"], "inbound"),
])
def test_a_wrong_command_line_is_refused(arguments, words):
    assert words in tool(*arguments, code=64).err


@pytest.mark.parametrize("target, words", [
    ("https://127.0.0.1:1", "no admin address"), ("pid:x", "names no process"),
])
def test_a_wrong_target_is_refused(target, words):
    assert words in tool("pc", "l", target, code=1).err
