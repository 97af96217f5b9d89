"""ORIGINAL_DST clusters: requests and connections go where they were going. Compared with the real
Envoy. A PROXY header in front of a connection stands for the redirect; test_redirect.py has real ones.
"""

import pytest

from harness.client import Connection, request_bytes
from harness.ports import free_port
from harness.proxy import Proxy, bootstrap
from harness.simple import listener as http_listener
from harness.waiting import until
from test_filter_chains import PROXY, header
from test_tcp import Server, connect, listener, receive_all, tcp

LINE = ("%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %UPSTREAM_HOST% "
        "%UPSTREAM_CLUSTER%\n")
FIELD = "x-envoy-original-dst-host"


def original(name, options=None, **extra):
    """An ORIGINAL_DST cluster."""
    if options:
        extra["original_dst_lb_config"] = options
    return {"name": name, "type": "ORIGINAL_DST", "lb_policy": "CLUSTER_PROVIDED",
            "connect_timeout": "1s", **extra}


def answering(text):
    """A server of HTTP/1.1 that says who it is, and what `host` it was asked for."""
    def behave(peer):
        while b"\r\n\r\n" not in (head := peer.recv(65536)):
            if not head:
                return
        host = [line for line in head.split(b"\r\n") if line.lower().startswith(b"host:")][0]
        body = text + b" " + host[6:]
        peer.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
        behave(peer)
    return Server(behave)


def ask(port, path, destination=None, fields=()):
    """Status and body of one request on a connection of its own."""
    with Connection(port) as client:
        if destination:
            client.send(header(("127.0.0.1", 1, *destination)))
        client.send(request_bytes(target=path, headers=list(fields)))
        answer = client.read_response()
        return answer.status, answer.body


def requests(first, second):
    """What is asked of both proxies: path, destination, fields."""
    here, there = f"127.0.0.1:{first}", ("127.0.0.1", second)
    yield "/plain", None, []
    yield "/plain", there, []
    yield "/plain", there, [(FIELD, here)]
    yield "/plain", ("127.0.0.2", 1), []
    yield "/port", ("127.0.0.1", 1), []
    yield "/port", None, []
    yield "/field", None, []
    yield "/field", there, []
    yield "/field", there, [(FIELD, here)]
    yield "/field", None, [(FIELD, here), (FIELD, "127.0.0.1:1")]
    for wrong in ("", "x", "127.0.0.1", "127.0.0.1:65536", "127.0.0.1:", "localhost:80", "::1:80",
                  "[127.0.0.1]:80", "127.0.0.1:80x", "unix:///x", "[::1", "[]:80", ":80",
                  "127.0.0.1:99999999999999999999"):
        yield "/field", None, [(FIELD, wrong)]
    yield "/field", there, [(FIELD, "nonsense")]
    yield "/field", None, [(FIELD, f"127.0.0.1:0{first}")]
    yield "/field", None, [(FIELD, "127.0.0.1:0")]
    yield "/field", None, [(FIELD, "[::1]:1")]
    yield "/named", there, [("x-where", "10.0.0.1:1")]
    yield "/named", there, [(FIELD, here)]
    yield "/named", None, [("X-Where", "127.0.0.1:1")]
    yield "/routed", None, [(FIELD, "127.0.0.1:1")]


@pytest.mark.unsanitized("counts the connections that one worker shares")
def test_requests_go_where_they_were_going(proxy_kind):
    """Answers, log lines and statistics, for all that a destination may be known by."""
    told = {}
    with answering(b"first") as first, answering(b"second") as second:
        for one in {"envoy", proxy_kind}:
            told[one] = run_requests(one, first.port, second.port)
    ours, envoys = told[proxy_kind], told["envoy"]
    for asked, mine, envoy in zip(requests(first.port, second.port), ours[0], envoys[0]):
        assert mine == envoy, asked
    assert ours[1:] == envoys[1:]


