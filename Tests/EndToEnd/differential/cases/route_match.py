"""RouteMatch: which route a request takes."""

from ..model import case, get, path, post, prefix, regex, says, to, vhost


def _header(name, **matcher):
    return prefix("/", headers=[{"name": name, **matcher}])


def _query(name, **matcher):
    return prefix("/", query_parameters=[{"name": name, **matcher}])


ELSE = says("else")

case("a prefix matches every path that begins with it, also within a segment",
     get("/a"), get("/ab"), get("/a/b?c"), get("/b"), get("/A"),
     routes=[says("a", prefix("/a"), name="route-a"), ELSE])
case("the first route that matches wins, not the longest",
     get("/a/b"), routes=[says("short", prefix("/a")), says("long", prefix("/a/b"))])
case("a path matches exactly, without its query",
     get("/a"), get("/a?x=1"), get("/a/"), get("/ab"), get("/A"),
     routes=[says("a", path("/a")), ELSE])
case("case_sensitive false folds the case of paths",
     get("/AbC"), get("/ABCd"), get("/xYz"), get("/XYZw"),
     routes=[says("path", path("/abc", case_sensitive=False)),
             says("prefix", prefix("/XyZ", case_sensitive=False)), ELSE])
case("path_separated_prefix matches whole segments only",
     get("/a"), get("/a/"), get("/a/b"), get("/ab"), get("/a?b"), get("/A/b"),
     routes=[says("a", {"path_separated_prefix": "/a"}), ELSE])
case("path_separated_prefix can fold case",
     get("/A/b"), get("/AB"),
     routes=[says("a", {"path_separated_prefix": "/a", "case_sensitive": False}), ELSE])
case("safe_regex matches the whole path and never the query",
     get("/v1/users"), get("/v1/users?x"), get("/v1/users/7"), get("/v12/users"),
     get("/x/v1/users"),
     routes=[says("re", regex("/v[0-9]/users")), ELSE])
case("safe_regex takes alternations and classes",
     get("/de/shop"), get("/fr-CA/shop"), get("/xyz/shop"), get("/en/"),
     routes=[says("re", regex("/(de|fr|en)(-[A-Z]{2})?/.+")), ELSE])
case("a regular expression that would backtrack answers in linear time",
     get("/" + "a" * 5000 + "b"), routes=[says("re", regex("/(a*)*c")), ELSE])
case("a request that no route matches is not found",
     get("/b", expect=404), routes=[says("a", prefix("/a"))],
     expect_log={"flags": "NR", "details": "route_not_found"})

# Headers: every kind of matcher, and its opposite.
_STRINGS = {
    "exact": ({"exact": "red"}, ["red", "RED", "redder", ""]),
    "prefix": ({"prefix": "re"}, ["red", "RED", "are"]),
    "suffix": ({"suffix": "ed"}, ["red", "RED", "edge"]),
    "contains": ({"contains": "e"}, ["red", "RED", "blood"]),
    "safe_regex": ({"safe_regex": {"regex": "r.d"}}, ["red", "rad", "reds", "RED"]),
}
for _kind, (_matcher, _values) in _STRINGS.items():
    _sent = [get("/", {"x-colour": value}) for value in _values] + [get("/")]
    case(f"a header matches by {_kind}", *_sent,
         routes=[says("match", _header("x-colour", string_match=_matcher)), ELSE])
    case(f"a header match by {_kind} can be inverted", *_sent,
         routes=[says("match", _header("x-colour", string_match=_matcher, invert_match=True)),
                 ELSE])
    if _kind != "safe_regex":
        case(f"a header match by {_kind} can ignore case", *_sent, routes=[
            says("match", _header("x-colour", string_match={**_matcher, "ignore_case": True})),
            ELSE])
    if _kind != "safe_regex":
        case(f"a query parameter matches by {_kind}",
             *[get(f"/?colour={value}") for value in _values], get("/"),
             routes=[says("match", _query("colour", string_match=_matcher)), ELSE])
case("a query parameter matches by safe_regex",
     get("/?n=12"), get("/?n=12a"), get("/?n="), get("/"),
     routes=[says("match", _query("n", string_match={"safe_regex": {"regex": "[0-9]+"}})), ELSE])
case("a query parameter matches with case ignored",
     get("/?c=RED"), get("/?c=blue"), get("/?C=red"),
     routes=[says("match", _query("c", string_match={"exact": "red", "ignore_case": True})), ELSE])
case("present_match true asks for the header, whatever its value",
     get("/", {"x-a": "1"}), get("/", {"x-a": ""}), get("/"),
     routes=[says("match", _header("x-a", present_match=True)), ELSE])
case("present_match false asks for its absence",
     get("/", {"x-a": "1"}), get("/"),
     routes=[says("match", _header("x-a", present_match=False)), ELSE])
case("present_match can be inverted",
     get("/", {"x-a": "1"}), get("/"),
     routes=[says("match", _header("x-a", present_match=True, invert_match=True)), ELSE])
case("a header matcher that says nothing but the name asks for presence",
     get("/", {"x-a": "1"}), get("/"),
     routes=[says("match", _header("x-a")), ELSE])
case("range_match takes its start and not its end",
     *[get("/", {"x-n": n}) for n in ("-11", "-10", "0", "9", "10", "9.5", "abc", "", " 5", "+5")],
     get("/"),
     routes=[says("match", _header("x-n", range_match={"start": -10, "end": 10})), ELSE])
case("range_match can be inverted",
     *[get("/", {"x-n": n}) for n in ("5", "50", "abc")], get("/"),
     routes=[says("match", _header("x-n", range_match={"start": 0, "end": 10}, invert_match=True)),
             ELSE])
