"""An access log's `metadata_filter`, for every kind of value matcher, compared with the real Envoy.

What Fairlead's own filter notes of a client's certificate, Envoy's `set_metadata` notes there.
"""

import contextlib

import pytest

from harness.certificates import Authority
from harness.client import Connection, request_bytes
from harness.ports import free_port
from harness.proxy import Proxy, bootstrap
from harness.simple import listener
from harness.tls import TLSConnection, downstream_tls
from harness.waiting import until

_FILE_LOG = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"
SPACE = "fairlead.filters.http.mtls"
# What the certificate, or `set_metadata`, says.
VALUE = "client.example"

VALUES = {
    "exact": {"string_match": {"exact": VALUE}},
    "another exact": {"string_match": {"exact": "client"}},
    "exact in another case": {"string_match": {"exact": "Client.Example"}},
    "exact in any case": {"string_match": {"exact": "Client.Example", "ignore_case": True}},
    "prefix": {"string_match": {"prefix": "client."}},
    "another prefix": {"string_match": {"prefix": "lient"}},
    "suffix": {"string_match": {"suffix": ".example"}},
    "another suffix": {"string_match": {"suffix": ".exampl"}},
    "contains": {"string_match": {"contains": "nt.ex"}},
    "contains in any case": {"string_match": {"contains": "NT.EX", "ignore_case": True}},
    "contains something else": {"string_match": {"contains": "server"}},
    "a regex of all": {"string_match": {"safe_regex": {"regex": "client\\.[a-z]+"}}},
    "a regex of a part": {"string_match": {"safe_regex": {"regex": "client"}}},
    "present": {"present_match": True},
    "not present": {"present_match": False},
    "null": {"null_match": {}},
    "a number": {"double_match": {"exact": 1}},
    "a range": {"double_match": {"range": {"start": 0, "end": 1e9}}},
    "true": {"bool_match": True},
    "false": {"bool_match": False},
    "a list with it": {"list_match": {"one_of": {"string_match": {"exact": VALUE}}}},
}
PATHS = {
    "no such key": (SPACE, ["nothing"]),
    "no such filter": ("nobody", ["dns"]),
    "deeper than there is anything": (SPACE, ["dns", "more"]),
}
ABSENT = {True: "taken", False: "left out", None: "by default"}


def matching():
    """Name: a `metadata_filter`."""
    for name, value in VALUES.items():
        for taken, said in ABSENT.items():
            yield f"{name}, what is absent {said}", filter_of(SPACE, ["dns"], value, taken)
    for place, (space, keys) in PATHS.items():
        for taken, said in ABSENT.items():
            for name in ("exact", "present", "not present", "null"):
                yield (f"{place}, {name}, what is absent {said}",
                       filter_of(space, keys, VALUES[name], taken))


def filter_of(space, keys, value, taken):
    """One filter."""
    one = {"matcher": {"filter": space, "path": [{"key": key} for key in keys], "value": value}}
    return one if taken is None else {**one, "match_if_key_not_found": taken}


FILTERS = dict(matching())


def logs(path):
    """An access log for each filter, and one without."""
    for name, chosen in [*FILTERS.items(), ("all", None)]:
        yield {"name": "file", **({"filter": {"metadata_filter": chosen}} if chosen else {}),
               "typed_config": {
                   "@type": _FILE_LOG, "path": str(path),
                   "log_format": {"text_format_source": {"inline_string": f"{name}\n"}}}}


def front(kind, port, path, authority):
    """A listener that notes something of its client."""
    noting = {"name": SPACE, "typed_config": {
        "@type": "type.googleapis.com/fairlead.filters.http.mtls.v1.MTLS", "stat_prefix": "m"}}
    if kind == "envoy":
        noting = {"name": "set_metadata", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.set_metadata.v3.Config",
            "metadata": [{"metadata_namespace": SPACE, "value": {"dns": VALUE}}]}}
    config = listener(
        "main", port, [{"match": {"prefix": "/"}, "direct_response": {"status": 200}}], [noting])
    config["filter_chains"][0]["filters"][0]["typed_config"]["access_log"] = list(logs(path))
    if kind == "fairlead":
        server = authority.issue("server", "DNS:server.example")
        config["filter_chains"][0]["transport_socket"] = downstream_tls(
            common_tls_context=server.common(validation_context=authority.trust))
    return config


@pytest.fixture(scope="module")
def told(proxy_kind, tmp_path_factory):
    """{proxy: the names of the filters that took the request}."""
    directory, found = tmp_path_factory.mktemp("metadata"), {}
    authority = Authority(directory)
    client = authority.issue("client", f"DNS:{VALUE}")
    for kind in {"envoy", proxy_kind}:
        port, log = free_port(), directory / kind
        with Proxy(kind) as proxy, contextlib.ExitStack() as stack:
            proxy.start(bootstrap([front(kind, port, log, authority)], [], free_port()))
            connection = stack.enter_context(
                TLSConnection(port, authority, client) if kind == "fairlead" else Connection(port))
            connection.send(request_bytes())
            assert connection.read_response().status == 200
            # The log without a filter is the last.
            until(lambda: log.exists() and log.read_text().endswith("all\n"), what="the log")
            found[kind] = set(log.read_text().splitlines())
    return found


@pytest.mark.parametrize("name", FILTERS)
def test_the_same_as_envoy(told, proxy_kind, name):
    """Whether the request is logged."""
    assert (name in told[proxy_kind]) == (name in told["envoy"])


def test_some_are_taken_and_some_are_not(told):
    """Otherwise the comparison would say nothing."""
    assert {"exact, what is absent left out", "no such key, exact, what is absent taken"} \
        <= told["envoy"]
    assert not {"another exact, what is absent taken", "null, what is absent taken"} & told["envoy"]
