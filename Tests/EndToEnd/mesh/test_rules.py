"""What rules say happens: rules of every shape that Istio's sample application has, and more, through
our proxy and through the real Envoy."""

import json
import threading
import time

import pytest

from harness.client import fetch, wait_listening
from harness.mesh import MeshControl, Workload, pod, service, sidecar, subnet
from harness.waiting import until

SUBSETS = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec:
  host: reviews
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
---
"""


def rule(http, hosts="reviews", extra=""):
    """A VirtualService."""
    indented = "".join("  " + line + "\n" for line in http.strip().splitlines())
    return f"""
apiVersion: networking.istio.io/v1beta1
kind: VirtualService
metadata: {{name: {hosts.replace('.', '-').replace('*', 'all')}}}
spec:
  hosts: ["{hosts}"]
{extra}
  http:
{indented}"""


class Town:
    """Two versions of `reviews`, `ratings`, and the proxy of a client."""

    def __init__(self, kind, directory):
        self.net = subnet()
        self.ended = threading.Event()
        self.client = f"{self.net}.9"
        self.workloads = {
            name: Workload(f"{self.net}.{last}", 9080, name, reply)
            for name, last, reply in (
                ("v1", 1, None), ("v2", 2, None), ("ratings", 3, None),
                ("failing", 4, lambda _: (503, {}, b"failing")),
                ("far", 5, None),
                ("hanging", 6, lambda _: self.ended.wait(5) and None or (200, {}, b"at last")))}
        self.control = MeshControl(directory)
        self.control.apply("services.yaml", "".join((
            service("reviews", 9080), pod("reviews-1", "reviews", "v1", f"{self.net}.1"),
            pod("reviews-2", "reviews", "v2", f"{self.net}.2"),
            service("ratings", 9080), pod("ratings-1", "ratings", "v1", f"{self.net}.3"),
            service("hanging", 9080), pod("hanging-1", "hanging", "v1", f"{self.net}.6"),
            service("failing", 9080), pod("failing-1", "failing", "v1", f"{self.net}.4"),
            service("raw", 9090, 9080, "{app: ratings}", "tcp"))))
        self.control.start()
        self.kind = kind
        self.proxy = sidecar(
            kind, self.control, True, self.client, labels={"app": "client"},
            HTTP_PROXY_PORT="15080")

    def apply(self, text):
        """Other rules; what they do is waited for by whoever asks."""
        self.control.apply("rules.yaml", text)

    def get(self, target="/", host="reviews", headers=(), port=9080, method="GET"):
        """A request of the client."""
        return fetch(port, target, method=method, headers=list(headers), host=host,
                     address=self.client)

    def becomes(self, wanted, **request):
        """Waits until a request is answered so."""
        until(lambda: self.get(**request).body.decode() == wanted, 10,
              f"{request} to answer {wanted}")

    def answers(self, count=20, **request):
        """What several requests are answered."""
        return {self.get(**request).body.decode() for _ in range(count)}

    def seen(self, name):
        """The last request that a workload has seen."""
        return self.workloads[name].requests[-1]

    def stop(self):
        """Ends everything."""
        self.ended.set()
        self.proxy.stop()
        self.control.stop()
        for one in self.workloads.values():
            one.stop()


# What a proxy does with each is the sanitizers' business elsewhere.
pytestmark = pytest.mark.unsanitized("many rules, each waited for")


@pytest.fixture(scope="module", params=["fairlead", "envoy"])
def town(request, tmp_path_factory):
    """One for all tests of a kind of proxy."""
    made = Town(request.param, tmp_path_factory.mktemp("town"))
    yield made
    made.stop()


@pytest.fixture(autouse=True)
def nothing_refused(town):
    """No proxy refuses anything, whatever a test writes."""
    yield
    assert sum(town.proxy.stats("update_rejected").values()) == 0, town.control.output()[-3000:]


def test_all_to_one_version(town):
    town.apply(SUBSETS + rule("- route: [{destination: {host: reviews, subset: v1}}]"))
    until(lambda: town.answers() == {"v1"}, 10, "all to go to v1")


def test_one_user_to_another_version(town):
    town.apply(SUBSETS + rule("""
- match: [{headers: {end-user: {exact: jason}}}]
  route: [{destination: {host: reviews, subset: v2}}]
