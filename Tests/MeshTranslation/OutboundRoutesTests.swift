import MeshModel
import ResourceModel
import Testing

@testable import MeshTranslation

private let v1 = "outbound|9080|v1|reviews.default.svc.cluster.local"
private let whole = "outbound|9080||reviews.default.svc.cluster.local"

@Suite("Routes of a workload's own requests")
struct OutboundRoutesTests {
  @Test("a service without rules has one route, without a timeout, that is tried again twice")
  func noRules() {
    let fixture = Fixture()
    #expect(fixture.routes.map(\.route.cluster) == [whole])
    let action = fixture.routes.first?.route
    #expect(action?.hasTimeout == true)
    #expect(action?.timeout.seconds == 0)
    #expect(action?.retryPolicy.numRetries.value == 2)
    #expect(
      action?.retryPolicy.retryOn
        == "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes")
  }

  @Test("the names of a service depend on the namespace of who calls")
  func domains() {
    let name = "reviews.default.svc.cluster.local"
    let near = Fixture().host()?.domains
    #expect(
      near == [
        name, name + ".", "reviews", "reviews.default.svc", "reviews.default", "10.96.0.1",
      ])
    let far = Fixture(namespace: "other").host()?.domains
    #expect(far == [name, name + ".", "reviews.default.svc", "reviews.default", "10.96.0.1"])
  }

  @Test("what no service has goes where it was meant, or nowhere")
  func catchAll() {
    let open = Fixture().outbound.routes.first?.virtualHosts.last
    #expect(open?.name == "allow_any")
    #expect(open?.routes.first?.route.cluster == "PassthroughCluster")
    let closed = Fixture(
      """
      {apiVersion: mesh.istio.io/v1alpha1, kind: MeshConfig, metadata: {name: m}, spec: {
        outboundTrafficPolicy: {mode: REGISTRY_ONLY}}}
      """
    ).outbound.routes.first?.virtualHosts.last
    #expect(closed?.name == "block_all")
    #expect(closed?.routes.first?.directResponse.status == 502)
  }

  @Test("shares go to subsets, and what has none is left out")
  func weights() {
    let fixture = Fixture(
      Fixture.rule(
        """
        http:
        - route:
          - {destination: {host: reviews, subset: v1}, weight: 70}
          - {destination: {host: reviews, subset: v2}, weight: 30}
          - {destination: {host: reviews, subset: v3}, weight: 0}
        """))
    let shares = fixture.routes.first?.route.weightedClusters.clusters
    #expect(
      shares?.map(\.name) == [v1, "outbound|9080|v2|reviews.default.svc.cluster.local"])
    #expect(shares?.map(\.weight.value) == [70, 30])
  }

  @Test("matches stand in their order, and nothing follows one that takes everything")
  func order() {
    let fixture = Fixture(
      Fixture.rule(
        """
        http:
        - name: a
          match:
          - {name: x, uri: {exact: /x}}
          - {uri: {prefix: /y}, headers: {end-user: {exact: jason}}, queryParams: {q: {regex: ".*"}}}
          route: [{destination: {host: reviews, subset: v1}}]
        - {name: b, route: [{destination: {host: reviews}}]}
        - {name: c, route: [{destination: {host: ratings}}]}
        """))
    #expect(fixture.routes.map(\.name) == ["a.x", "a", "b"])
    #expect(fixture.routes.map(\.route.cluster) == [v1, v1, whole])
    #expect(fixture.routes.first?.match.path == "/x")
    let second = fixture.routes.count > 1 ? fixture.routes[1].match : .init()
    #expect(second.prefix == "/y")
    #expect(second.headers.map(\.name) == ["end-user"])
    #expect(second.queryParameters.first?.stringMatch.safeRegex.regex == ".*")
  }

  @Test("matches count for the workloads and ports that they name")
  func scoped() {
    let rule = Fixture.rule(
      """
      http:
      - match: [{sourceLabels: {app: mine}}]
        route: [{destination: {host: reviews, subset: v1}}]
      - match: [{port: 81}, {sourceNamespace: other}, {gateways: [edge]}]
        route: [{destination: {host: reviews, subset: v2}}]
      - route: [{destination: {host: reviews}}]
      """)
    #expect(Fixture(rule).routes.map(\.route.cluster) == [whole])
    #expect(Fixture(rule, labels: ["app": "mine"]).routes.map(\.route.cluster) == [v1])
  }

  @Test("every word of a route is said")
  func words() throws {
    let fixture = Fixture(
      Fixture.rule(
        """
        http:
        - match: [{uri: {prefix: /old}, ignoreUriCase: true, withoutHeaders: {x-a: {exact: b}}}]
          rewrite: {uri: /new, authority: other.example}
          timeout: 2s
          retries: {attempts: 3, perTryTimeout: 1s, retryOn: "5xx,503", backoff: 10ms}
          mirror: {host: ratings}
          mirrorPercentage: {value: 12.5}
          headers:
            request: {set: {x-set: "1"}, add: {x-add: "2"}, remove: [x-gone]}
            response: {remove: [server]}
          fault:
            delay: {fixedDelay: 5s, percentage: {value: 0.1}}
            abort: {httpStatus: 503, percentage: {value: 10}}
          route: [{destination: {host: reviews}}]
        """))
    let route = try #require(fixture.routes.first)
    #expect(route.match.caseSensitive.value == false)
    #expect(route.match.headers.first?.invertMatch == true)
    #expect(route.route.prefixRewrite == "/new")
    #expect(route.route.hostRewriteLiteral == "other.example")
    #expect(route.route.timeout.seconds == 2)
    #expect(route.route.retryPolicy.numRetries.value == 3)
    #expect(route.route.retryPolicy.retryOn == "5xx,retriable-status-codes")
    #expect(route.route.retryPolicy.retriableStatusCodes == [503])
    let mirror = try #require(route.route.requestMirrorPolicies.first)
    #expect(mirror.cluster == "outbound|9080||ratings.default.svc.cluster.local")
    #expect(mirror.runtimeFraction.defaultValue.numerator == 125_000)
    #expect(route.requestHeadersToAdd.map(\.header.key) == ["x-set", "x-add"])
    #expect(route.requestHeadersToRemove == ["x-gone"])
    #expect(route.responseHeadersToRemove == ["server"])
    let fault = try Envoy_Extensions_Filters_Http_Fault_V3_HTTPFault(
      serializedBytes: try #require(route.typedPerFilterConfig["envoy.filters.http.fault"]).value)
    #expect(fault.delay.fixedDelay.seconds == 5)
    #expect(fault.delay.percentage.numerator == 1000)
    #expect(fault.abort.httpStatus == 503)
  }

  @Test("redirects and direct answers need no destination")
  func answers() {
    let fixture = Fixture(
      Fixture.rule(
        """
        http:
        - match: [{uri: {exact: /a}}]
          redirect: {uri: /b, authority: c.example, scheme: https, port: 8443, redirectCode: 307}
        - match: [{uri: {exact: /teapot}}]
          directResponse: {status: 418, body: {string: short and stout}}
        """))
    let redirect = fixture.routes.first?.redirect
    #expect(redirect?.pathRedirect == "/b")
    #expect(redirect?.hostRedirect == "c.example")
    #expect(redirect?.schemeRedirect == "https")
    #expect(redirect?.portRedirect == 8443)
    #expect(redirect?.responseCode == .temporaryRedirect)
    #expect(fixture.routes.last?.directResponse.status == 418)
    #expect(fixture.routes.last?.directResponse.body.inlineString == "short and stout")
  }

  @Test("of two rules for one host the older one counts")
  func conflict() {
    let fixture = Fixture(
      Fixture.rule("http: [{name: old, route: [{destination: {host: reviews}}]}]", name: "z"),
      Fixture.rule("http: [{name: new, route: [{destination: {host: reviews}}]}]", name: "a"))
    #expect(fixture.routes.map(\.name) == ["old"])
  }

  @Test("a rule for a host that nobody knows has a virtual host on port 80")
  func unregistered() {
    let fixture = Fixture(
      "{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {ports: [{name: http, port: 80}]}}",
      Fixture.rule(
        "http: [{route: [{destination: {host: reviews}}]}]", name: "x", hosts: "shop.example"))
    #expect(fixture.host("shop.example", port: 80)?.domains == ["shop.example"])
    #expect(fixture.host("shop.example") == nil)
  }

  @Test("a rule may hand over to others, which see what it lets through")
  func delegates() {
    let fixture = Fixture(
      Fixture.rule("http: [{match: [{uri: {prefix: /a}}], delegate: {name: part}}]"),
      """
      apiVersion: networking.istio.io/v1
      kind: VirtualService
      metadata: {name: part}
      spec:
        http:
        - {match: [{headers: {x-a: {exact: b}}}], route: [{destination: {host: reviews, subset: v1}}]}
        - {route: [{destination: {host: reviews}}]}
      """)
    #expect(fixture.routes.map(\.match.prefix) == ["/a", "/a"])
    #expect(fixture.routes.map(\.route.cluster) == [v1, whole])
  }

  @Test("clients that are no proxies get a listener for each name, and one virtual host")
  func proxyless() {
    let fixture = Fixture(client: "gRPC C-core linux Python", metadata: [:])
    let names = fixture.outbound.listeners.map(\.name)
    #expect(names.contains("reviews:9080"))
    #expect(names.contains("reviews.default.svc.cluster.local:9080"))
    let routes = fixture.outbound.routes.first { $0.name == whole }
    #expect(routes?.virtualHosts.count == 1)
    let policies = Set(fixture.outbound.clusters.map(\.lbPolicy))
    #expect(policies == [.roundRobin])
    #expect(fixture.inbound.listeners.isEmpty)
  }
}