case("treat_missing_header_as_empty lets an absent header match an empty value",
     get("/"), get("/", {"x-a": ""}), get("/", {"x-a": "1"}),
     routes=[says("match", _header(
         "x-a", string_match={"safe_regex": {"regex": ".{0}"}},
         treat_missing_header_as_empty=True)),
         ELSE])
case("treat_missing_header_as_empty together with invert_match",
     get("/"), get("/", {"x-a": "red"}), get("/", {"x-a": "blue"}),
     routes=[says("match", _header("x-a", string_match={"exact": "red"}, invert_match=True,
                                   treat_missing_header_as_empty=True)), ELSE])
case("an inverted matcher does not match an absent header by itself",
     get("/"), routes=[says("match", _header(
         "x-a", string_match={"exact": "red"}, invert_match=True)), ELSE])
case("several values of a header are matched joined by a comma",
     get("/", [("x-a", "1"), ("x-a", "2")]), get("/", {"x-a": "1,2"}), get("/", {"x-a": "1, 2"}),
     get("/", {"x-a": "2"}),
     routes=[says("match", _header("x-a", string_match={"exact": "1,2"})), ELSE])
case("all header matchers of a route must match",
     get("/", {"x-a": "1", "x-b": "2"}), get("/", {"x-a": "1"}), get("/", {"x-b": "2"}),
     routes=[says("match", prefix("/", headers=[
         {"name": "x-a", "string_match": {"exact": "1"}},
         {"name": "x-b", "string_match": {"exact": "2"}}])), ELSE])
case("header names in matchers fold case",
     get("/", {"X-MIXED": "1"}),
     routes=[says("match", _header("x-Mixed", present_match=True)), ELSE])
case("pseudo headers can be matched",
     get("/"), post("/"), get("/", host="other.example"),
     routes=[says("post", _header(":method", string_match={"exact": "POST"})),
             says("authority", _header(":authority", string_match={"prefix": "other"})),
             says("path", _header(":path", string_match={"exact": "/"})), ELSE])
case("the deprecated exact_match of a header still matches",
     get("/", {"x-a": "1"}), get("/", {"x-a": "2"}),
     routes=[says("match", _header("x-a", exact_match="1")), ELSE])
case("the deprecated prefix, suffix, contains and regex matches of a header still match",
     *[get("/", {"x-a": v}) for v in ("pre-x", "x-suf", "a-in-b", "77", "none")],
     routes=[says("prefix", _header("x-a", prefix_match="pre")),
             says("suffix", _header("x-a", suffix_match="suf")),
             says("contains", _header("x-a", contains_match="in")),
             says("regex", _header("x-a", safe_regex_match={"regex": "[0-9]+"})), ELSE])

case("a query parameter is present with and without a value",
     get("/?a"), get("/?a="), get("/?a=1"), get("/?b=1"), get("/?ab=1"), get("/"),
     routes=[says("match", _query("a", present_match=True)), ELSE])
case("a query parameter can be asked to be absent",
     get("/?a"), get("/?b=1"), get("/"),
     routes=[says("match", _query("a", present_match=False)), ELSE])
case("all query parameter matchers of a route must match",
     get("/?a=1&b=2"), get("/?b=2&a=1"), get("/?a=1"),
     routes=[says("match", prefix("/", query_parameters=[
         {"name": "a", "string_match": {"exact": "1"}},
         {"name": "b", "string_match": {"exact": "2"}}])), ELSE])
case("of a repeated query parameter the first value counts",
     get("/?a=1&a=2"), get("/?a=2&a=1"),
     routes=[says("match", _query("a", string_match={"exact": "1"})), ELSE])
case("query parameters are compared as they are written, without decoding",
     get("/?a=%31"), get("/?a=1+1"), get("/?%61=1"), get("/?a=1#f", expect=400),
     routes=[says("match", _query("a", string_match={"exact": "1"})),
             says("encoded", _query("a", string_match={"exact": "%31"})),
             says("plus", _query("a", string_match={"exact": "1+1"})), ELSE])
case("a query parameter ends at an ampersand and begins at the first equals sign",
     get("/?x&a=b=c&y"), get("/?&&a=b=c"), get("/?=x&a=b=c"),
     routes=[says("match", _query("a", string_match={"exact": "b=c"})), ELSE])

for _share, _denominator, _word in ((0, "HUNDRED", "never"), (100, "HUNDRED", "always"),
                                    (10_000, "TEN_THOUSAND", "always"),
                                    (1_000_000, "MILLION", "always")):
    case(f"a runtime_fraction of {_share} per {_denominator} {_word} matches",
         get("/"), get("/"),
         routes=[says("match", prefix("/", runtime_fraction={
             "default_value": {"numerator": _share, "denominator": _denominator}})), ELSE])
case("runtime decides over a runtime_fraction's default",
     get("/"), routes=[says("match", prefix("/", runtime_fraction={
         "default_value": {"numerator": 0}, "runtime_key": "@@share"})), ELSE],
     runtime={"@@share": 100})
case("runtime can give a fractional percent as a message",
     get("/"), routes=[says("match", prefix("/", runtime_fraction={
         "default_value": {"numerator": 100}, "runtime_key": "@@share"})), ELSE],
     runtime={"@@share": {"numerator": 0, "denominator": "HUNDRED"}})
case("routes of one virtual host never fall through to another",
     get("/b", expect=404), get("/b", host="x.example"),
     vhosts=[vhost(says("a", prefix("/a")), domains=["test.example"], name="one"),
             vhost(says("rest"), domains=["*"], name="two")])
case("a route's name is logged",
     get("/a"), routes=[{**to("up"), "name": "the-route"}], expect_log={"route": "the-route"})
case("a virtual host without routes finds nothing",
     get("/", expect=404), vhosts=[vhost()])