- route: [{destination: {host: reviews, subset: v1}}]
"""))
    town.becomes("v2", headers=[("end-user", "jason")])
    assert town.answers() == {"v1"}
    assert town.answers(headers=[("end-user", "jason")]) == {"v2"}
    assert town.answers(headers=[("end-user", "jasonette")]) == {"v1"}


@pytest.mark.parametrize("match, request_, other", [
    ("uri: {exact: /a}", {"target": "/a"}, {"target": "/a/b"}),
    ("uri: {prefix: /a}", {"target": "/ab"}, {"target": "/b"}),
    ("uri: {regex: '/a[0-9]+'}", {"target": "/a12"}, {"target": "/ab"}),
    ("{uri: {exact: /A}, ignoreUriCase: true}", {"target": "/a"}, {"target": "/b"}),
    ("method: {exact: POST}", {"method": "POST"}, {"method": "GET"}),
    ("queryParams: {q: {exact: '1'}}", {"target": "/?q=1"}, {"target": "/?q=2"}),
    ("queryParams: {q: {prefix: ''}}", {"target": "/?q=2"}, {"target": "/?r=2"}),
    ("headers: {x-a: {prefix: b}}", {"headers": [("x-a", "bc")]}, {"headers": [("x-a", "cb")]}),
    ("headers: {x-a: {regex: 'b+'}}", {"headers": [("x-a", "bb")]}, {"headers": [("x-a", "bc")]}),
    ("headers: {x-a: {}}", {"headers": [("x-a", "")]}, {}),
    ("withoutHeaders: {x-a: {}}", {}, {"headers": [("x-a", "b")]}),
    ("withoutHeaders: {x-a: {exact: b}}", {}, {"headers": [("x-a", "b")]}),
    ("authority: {prefix: reviews.default}", {"host": "reviews.default"}, {"host": "reviews"}),
    ("port: 9080", {}, None),
    ("sourceLabels: {app: client}", {}, None),
    ("sourceNamespace: default", {}, None),
], ids=lambda value: value if isinstance(value, str) else "")
def test_matches(town, match, request_, other):
    text = match if match.startswith("{") else f"{{{match}}}"
    town.apply(SUBSETS + rule(f"""
- match: [{text}]
  route: [{{destination: {{host: reviews, subset: v2}}}}]
- route: [{{destination: {{host: ratings}}}}]
"""))
    # What stood before may answer one of them the same.
    until(lambda: town.answers(3, **request_) == {"v2"}
          and (other is None or town.answers(3, **other) == {"ratings"}), 10, "both answers")


@pytest.mark.parametrize("match", [
    "sourceLabels: {app: other}", "sourceNamespace: other", "port: 80", "gateways: [edge]"])
def test_matches_for_others(town, match):
    town.apply(SUBSETS + rule(f"""
- match: [{{{match}}}]
  route: [{{destination: {{host: reviews, subset: v2}}}}]
- route: [{{destination: {{host: ratings}}}}]
"""))
    until(lambda: town.answers(5) == {"ratings"}, 10, "the match to be passed over")


def test_faults(town):
    town.apply(rule("""
- match: [{headers: {x-slow: {exact: "1"}}}]
  fault: {delay: {fixedDelay: 300ms, percentage: {value: 100}}}
  route: [{destination: {host: ratings}}]
- match: [{headers: {x-bad: {exact: "1"}}}]
  fault: {abort: {httpStatus: 418, percentage: {value: 100}}}
  route: [{destination: {host: ratings}}]
- route: [{destination: {host: ratings}}]
""", "ratings"))
    until(lambda: town.get(host="ratings", headers=[("x-bad", "1")]).status == 418, 10, "a fault")
    assert town.get(host="ratings").body == b"ratings"
    started = time.monotonic()
    assert town.get(host="ratings", headers=[("x-slow", "1")]).body == b"ratings"
    # Envoy counts in whole milliseconds.
    assert time.monotonic() - started >= 0.295


def test_timeout(town):
    town.apply(rule("""
- timeout: 100ms
  retries: {attempts: 0}
  route: [{destination: {host: hanging}}]
