import Testing

@testable import Telemetry

@Suite("Tag rules")
struct TagRulesTests {
  // The labels are those that Envoy 1.40 prints at /stats/prometheus for the same names.
  @Test(
    "default rules take Envoy's labels out of names",
    arguments: [
      ("cluster.c.upstream_rq_total", "cluster.upstream_rq_total", "envoy.cluster_name=c"),
      (
        "cluster.c.upstream_rq_200", "cluster.upstream_rq",
        "envoy.response_code=200,envoy.cluster_name=c"
      ),
      (
        "cluster.c.external.upstream_rq_5xx", "cluster.external.upstream_rq_xx",
        "envoy.response_code_class=5,envoy.cluster_name=c"
      ),
      (
        "http.ingress.downstream_rq_2xx", "http.downstream_rq_xx",
        "envoy.response_code_class=2,envoy.http_conn_manager_prefix=ingress"
      ),
      (
        "listener.127.0.0.1_80.http.in.downstream_rq_2xx", "listener.http.downstream_rq_xx",
        "envoy.response_code_class=2,envoy.http_conn_manager_prefix=in,"
          + "envoy.listener_address=127.0.0.1_80"
      ),
      (
        "listener.[__1]_80.downstream_cx_total", "listener.downstream_cx_total",
        "envoy.listener_address=[__1]_80"
      ),
      (
        "listener.admin.http.admin.downstream_rq_2xx", "listener.admin.http.downstream_rq_xx",
        "envoy.response_code_class=2,envoy.http_conn_manager_prefix=admin"
      ),
      (
        "listener.127.0.0.1_80.worker_1.downstream_cx_total",
        "listener.worker_downstream_cx_total",
        "envoy.worker_id=1,envoy.listener_address=127.0.0.1_80"
      ),
      ("server.worker_0.watchdog_miss", "server.worker_watchdog_miss", "envoy.worker_id=0"),
      (
        "thread_local_cluster_manager.worker_0.clusters_inflated",
        "thread_local_cluster_manager.worker_clusters_inflated", "envoy.worker_id=0"
      ),
      ("server.live", "server.live", ""),
      (
        "rl.http_local_rate_limit.ok", "http_local_rate_limit.ok",
        "envoy.local_http_ratelimit_prefix=rl"
      ),
      (
        "vhost.v.vcluster.x.upstream_rq_200", "vhost.vcluster.upstream_rq",
        "envoy.response_code=200,envoy.virtual_cluster=x,envoy.virtual_host=v"
      ),
      (
        "cluster.c.ssl.versions.TLSv1.3", "cluster.ssl.versions",
        "envoy.ssl_version=TLSv1.3,envoy.cluster_name=c"
      ),
      (
        "http.p.rds.a.b.update_success", "http.rds.update_success",
        "envoy.rds_route_config=a.b,envoy.http_conn_manager_prefix=p"
      ),
      ("cluster.upstream_rq_12", "cluster.upstream_rq_12", ""),
      ("_rq_2xx", "_rq_xx", "envoy.response_code_class=2"),
      ("", "", ""),
    ])
  func defaults(name: String, remaining: String, tags: String) {
    let found = TagRules().extract(from: name)
    #expect(found.name == remaining)
    #expect(found.tags.map { "\($0.name)=\($0.value)" }.joined(separator: ",") == tags)
  }

  @Test("without the defaults only selected, custom and fixed tags remain")
  func configured() {
    var rules = TagRules()
    rules.usesDefaults = false
    rules.selectedDefaults = ["envoy.cluster_name"]
    rules.fixed = [TagRules.Tag(name: "zone", value: "z1")]
    rules.custom = [
      TagRules.CustomRule(name: "first") { name in
        name.hasPrefix("x") ? TagRules.Match(removed: 0..<2, value: 0..<1) : nil
      }
    ]
    #expect(rules.extract(from: "cluster.c.upstream_rq_200").name == "cluster.upstream_rq_200")
    let custom = rules.extract(from: "x.y")
    #expect(custom.name == "y")
    #expect(custom.tags.map(\.name) == ["zone", "first"])
  }
}
