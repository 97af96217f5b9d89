"""Virtual hosts: which one a request's host selects."""

from ..model import bytes_of, case, get, says, to, vhost


def _hosts(*patterns):
    return [vhost(says(p), domains=[p], name=f"vh{i}") for i, p in enumerate(patterns)]


case("an exact domain wins over suffix, prefix and any",
     get(host="www.foo.com"), get(host="foo.com"), get(host="a.foo.com"), get(host="www.foo.org"),
     get(host="bar.net"),
     vhosts=_hosts("*", "www.foo.*", "*.foo.com", "www.foo.com"))
case("the longest suffix wins, whatever the order",
     get(host="a.b.foo.com"), get(host="x.foo.com"), get(host="x.com"), get(host="b.foo.com"),
     vhosts=_hosts("*.com", "*.foo.com", "*.b.foo.com", "*"))
case("the longest prefix wins, whatever the order",
     get(host="foo.com"), get(host="foo.bar.com"), get(host="foo.bar.baz.de"), get(host="bar.foo"),
     vhosts=_hosts("foo.*", "foo.bar.*", "foo.bar.baz.*", "*"))
case("a suffix domain wins over a prefix domain",
     get(host="www.foo.com"), vhosts=_hosts("www.*", "*.com", "*"))
case("a suffix may begin within a label",
     get(host="x-bar.com"), get(host="-bar.com", expect=200), get(host="bar.com"),
     vhosts=_hosts("*-bar.com", "*"))
case("a wildcard stands for at least one character",
     get(host=".foo.com"), get(host="x.foo.com"), get(host="www."),
     vhosts=_hosts("*.foo.com", "www.*", "*"))
case("domains fold case, in the configuration and in the request",
     get(host="WWW.Foo.Com"), get(host="a.BAR.org"), get(host="PRE.x"),
     vhosts=_hosts("www.FOO.com", "*.bAr.org", "pre.*", "*"))
case("a host that no domain matches is not found",
     get(host="b.example", expect=404), vhosts=_hosts("a.example"),
     expect_log={"flags": "NR", "details": "route_not_found"})
case("a port is part of the host",
     get(host="foo.com:8080"), get(host="foo.com"), get(host="foo.com:81"),
     vhosts=_hosts("foo.com", "foo.com:8080", "*"))
case("an exact domain does not match the same host with a port",
     get(host="foo.com:8080"), vhosts=_hosts("foo.com", "*"))
case("a prefix domain matches with any port",
     get(host="foo.com:8080"), vhosts=_hosts("foo.com:*", "foo.com", "*"))
case("ignore_port_in_host_matching matches without the port and keeps it in the request",
     get(host="foo.com:8080"), get(host="foo.com"),
     vhosts=[vhost(to("up"), domains=["foo.com"])],
     route_config={"ignore_port_in_host_matching": True})
case("strip_any_host_port takes every port away",
     get(host="foo.com:8080"), get(host="foo.com:80"), get(host="foo.com"),
     vhosts=[vhost(to("up"), domains=["foo.com"])], hcm={"strip_any_host_port": True})
case("strip_matching_host_port takes the listener's port away",
     get(host="foo.com:@@port"), get(host="foo.com:1", expect=404), get(host="foo.com"),
     vhosts=[vhost(to("up"), domains=["foo.com"])], hcm={"strip_matching_host_port": True})
case("strip_trailing_host_dot takes a trailing dot away",
     get(host="foo.com."), get(host="foo.com"), get(host="foo.com.:80", expect=404),
     vhosts=[vhost(to("up"), domains=["foo.com"])], hcm={"strip_trailing_host_dot": True})
case("an IPv6 literal with a port is a host",
     get(host="[::1]:8080"), get(host="[::1]"),
     vhosts=_hosts("[::1]", "[::1]:8080", "*"))
case("strip_any_host_port leaves the colons of an IPv6 literal",
     get(host="[::1]:8080"), get(host="[::1]"),
     vhosts=[vhost(to("up"), domains=["[::1]"])], hcm={"strip_any_host_port": True})
case("a request without a host is refused",
     get(host=None, expect=400), expect_log={"details": "missing_host_header"})
case("an empty host is a host",
     bytes_of(b"GET / HTTP/1.1\r\nHost:\r\n\r\n", expect=200))
case("one virtual host may have many domains",
     get(host="a.example"), get(host="x.b.example"), get(host="c.z"), get(host="d", expect=404),
     vhosts=[vhost(says("one"), domains=["a.example", "*.b.example", "c.*"])])
case("an absolute target names the host, whatever the host field says",
     bytes_of(b"GET http://a.example/x HTTP/1.1\r\nHost: b.example\r\n\r\n", expect=200),
     vhosts=[vhost(to("up"), domains=["a.example"])])
case("require_tls ALL redirects plain requests to https",
     get("/p?q=1", host="foo.com", expect=301),
     get("/p", host="foo.com:80", expect=301), get("/p", host="foo.com:8080", expect=301),
     vhosts=[vhost(to("up"), require_tls="ALL")])
case("require_tls EXTERNAL_ONLY redirects a request from outside",
     get("/p", expect=301), vhosts=[vhost(to("up"), require_tls="EXTERNAL_ONLY")])
case("a thousand exact domains are told apart",
     get(host="h0.example"), get(host="h999.example"), get(host="h1000.example", expect=404),
     vhosts=[vhost(says(f"{i}"), domains=[f"h{i}.example"], name=f"v{i}") for i in range(1000)])
