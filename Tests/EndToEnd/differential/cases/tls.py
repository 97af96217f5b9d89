"""TLS on both sides: what is agreed upon, who is believed, and what is told of it."""

import atexit
import base64
import functools
import hashlib
import pathlib
import shutil
import ssl
import subprocess
import tempfile

from harness.certificates import Authority
from harness.client import request_bytes
from harness.tls import TLSConnection, downstream_tls, upstream_tls
from harness.upstream import reply

from ..model import HTTP_OPTIONS, case, get, http_options, typed

DIRECTORY = pathlib.Path(tempfile.mkdtemp(prefix="tls-cases-"))
atexit.register(shutil.rmtree, DIRECTORY, True)
AUTHORITY = Authority(DIRECTORY)
STRANGER = Authority(DIRECTORY, "stranger")
SERVER = AUTHORITY.issue("server", "DNS:server.example,URI:spiffe://mesh/server")
OTHER = AUTHORITY.issue("other", "DNS:*.other.example")
CLIENT = AUTHORITY.issue("client", "URI:spiffe://mesh/client,DNS:client.example")
TICKET_KEY = DIRECTORY / "ticket.key"
TICKET_KEY.write_bytes(bytes(range(80)))
SEALED = DIRECTORY / "sealed.key"
subprocess.run(["openssl", "ec", "-in", SERVER.key, "-out", SEALED, "-aes256", "-passout",
                "pass:secret"], check=True, capture_output=True)
CRL = DIRECTORY / "crl.pem"


def _revocations():
    """A list of the authority that revokes nobody."""
    (DIRECTORY / "index.txt").write_text("")
    (DIRECTORY / "ca.cnf").write_text(
        f"[ca]\ndefault_ca=a\n[a]\ndatabase={DIRECTORY}/index.txt\ndefault_md=sha256\n"
        "default_crl_days=30\n")
    subprocess.run(["openssl", "ca", "-gencrl", "-config", DIRECTORY / "ca.cnf", "-cert",
                    AUTHORITY.certificate, "-keyfile", AUTHORITY.key, "-out", CRL],
                   check=True, capture_output=True)


_revocations()
DER = ssl.PEM_cert_to_DER_cert(CLIENT.certificate.read_text())
SPKI = base64.b64encode(hashlib.sha256(subprocess.run(
    ["openssl", "pkey", "-in", CLIENT.key, "-pubout", "-outform", "DER"], check=True,
    capture_output=True).stdout).digest()).decode()
LOG = {name: f"%{name.upper()}%" for name in (
    "downstream_tls_version", "downstream_tls_cipher", "downstream_peer_subject",
    "downstream_peer_issuer", "downstream_peer_serial", "downstream_peer_fingerprint_256",
    "downstream_peer_fingerprint_1", "downstream_peer_uri_san", "downstream_peer_dns_san",
    "downstream_local_subject", "downstream_local_uri_san", "downstream_local_dns_san",
    "downstream_peer_cert_v_start", "downstream_peer_cert_v_end", "downstream_peer_cert",
    "upstream_tls_version", "upstream_peer_subject",
    "upstream_peer_uri_san", "upstream_peer_dns_san", "upstream_peer_issuer",
    "upstream_local_uri_san")}


# --- with clients ---


def _ask(run, identity=None, headers=(), **options):
    """One request by TLS; what the client sees of the handshake is noted."""
    try:
        connection = TLSConnection(run.port, AUTHORITY, identity, **options)
    except (OSError, ssl.SSLError):
        return run.note("handshake", "refused")
    with connection:
        run.note("version", connection.socket.version())
        run.note("protocol", connection.socket.selected_alpn_protocol())
        run.note("subject", connection.socket.getpeercert()["subject"])
        try:
            connection.send(request_bytes(headers=headers))
        except OSError:
            return run.note("request", "refused")
        run.record(connection)
        run.note("resumed", connection.socket.session_reused)
        return connection


def _clients(*asks):
    """A scenario of several clients, each given by the arguments of `_ask`."""

    def scenario(run):
        for ask in asks:
            _ask(run, **ask)

    return scenario