""", "hanging"))
    until(lambda: town.get(host="hanging").status == 504, 10, "it to be given up")


def test_retries(town):
    seen = town.workloads["failing"].requests
    town.apply(rule("""
- retries: {attempts: 3, retryOn: "503", backoff: 1ms}
  route: [{destination: {host: failing}}]
""", "failing"))

    def tried():
        del seen[:]
        assert town.get(host="failing").status == 503
        return len(seen)

    until(lambda: tried() == 4, 10, "four attempts")
    town.apply(rule("""
- retries: {attempts: 0}
  route: [{destination: {host: failing}}]
""", "failing"))
    until(lambda: tried() == 1, 10, "one attempt")


def test_redirects_and_answers(town):
    town.apply(rule("""
- match: [{uri: {exact: /old}}]
  redirect: {uri: /new, authority: new.example, redirectCode: 302}
- match: [{uri: {prefix: /wiki}}]
  redirect: {prefixRewrite: /pedia, scheme: https}
- match: [{uri: {exact: /teapot}}]
  directResponse: {status: 418, body: {string: short and stout}}
- route: [{destination: {host: reviews}}]
"""))
    until(lambda: town.get("/teapot").body == b"short and stout", 10, "the teapot")
    moved = town.get("/old")
    assert (moved.status, moved.value("location")) == (302, "http://new.example/new")
    assert town.get("/wiki/a").value("location") == "https://reviews/pedia/a"


def test_rewrites(town):
    town.apply(rule("""
- match: [{uri: {prefix: /api/}}]
  rewrite: {uri: /, authority: inner.example}
  route: [{destination: {host: ratings}}]
- match: [{uri: {prefix: /v}}]
  rewrite: {uriRegexRewrite: {match: "^/v([0-9])/(.*)$", rewrite: '/\\2/\\1'}}
  route: [{destination: {host: ratings}}]
"""))
    town.becomes("ratings", target="/api/x?y")
    _, path, fields = town.seen("ratings")
    assert path == "/x?y"
    assert {name.lower(): value for name, value in fields.items()}["host"] == "inner.example"
    town.becomes("ratings", target="/v3/book")
    assert town.seen("ratings")[1] == "/book/3"


def test_headers(town):
    town.apply(rule("""
- headers:
    request: {set: {x-set: new}, add: {x-add: more}, remove: [x-gone]}
    response: {set: {x-answer: "42"}, remove: [server]}
  route: [{destination: {host: ratings}}]
"""))
    town.becomes("ratings", headers=[("x-set", "old"), ("x-gone", "1")])
    answer = town.get(headers=[("x-set", "old"), ("x-gone", "1"), ("x-add", "one")])
    assert answer.value("x-answer") == "42"
    fields = {name.lower(): value for name, value in town.seen("ratings")[2].items()}
    assert fields["x-set"] == "new"
    assert "x-gone" not in fields


def test_mirror(town):
    copies = town.workloads["failing"].requests
    town.apply(rule("""
- mirror: {host: failing}
  mirrorPercentage: {value: 100}
  route: [{destination: {host: ratings}}]
"""))

    def copied():
        assert town.get("/copy").status == 200
        return any(path == "/copy" for _, path, _ in copies)

    until(copied, 10, "a copy")


def test_a_subset_that_nobody_defines(town):
    town.apply(rule("- route: [{destination: {host: reviews, subset: v9}}]"))
    until(lambda: town.get().status == 503, 10, "no cluster")


def test_delegates(town):
    town.apply(SUBSETS + rule("""
- match: [{uri: {prefix: /a}}]
  delegate: {name: part}
- route: [{destination: {host: ratings}}]
""") + """
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: part}
spec:
  http:
  - {match: [{uri: {prefix: /a/b}}], route: [{destination: {host: reviews, subset: v2}}]}
  - {route: [{destination: {host: reviews, subset: v1}}]}
""")
    town.becomes("v2", target="/a/b")
    assert town.answers(5, target="/a") == {"v1"}
    assert town.answers(5, target="/b") == {"ratings"}


def test_services_outside_of_the_mesh(town):
    town.apply(f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: far}}
spec:
  hosts: [far.example]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{{number: 9080, name: http, protocol: HTTP}}]
  endpoints: [{{address: {town.net}.5}}]
""")
    town.becomes("far", host="far.example")