def run_requests(kind, first, second):
    """Answers, log lines and statistics of one proxy."""
    port = free_port()
    only_first = {"upstream_port_override": first}
    clusters = [
        original("plain"), original("port", only_first), original("field", {"use_http_header": True}),
        original("named", {"use_http_header": True, "http_header_name": "X-Where", **only_first})]
    routes = [{"match": {"prefix": f"/{name}"}, "route": {"cluster": name, "timeout": "0s"}}
              for name in ("plain", "port", "named")]
    routes.append({"match": {"prefix": "/field"},
                   "route": {"cluster": "field", "auto_host_rewrite": True}})
    routes.append({
        "match": {"prefix": "/routed"}, "route": {"cluster": "field"},
        "request_headers_to_add": [{"header": {"key": FIELD, "value": f"127.0.0.1:{first}"},
                                    "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}]})
    with Proxy(kind) as proxy:
        log = proxy.directory / "log"
        main = http_listener("main", port, routes, access_log=(log, LINE))
        main["listener_filters"] = [PROXY]
        proxy.start(bootstrap([main], clusters, free_port()))
        answers = [ask(port, *one) for one in requests(first, second)]
        until(lambda: len(log.read_text().splitlines()) == len(answers), 5, "the log")
        stats = {name: value for name, value in proxy.stats("^cluster%5C.").items()
                 if name.split(".")[2] in (
                     "original_dst_host_invalid", "membership_change", "membership_total",
                     "membership_healthy", "upstream_cx_none_healthy", "lb_healthy_panic",
                     "upstream_rq_503", "upstream_rq_200", "upstream_cx_connect_fail")}
        return answers, log.read_text().splitlines(), stats


def test_connections_go_where_they_were_going(proxy_kind):
    """`tcp_proxy`, of IPv4; and nowhere, where that is not known."""
    told = {}
    with Server(lambda peer: peer.sendall(b"got " + peer.recv(100))) as server:
        for one in {"envoy", proxy_kind}:
            port = free_port()
            with Proxy(one) as proxy:
                proxy.start(bootstrap(
                    [listener(port, tcp(cluster="out"), listener_filters=[PROXY])],
                    [original("out")], free_port()))
                said = []
                for destination in (("127.0.0.1", server.port), ("127.0.0.1", server.port), None):
                    with connect(port) as client:
                        if destination:
                            client.sendall(header(("127.0.0.1", 1, *destination)))
                        client.sendall(b"hello")
                        try:
                            said.append(receive_all(client))
                        except ConnectionResetError:
                            said.append(b"")
                told[one] = said, proxy.stat("cluster.out.membership_total"), proxy.stat(
                    "cluster.out.upstream_cx_none_healthy")
    assert told[proxy_kind] == told["envoy"] == ([b"got hello"] * 2 + [b""], 1, 1)


def test_a_host_leaves_when_nothing_goes_there(proxy_kind):
    """After the cleanup interval; but not while there is a connection to it."""
    port = free_port()
    with answering(b"a") as server, Proxy(proxy_kind) as proxy:
        main = http_listener("main", port, [{"match": {"prefix": "/"}, "route": {"cluster": "out"}}])
        main["listener_filters"] = [PROXY]
        proxy.start(bootstrap([main], [original("out", cleanup_interval="0.1s")], free_port()))
        assert ask(port, "/", ("127.0.0.1", server.port))[0] == 200
        assert ask(port, "/", ("127.0.0.2", 1))[0] == 503
        proxy.wait_stat("cluster.out.membership_change", 3)
        assert proxy.stat("cluster.out.membership_total") == 1
        clusters = proxy.admin("/clusters").body.decode()
        assert f"out::127.0.0.1:{server.port}::hostname::out127.0.0.1:{server.port}" in clusters
        assert "127.0.0.2" not in clusters
        # The one that left comes again.
        assert ask(port, "/", ("127.0.0.2", 1))[0] == 503
        proxy.wait_stat("cluster.out.membership_change", 5)
        assert ask(port, "/", ("127.0.0.1", server.port))[0] == 200


@pytest.mark.unsanitized("thousands of hosts take longer than they are kept")
def test_many_destinations_take_bounded_memory(proxy_kind):
    """Whoever may choose the addresses cannot make more hosts than the limit."""
    port, limit = free_port(), 8192
    field = {"use_http_header": True}
    with Proxy(proxy_kind) as proxy:
        proxy.start(bootstrap(
            [http_listener("main", port, [{"match": {"prefix": "/"}, "route": {"cluster": "out"}}])],
            [original("out", field, cleanup_interval="60s")], free_port()))
        statuses = []
        for number in range(limit + 10):
            if number % 100 == 0:
                client = Connection(port)
            where = f"127.{1 + number // 60000}.{number // 250 % 240}.{1 + number % 250}:1"
            client.send(request_bytes(headers=[(FIELD, where)]))
            statuses.append(client.read_response().body)
        refused = statuses.count(b"no healthy upstream")
        assert refused == 10 and statuses[-10:] == [b"no healthy upstream"] * 10
        until(lambda: proxy.stat("cluster.out.membership_total") == limit, 5, "the hosts")


@pytest.mark.parametrize("change, complaint", [
    ({"lb_policy": "ROUND_ROBIN"}, "needs lb_policy: CLUSTER_PROVIDED"),
    ({"type": "STATIC"}, "goes with clusters of type ORIGINAL_DST only"),
    ({"load_assignment": {"cluster_name": "out"}}, "it names no endpoints"),
    ({"original_dst_lb_config": {"http_header_name": "x"}}, "needs use_http_header: true"),
    ({"original_dst_lb_config": {"upstream_port_override": 65536}}, "at most 65535"),
    ({"cleanup_interval": "0s"}, "more than 0s"),
    ({"health_checks": [{
        "timeout": "1s", "interval": "1s", "unhealthy_threshold": 1, "healthy_threshold": 1,
        "tcp_health_check": {}}]}, "healthy or not"),
])
def test_what_does_not_fit_together_is_refused(proxy_kind, change, complaint):
    """By Envoy too, but for health checks, whose results it does not look at; each with its place."""
    document = bootstrap([], [{**original("out"), **change}])
    for one in {"envoy", proxy_kind} if "health_checks" not in change else {proxy_kind}:
        code, output = Proxy(one).validate(document)
        assert code != 0, one
        if one == "fairlead":
            assert complaint in output