def downstream(name, *asks, context=None, common=None, chain=None, **parts):
    """A case of clients that speak TLS."""
    case("TLS: " + name, scenario=_clients(*(asks or ({},))), log={**LOG, **parts.pop("log", {})},
         chain={"transport_socket": downstream_tls(
             common_tls_context=common or SERVER.common(), **(context or {})), **(chain or {})},
         **parts)


OLD = ssl.TLSVersion.TLSv1_2
TRUST = SERVER.common(validation_context=AUTHORITY.trust)

downstream("a client is answered by either version", {}, {"version": OLD})
downstream("a client shows a certificate, or does not", {"identity": CLIENT}, {},
           {"identity": CLIENT, "version": OLD}, common=TRUST)
downstream("a client has to show a certificate", {"identity": CLIENT}, {"version": OLD},
           {"identity": STRANGER.issue("foreign"), "version": OLD},
           context={"require_client_certificate": True}, common=TRUST)
for mode in ("SANITIZE", "FORWARD_ONLY", "APPEND_FORWARD", "SANITIZE_SET", "ALWAYS_FORWARD_ONLY"):
    told = [("x-forwarded-client-cert", "By=told")]
    downstream(f"x-forwarded-client-cert with {mode}",
               {"identity": CLIENT, "headers": told}, {"headers": told}, {"identity": CLIENT},
               common=TRUST, hcm={
                   "forward_client_cert_details": mode, "set_current_client_cert_details": {
                       "subject": True, "cert": True, "chain": True, "dns": True, "uri": True}})
downstream("the protocol is the server's choice", {"protocols": ["http/1.1"]},
           {"protocols": ["other"]}, {},
           common={**SERVER.common(), "alpn_protocols": ["http/1.1"]})
BOTH = {"tls_certificates": SERVER.common()["tls_certificates"]
        + OTHER.common()["tls_certificates"]}
downstream("the name chooses the certificate", {}, {"name": "a.other.example"},
           {"name": "nobody.example"}, {"name": None}, common=BOTH)
downstream("a name that nobody has is looked for everywhere", {"name": "nobody.example"},
           common=BOTH, context={"full_scan_certs_on_sni_mismatch": True})
downstream("parameters narrow what is agreed upon", {"version": OLD}, {}, common=SERVER.common(
    tls_params={"tls_minimum_protocol_version": "TLSv1_2",
                "tls_maximum_protocol_version": "TLSv1_2",
                "cipher_suites": ["ECDHE-ECDSA-AES256-GCM-SHA384"], "ecdh_curves": ["P-256"],
                "signature_algorithms": ["ecdsa_secp256r1_sha256"]}),
           context={"prefer_client_ciphers": True})
downstream("a version that is too old is refused", {"version": OLD}, common=SERVER.common(
    tls_params={"tls_minimum_protocol_version": "TLSv1_3"}))
downstream("a key may be sealed", {}, common={"tls_certificates": [{
    "certificate_chain": {"filename": str(SERVER.certificate)},
    "private_key": {"filename": str(SEALED)}, "password": {"inline_string": "secret"},
    "watched_directory": {"path": str(DIRECTORY)}}]})
downstream("a handshake may have a time limit", {}, chain={
    "transport_socket_connect_timeout": "5s"})


def accepted(name, **validation):
    """A case of a client that passes, and one that does not, by these rules."""
    downstream(name, {"identity": CLIENT, "version": OLD}, {"identity": OTHER, "version": OLD},
               common=SERVER.common(validation_context={**AUTHORITY.trust, **validation}),
               context={"require_client_certificate": True})


accepted("a client by the digest of its certificate",
         verify_certificate_hash=[hashlib.sha256(DER).hexdigest()])
accepted("a client by its key", verify_certificate_spki=[SPKI])
accepted("a client by a name of either kind", match_typed_subject_alt_names=[
    {"san_type": "URI", "matcher": {"prefix": "spiffe://mesh/"}},
    {"san_type": "DNS", "matcher": {"exact": "b.client.example"}}])
