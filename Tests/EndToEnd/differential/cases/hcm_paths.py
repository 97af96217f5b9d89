"""What the connection manager makes of a request's target before routing."""

from ..model import bytes_of, case, get, prefix, req, says


def _target(target, expect=200, method="GET", host=b"test.example"):
    return bytes_of(method.encode() + b" " + target + b" HTTP/1.1\r\nHost: " + host + b"\r\n\r\n",
                    expect, method)


NORMALIZE = {"normalize_path": True}
MERGE = {"merge_slashes": True}

case("without normalisation a path is forwarded as it came",
     get("/a/../b"), get("/a/./b"), get("//a"), get("/a%2Fb"), get("/%41"), get("/a\\b"))
case("normalize_path removes dot segments",
     get("/a/../b"), get("/a/./b"), get("/a/b/.."), get("/a/b/."), get("/./a"), get("/a/b/../../c"),
     get("/a/..b"), get("/..."), get("/a/../b?x=/../y"), hcm=NORMALIZE)
case("normalize_path refuses to leave the root or clamps to it",
     get("/.."), get("/../a"), get("/a/../../b"), hcm=NORMALIZE)
case("normalize_path decodes unreserved characters and folds the case of the others",
     get("/%41%7a%30"), get("/%2e%2e/a"), get("/a/%2E%2e/b"), get("/%3a%2f"), get("/%c3%a4"),
     get("/a%20b"), hcm=NORMALIZE)
case("normalize_path turns backslashes into slashes",
     get("/a\\b"), get("/a\\..\\b"), get("/a?b\\c"), hcm=NORMALIZE)
case("normalize_path leaves malformed escapes alone",
     _target(b"/%"), _target(b"/%4"), _target(b"/%zz"), hcm=NORMALIZE)
case("normalize_path refuses an escaped NUL",
     get("/%00", expect=400), hcm=NORMALIZE)
case("a normalised path is routed by what it became",
     get("/public/../admin", expect="admin"), get("/admin/../public", expect="public"),
     routes=[says("admin", prefix("/admin")), says("public", prefix("/public"))], hcm=NORMALIZE)
case("merge_slashes merges slashes in the path and not in the query",
     get("//a///b"), get("/a//?x=//y"), get("/a/b//"), get("///"), hcm=MERGE)
case("merge_slashes and normalize_path together",
     get("//a/..//b"), get("/a//../b"), get("/a/.//b"), hcm={**NORMALIZE, **MERGE})
for _action, _expect in (("KEEP_UNCHANGED", 200), ("REJECT_REQUEST", 400),
                         ("UNESCAPE_AND_REDIRECT", 307), ("UNESCAPE_AND_FORWARD", 200),
                         ("IMPLEMENTATION_SPECIFIC_DEFAULT", 200)):
    case(f"escaped slashes with {_action}",
         get("/a%2Fb", expect=_expect), get("/a%2fb?x=%2F", expect=_expect),
         get("/a%5Cb", expect=_expect), get("/a%5cb%2F..", expect=_expect), get("/a?x=%2F"),
         hcm={"path_with_escaped_slashes_action": _action})
    case(f"escaped slashes with {_action}, normalised and merged",
         get("/a%2F%2Fb", expect=_expect), get("/a%2F..%2Fb", expect=_expect),
         get("/a/%5C../b", expect=_expect),
         hcm={"path_with_escaped_slashes_action": _action, **NORMALIZE, **MERGE})
case("a fragment in the target is refused",
     _target(b"/a#b", 400), _target(b"/a?x#b", 400), _target(b"/#", 400))
case("a target without a leading slash is refused",
     _target(b"a", 400), _target(b"?x", 400))
case("the asterisk belongs to OPTIONS, and no prefix matches it",
     _target(b"*", 404, "OPTIONS"), _target(b"*", 400))
case("the authority form belongs to CONNECT",
     _target(b"test.example:80", 400), _target(b"test.example:80", 404, "CONNECT"))
case("an absolute target is forwarded as a path",
     _target(b"http://other.example/a?b"), _target(b"http://other.example"),
     _target(b"http://other.example:81/a"), _target(b"https://other.example/a"),
     _target(b"http://other.example?x", 404))
case("an absolute target with a strange scheme is refused",
     _target(b"ftp://other.example/a", 400), _target(b"gopher:a", 400))
case("an absolute target with user information",
     _target(b"http://user:pass@other.example/a"))
case("raw eight-bit bytes in the target are refused",
     _target(b"/\xc3\xa4", 400), _target(b"/?\xff", 400))
case("a space or a control byte in the target is refused",
     _target(b"/a b", 400), _target(b"/a\tb", 400), _target(b"/a\x01b", 400),
     _target(b"/a\x7fb", 400))
case("a very long target within the limit is forwarded", _target(b"/" + b"a" * 50_000))
case("methods are forwarded whatever they are",
     *[req(m) for m in ("GET", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "HEAD", "PROPFIND",
                        "REPORT", "SEARCH")])
case("an unknown method is refused",
     bytes_of(b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
     bytes_of(b"get / HTTP/1.1\r\nHost: a\r\n\r\n", 400))