def test_only_what_is_registered(town):
    town.apply("")
    until(lambda: town.get(host="reviews").body in (b"v1", b"v2"), 10, "no rules")
    town.apply("""
apiVersion: mesh.istio.io/v1alpha1
kind: MeshConfig
metadata: {name: mesh}
spec: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}
""")
    until(lambda: town.get(host="nobody.example").status == 502, 10, "it to be refused")
    assert town.get(host="reviews").status == 200


def test_connections_without_requests(town):
    """A port whose name says `tcp` carries bytes: whatever host a request names, they arrive."""
    assert fetch(9090, host="whoever", address=town.client).body == b"ratings"


def test_a_client_that_names_its_target(town):
    """A proxy listener serves every service on every port."""
    town.apply("")
    answer = fetch(15080, "http://ratings.default:9080/x", host="ratings.default:9080",
                   address=town.client)
    assert answer.body == b"ratings"


def test_endpoints_come_and_go(town):
    town.apply("")
    fresh = pod("reviews-3", "reviews", "v3", f"{town.net}.5")
    town.control.apply("more.yaml", fresh)
    until(lambda: "far" in town.answers(), 10, "the new endpoint")
    town.control.apply("more.yaml", fresh.replace(
        "phase: Running", 'conditions: [{type: Ready, status: "False"}]'))
    until(lambda: "far" not in town.answers(), 10, "it to be left alone")
    town.control.remove("more.yaml")
    until(lambda: len(json.loads(town.control.get("/debug/configz"))["objects"]) > 0
          and "far" not in town.control.get("/debug/endpointz"), 10, "it to be forgotten")


def test_a_bad_rule_changes_nothing(town):
    good = SUBSETS + rule("- route: [{destination: {host: reviews, subset: v1}}]")
    town.apply(good)
    until(lambda: town.answers() == {"v1"}, 10, "all to go to v1")
    town.apply(good.replace("subset: v1}}]", "subset: v2}}]").replace("  http:", "  htp:"))
    town.control.wait_log("did you mean 'http'?")
    assert town.answers() == {"v1"}
    page = json.loads(town.control.get("/debug/configz"))
    bad = [one for one in page["objects"] if one["refused"]]
    assert [(one["kind"], one["name"], one["inForce"]) for one in bad] == [
        ("VirtualService", "reviews", True)]
    assert "rules.yaml:" in bad[0]["messages"][0]


def test_a_directory_that_is_gone_takes_nothing_along(town):
    """What cannot be read stands as it was, until it can be read again."""
    town.apply(SUBSETS + rule("- route: [{destination: {host: reviews, subset: v1}}]"))
    until(lambda: town.answers() == {"v1"}, 10, "all to go to v1")
    folder = town.control.folder
    away = folder.rename(folder.with_name("away"))
    town.control.wait_log("config: ")
    assert town.answers() == {"v1"}
    assert len(json.loads(town.control.get("/debug/configz"))["objects"]) > 5
    away.rename(folder)
    town.apply(SUBSETS + rule("- route: [{destination: {host: reviews, subset: v2}}]"))
    until(lambda: town.answers() == {"v2"}, 10, "the directory to be followed again")


def test_gateway(town):
    """A proxy at the mesh's edge, with rules of its own."""
    address = f"{town.net}.20"
    town.apply(SUBSETS + """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  selector: {istio: ingress}
  servers:
  - {port: {number: 8080, name: http, protocol: HTTP}, hosts: ["shop.example"]}
---
""" + rule("""
- match: [{uri: {prefix: /reviews}}]
  route: [{destination: {host: reviews, subset: v2, port: {number: 9080}}}]
- route: [{destination: {host: ratings, port: {number: 9080}}}]
""", "shop.example", "  gateways: [edge]"))
    edge = sidecar(town.kind, town.control, False, address, name="edge", role="router",
                   labels={"istio": "ingress"})
    try:
        def ask(target, host="shop.example"):
            return fetch(8080, target, host=host, address=address)

        wait_listening(8080, address)
        until(lambda: ask("/").body == b"ratings", 10, "the gateway")
        assert ask("/reviews").body == b"v2"
        assert ask("/", "other.example").status == 404
        assert sum(edge.stats("update_rejected").values()) == 0
    finally:
        edge.stop()