accepted("a client by any name", match_subject_alt_names=[{"exact": "client.example"}])
accepted("clients that are not revoked", crl={"filename": str(CRL)},
         only_verify_leaf_cert_crl=True, max_verify_depth=2, allow_expired_certificate=True,
         watched_directory={"path": str(DIRECTORY)})
accepted("clients that fail, untrusted", trust_chain_verification="ACCEPT_UNTRUSTED",
         match_typed_subject_alt_names=[{"san_type": "DNS", "matcher": {"exact": "x"}}])


def _resumes(run):
    """Two connections, the second with what the first was given."""
    first = _ask(run, version=OLD)
    _ask(run, version=OLD, resumed=first)


for name, context in (
        ("tickets resume sessions", {}),
        ("keys for tickets can be given", {
            "session_ticket_keys": {"keys": [{"filename": str(TICKET_KEY)}]},
            "session_timeout": "600s"}),
        ("without tickets nothing is resumed", {
            "disable_stateless_session_resumption": True,
            "disable_stateful_session_resumption": True})):
    case("TLS: " + name, scenario=_resumes, chain={"transport_socket": downstream_tls(
        common_tls_context=SERVER.common(), **context)})


# --- with upstreams ---


def speaking(identity=SERVER, version=None, require=False):
    """An upstream's behaviour that comes with TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity.certificate, identity.key)
    if version:
        context.maximum_version = version
    if require:
        context.load_verify_locations(AUTHORITY.certificate)
        context.verify_mode = ssl.CERT_REQUIRED
    behaviour = functools.partial(reply())
    behaviour.tls = context
    return behaviour


NEWEST = {"tls_params": {"tls_maximum_protocol_version": "TLSv1_3"}}


def upstream(name, *steps, context=None, common=None, behaviour=None, **parts):
    """A case of an upstream that speaks TLS."""
    parts.setdefault("clusters", {"up": {"transport_socket": upstream_tls(
        common_tls_context={**NEWEST, **(common or {})}, **(context or {}))}})
    case("TLS: " + name, *(steps or (get(),)), log=LOG,
         upstreams={"up": behaviour or speaking()}, **parts)


def validated(**rules):
    """A common context that believes the authority, and more."""
    return {"validation_context": {**AUTHORITY.trust, **rules}}


upstream("an upstream is asked without being believed")
upstream("an upstream speaks what both prefer", clusters={"up": {
    "transport_socket": upstream_tls()}})
upstream("an upstream is believed by its authority", common=validated(),
         context={"sni": "server.example", "max_session_keys": 2})
upstream("an upstream has to have the name that was asked for", common=validated(),
         context={"sni": "server.example", "auto_sni_san_validation": True})
upstream("an upstream is asked for by its host name", common=validated(), clusters={"up": {
    "load_assignment": {"endpoints": [{"lb_endpoints": [{"endpoint": {
        "hostname": "server.example", "address": {"socket_address": {
            "address": "127.0.0.1", "port_value": "@@port:up"}}}}]}]},
    "transport_socket": upstream_tls(
        common_tls_context={**NEWEST, **validated()}, auto_host_sni=True,
        auto_sni_san_validation=True)}})


def named(name, *steps, common=None, **options):
    """A case of an upstream that is asked for, or believed, by what requests say."""
    upstream(name, *steps, clusters={"up": {
        **http_options(upstream_http_protocol_options=options),
        "transport_socket": upstream_tls(
            common_tls_context={**NEWEST, **(common or validated())})}})


named("requests say whom an upstream is asked for", get(host="server.example"),
      get(host="other.example:80"), get(host="SERVER.example"), get(host="127.0.0.1"),
      get(host="[::1]:80"), get(host="a.%20.example"), auto_sni=True)
named("requests say who an upstream has to be", get(host="server.example"),
      get(host="other.example", expect=503), get(host="127.0.0.1", expect=503),
      get(host="server.example:443"), auto_sni=True, auto_san_validation=True)
named("a field says who an upstream has to be", get(expect=503),
      get(headers=[("x-name", "server.example")]), get(headers=[("x-name", "b")], expect=503),
      auto_san_validation=True, override_auto_sni_header="x-name")
named("an upstream has to be two at once", get(host="server.example", expect=503),
      auto_san_validation=True, common=validated(match_typed_subject_alt_names=[
          {"san_type": "DNS", "matcher": {"exact": "other.example"}}]))
AGREED = {"auto_config": {"http_protocol_options": {"enable_trailers": True},
                         "http2_protocol_options": {"max_concurrent_streams": 9}}}
upstream("an upstream and we agree upon HTTP/1", get(), get(), clusters={"up": {
    "typed_extension_protocol_options": {HTTP_OPTIONS: typed(HTTP_OPTIONS, **AGREED)},
    "transport_socket": upstream_tls(common_tls_context=NEWEST)}})
upstream("an upstream wants to know who asks", behaviour=speaking(require=True),
         common={**validated(), **CLIENT.common()})
upstream("an upstream of TLS 1.2", behaviour=speaking(version=OLD), common=validated())
upstream("an upstream of another authority is not asked", get(expect=503),
         common={"validation_context": STRANGER.trust})
upstream("an upstream of another name is not asked", get(expect=503), common=validated(
    match_typed_subject_alt_names=[{"san_type": "DNS", "matcher": {"exact": "x.example"}}]))
upstream("an upstream of another digest is not asked", get(expect=503),
         common=validated(verify_certificate_hash=["ab" * 32]))
upstream("an upstream that speaks plainly is not asked", get(expect=503),
         behaviour=reply(status=400))
case("TLS: an upstream may be spoken to plainly", get(), clusters={"up": {"transport_socket": {
    "name": "raw", "typed_config": typed(
        "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer")}}})


# --- by what endpoints say ---

RAW = {"name": "raw", "typed_config": typed(
    "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer")}
SECURED = upstream_tls(common_tls_context=NEWEST)


def saying(port, **labels):
    """An endpoint of which the metadata says this."""
    return {"endpoint": {"address": {"socket_address": {
        "address": "127.0.0.1", "port_value": f"@@port:{port}"}}}, "metadata": {
            "filter_metadata": {"envoy.transport_socket_match": labels}}}


def matched(name, *endpoints, matches, default=None, secured=True):
    """A case of a cluster with a transport socket for some endpoints."""
    cluster = {"load_assignment": {"endpoints": [{"lb_endpoints": list(endpoints)}]},
               "transport_socket_matches": [
                   {"name": f"m{index}", "match": labels, "transport_socket": socket}
                   for index, (labels, socket) in enumerate(matches)]}
    if default:
        cluster["transport_socket"] = default
    # As many requests as endpoints: each is asked once.
    case("TLS: " + name, *[get() for _ in endpoints], clusters={"up": cluster},
         upstreams={"up": speaking() if secured else reply(), "plain": reply()},
         by_chance=r"^log\[\d\] upstream")


ISTIO = ({"tlsMode": "istio"}, SECURED)
matched("an endpoint that says so is spoken to by TLS", saying("up", tlsMode="istio", more=1),
        matches=[ISTIO, ({}, RAW)])
matched("endpoints of one cluster are spoken to as they say", saying("up", tlsMode="istio"),
        saying("plain", tlsMode="none"), matches=[ISTIO])
matched("the first transport socket that fits is taken", saying("up", tlsMode="istio"),
        matches=[({"tlsMode": "istio", "other": True}, RAW), ISTIO, ({}, RAW)], default=RAW)
matched("what fits nothing has the cluster's own transport socket", saying("up", tlsMode=True),
        matches=[({"tlsMode": "true"}, RAW), ({"tlsMode": 1}, RAW)], default=SECURED)
matched("values of every kind are compared", saying("up", a=1.5, b=[1, {"c": None}], d={"e": False}),
        matches=[({"a": 1.5, "b": [1, {"c": None}], "d": {"e": False}}, SECURED)])
matched("a match may say that bytes are plain", saying("up"), matches=[({}, RAW)],
        default=SECURED, secured=False)
