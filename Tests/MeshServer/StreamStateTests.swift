import Testing

@testable import MeshServer

private typealias TypeURL = ResourceSet.TypeURL

/// Short names for types, as in `cds a=1 b=2`.
private func set(_ text: String) -> ResourceSet {
  let types = [
    "cds": TypeURL.cluster, "eds": TypeURL.endpoints, "lds": TypeURL.listener,
    "rds": TypeURL.routes, "sds": TypeURL.secret,
  ]
  var resources: [String: [ServedResource]] = [:]
  var type = ""
  for word in text.split(separator: " ").map(String.init) {
    if let named = types[word] {
      type = named
    } else {
      let parts = word.split(separator: "=").map(String.init)
      resources[type, default: []].append(
        ServedResource(type: type, name: parts[0], bytes: Array(parts[1].utf8)))
    }
  }
  return ResourceSet(resources)
}

/// `cds#1 a b -c`: type, nonce, resources, removed names.
private func text(_ pushes: [Push]) -> [String] {
  let names = [
    TypeURL.cluster: "cds", TypeURL.endpoints: "eds", TypeURL.listener: "lds",
    TypeURL.routes: "rds", TypeURL.secret: "sds",
  ]
  return pushes.map { push in
    ([(names[push.type] ?? push.type) + "#" + push.nonce] + push.resources.map(\.name)
      + push.removed.map { "-" + $0 }).joined(separator: " ")
  }
}

/// One stream and what there is to serve.
private struct Stream {
  var state: StreamState
  var resources: ResourceSet

  init(_ variant: StreamState.Variant, _ resources: String) {
    state = StreamState(variant)
    self.resources = set(resources)
  }

  mutating func ask(
    _ type: String, _ names: String = "", without unwanted: String = "", nonce: String = "",
    refusal: String? = nil, known: [String: String] = [:]
  ) throws -> [String] {
    text(
      try meaning(type, names, without: unwanted, nonce: nonce, refusal: refusal, known: known).1)
  }

  mutating func meaning(
    _ type: String, _ names: String = "", without unwanted: String = "", nonce: String = "",
    refusal: String? = nil, known: [String: String] = [:]
  ) throws -> (RequestMeaning, [Push]) {
    var request = StreamRequest(type: type, nonce: nonce, refusal: refusal)
    request.names = names.split(separator: " ").map(String.init)
    request.unwanted = unwanted.split(separator: " ").map(String.init)
    request.known = known
    return try state.take(request, of: resources)
  }

  mutating func publish(_ resources: String) -> [String] {
    self.resources = set(resources)
    return text(state.publish(self.resources))
  }
}

@Suite("State of the world")
struct StateOfTheWorldTests {
  @Test("a secret that there is not yet is answered when it comes")
  func missingSecret() throws {
    var stream = Stream(.stateOfTheWorld, "cds a=1")
    #expect(try stream.ask(TypeURL.secret, "default") == [])
    #expect(stream.publish("sds default=1") == ["sds#1 default"])
    #expect(try stream.ask(TypeURL.secret, "default", nonce: "1") == [])
    #expect(stream.publish("sds default=2") == ["sds#2 default"])
  }

  @Test("a proxy is brought up as Envoy asks, and hears nothing while nothing changes")
  func bringUp() throws {
    var stream = Stream(.stateOfTheWorld, "cds a=1 b=1 eds a=1 lds l=1 rds r=1")
    #expect(try stream.ask(TypeURL.cluster) == ["cds#1 a b"])
    #expect(try stream.ask(TypeURL.endpoints, "a b") == ["eds#2 a b"])
    #expect(try stream.ask(TypeURL.cluster, nonce: "1") == [])
    #expect(try stream.ask(TypeURL.endpoints, "a b", nonce: "2") == [])
    #expect(try stream.ask(TypeURL.listener) == ["lds#3 l"])
    #expect(try stream.ask(TypeURL.routes, "r") == ["rds#4 r"])
    #expect(try stream.ask(TypeURL.listener, nonce: "3") == [])
    #expect(try stream.ask(TypeURL.routes, "r", nonce: "4") == [])
    #expect(stream.publish("cds a=1 b=1 eds a=1 lds l=1 rds r=1") == [])
  }

  @Test("an empty world is an answer too")
  func empty() throws {
    var stream = Stream(.stateOfTheWorld, "")
    #expect(try stream.ask(TypeURL.cluster) == ["cds#1"])
    #expect(try stream.ask(TypeURL.cluster, nonce: "1") == [])
  }

  @Test("names that do not exist are answered with empty endpoints and routes")
  func missing() throws {
    var stream = Stream(.stateOfTheWorld, "")
    #expect(try stream.ask(TypeURL.endpoints, "x") == ["eds#1 x"])
    #expect(try stream.ask(TypeURL.routes, "y") == ["rds#2 y"])
    #expect(try stream.ask(TypeURL.listener, "z") == ["lds#3"])
    #expect(try stream.ask(TypeURL.endpoints, "x", nonce: "1") == [])
    #expect(stream.publish("eds x=1") == ["eds#4 x"])
    #expect(try stream.ask(TypeURL.endpoints, "x", nonce: "4") == [])
    // And those that are gone.
    #expect(stream.publish("") == ["eds#5 x"])
  }

  @Test("a change of clusters comes whole, with the endpoints that the proxy waits for")
  func clusterChange() throws {
    var stream = Stream(.stateOfTheWorld, "cds a=1 b=1 eds a=1 b=1")
    #expect(try stream.ask(TypeURL.cluster) == ["cds#1 a b"])
    #expect(try stream.ask(TypeURL.endpoints, "a b") == ["eds#2 a b"])
    #expect(try stream.ask(TypeURL.cluster, nonce: "1") == [])
    #expect(try stream.ask(TypeURL.endpoints, "a b", nonce: "2") == [])
    #expect(stream.publish("cds a=1 b=2 eds a=1 b=1") == ["cds#3 a b", "eds#4 a b"])
    #expect(try stream.ask(TypeURL.cluster, nonce: "3") == [])
    #expect(try stream.ask(TypeURL.endpoints, "a b", nonce: "4") == [])
    #expect(stream.publish("cds a=1 eds a=1") == ["cds#5 a", "eds#6 a b"])
  }

  @Test("a change of endpoints is those that have changed")
  func endpointChange() throws {
    var stream = Stream(.stateOfTheWorld, "eds a=1 b=1")
    #expect(try stream.ask(TypeURL.endpoints, "a b") == ["eds#1 a b"])
    #expect(try stream.ask(TypeURL.endpoints, "a b", nonce: "1") == [])
    #expect(stream.publish("eds a=1 b=2 c=1") == ["eds#2 b"])
  }

  @Test("changes while the proxy is thinking become one response")
  func coalescing() throws {
    var stream = Stream(.stateOfTheWorld, "rds r=1")
    #expect(try stream.ask(TypeURL.routes, "r") == ["rds#1 r"])
    #expect(stream.publish("rds r=2") == [])
    #expect(stream.publish("rds r=3") == [])
    #expect(try stream.ask(TypeURL.routes, "r", nonce: "1") == ["rds#2 r"])
    #expect(try stream.ask(TypeURL.routes, "r", nonce: "2") == [])
  }

  @Test("a refused version is not sent again before it has changed")
  func refusal() throws {
    var stream = Stream(.stateOfTheWorld, "rds r=1")
    #expect(try stream.ask(TypeURL.routes, "r") == ["rds#1 r"])
    let (meaning, pushes) = try stream.meaning(TypeURL.routes, "r", nonce: "1", refusal: "no")
    #expect(meaning == .refusal)
    #expect(pushes == [])
    #expect(stream.publish("rds r=1") == [])
    #expect(stream.publish("rds r=2") == ["rds#2 r"])
  }

  @Test("a request that speaks of an older response is passed over")
  func stale() throws {
    var stream = Stream(.stateOfTheWorld, "rds r=1 s=1")
    #expect(try stream.ask(TypeURL.routes, "r") == ["rds#1 r"])
    #expect(try stream.ask(TypeURL.routes, "r", nonce: "1") == [])
    #expect(stream.publish("rds r=2 s=1") == ["rds#2 r"])
    let (meaning, pushes) = try stream.meaning(TypeURL.routes, "r s", nonce: "1")
    #expect(meaning == .stale)
    #expect(pushes == [])
    #expect(try stream.ask(TypeURL.routes, "r s", nonce: "2") == ["rds#3 s"])
  }

  @Test("names that come are answered alone, names that go not at all")
  func subscriptions() throws {
    var stream = Stream(.stateOfTheWorld, "eds a=1 b=1 c=1")
    #expect(try stream.ask(TypeURL.endpoints, "a b") == ["eds#1 a b"])
    #expect(try stream.ask(TypeURL.endpoints, "b c", nonce: "1") == ["eds#2 c"])
    #expect(try stream.ask(TypeURL.endpoints, "b", nonce: "2") == [])
    #expect(stream.publish("eds a=2 b=1 c=2") == [])
    #expect(try stream.ask(TypeURL.endpoints, "", nonce: "2") == [])
    #expect(stream.publish("eds a=3 b=3 c=3") == [])
  }

  @Test("a first request is answered even if it knows the version")
  func reconnect() throws {
    var stream = Stream(.stateOfTheWorld, "cds a=1")
    #expect(try stream.ask(TypeURL.cluster, nonce: "77") == ["cds#1 a"])
    #expect(try stream.ask(TypeURL.cluster) == ["cds#2 a"])
  }

  @Test("listeners wait for clusters that have not been accepted yet")
  func makeBeforeBreak() throws {
    var stream = Stream(.stateOfTheWorld, "cds a=1 lds l=1")
    #expect(try stream.ask(TypeURL.cluster) == ["cds#1 a"])
    #expect(try stream.ask(TypeURL.listener) == ["lds#2 l"])
    #expect(try stream.ask(TypeURL.listener, nonce: "2") == [])
    #expect(stream.publish("cds a=1 b=1 lds l=2") == [])
    #expect(try stream.ask(TypeURL.cluster, nonce: "1") == ["cds#3 a b"])
    #expect(try stream.ask(TypeURL.endpoints, "b") == ["eds#4 b"])
    #expect(try stream.ask(TypeURL.cluster, nonce: "3") == ["lds#5 l"])
  }

  @Test("routes wait for clusters and listeners that have not been accepted yet")
  func routesLast() throws {
    var stream = Stream(.stateOfTheWorld, "cds a=1 lds l=1 rds r=1")
    _ = try stream.ask(TypeURL.cluster)
    _ = try stream.ask(TypeURL.cluster, nonce: "1")
    _ = try stream.ask(TypeURL.listener)
    // Asked for, they come.
    #expect(try stream.ask(TypeURL.routes, "r") == ["rds#3 r"])
    _ = try stream.ask(TypeURL.listener, nonce: "2")
    _ = try stream.ask(TypeURL.routes, "r", nonce: "3")
    #expect(stream.publish("cds a=1 b=1 lds l=2 rds r=2") == ["cds#4 a b"])
    #expect(try stream.ask(TypeURL.cluster, nonce: "4") == ["lds#5 l"])
    #expect(try stream.ask(TypeURL.listener, nonce: "5") == ["rds#6 r"])
  }

  @Test("clients that name listeners and clusters get those")
  func named() throws {
    var stream = Stream(.stateOfTheWorld, "cds a=1 b=1 lds l=1 m=1")
    #expect(try stream.ask(TypeURL.listener, "l") == ["lds#1 l"])
    #expect(try stream.ask(TypeURL.cluster, "b") == ["cds#2 b"])
    #expect(try stream.ask(TypeURL.listener, "l m", nonce: "1") == ["lds#3 l m"])
    #expect(try stream.ask(TypeURL.listener, "*", nonce: "3") == [])
  }

  @Test("types that nobody serves are empty, and there is a bound on them")
  func types() throws {
    var stream = Stream(.stateOfTheWorld, "")
    for index in 0..<MeshLimits.typesPerStream {
      #expect(try stream.ask("t\(index)", "x").count == 1)
    }
    #expect(throws: StreamViolation.self) { try stream.ask("more", "x") }
  }

  @Test("names have a bound")
  func names() throws {
    var stream = Stream(.stateOfTheWorld, "")
    let names = (0..<MeshLimits.namesPerStream).map(String.init)
    _ = try stream.ask("nobody's", names.joined(separator: " "))
    #expect(throws: StreamViolation.self) { try stream.ask(TypeURL.routes, "one") }
  }
}

@Suite("Delta")
struct DeltaTests {
  @Test("a proxy is brought up, and hears of changes alone")
  func bringUp() throws {
    var stream = Stream(.delta, "cds a=1 b=1 eds a=1 lds l=1 rds r=1")
    #expect(try stream.ask(TypeURL.cluster) == ["cds#1 a b"])
    #expect(try stream.ask(TypeURL.endpoints, "a b") == ["eds#2 a b"])
    #expect(try stream.ask(TypeURL.cluster, nonce: "1") == [])
    #expect(try stream.ask(TypeURL.endpoints, nonce: "2") == [])
    #expect(stream.publish("cds b=2 c=1 eds a=1 lds l=1 rds r=1") == ["cds#3 b c -a", "eds#4 a b"])
    #expect(try stream.ask(TypeURL.endpoints, "c", without: "a", nonce: "4") == ["eds#5 c"])
    #expect(try stream.ask(TypeURL.cluster, nonce: "3") == [])
  }

  @Test("whoever comes back is told what it has missed, and all endpoints")
  func reconnect() throws {
    let old = set("cds a=1 b=1 c=1 eds a=1")
    let known = Dictionary(
      uniqueKeysWithValues: old.all(of: TypeURL.cluster).map { ($0.name, $0.version) })
    var stream = Stream(.delta, "cds a=1 b=2 eds a=1")
    #expect(try stream.ask(TypeURL.cluster, known: known) == ["cds#1 b -c"])
    let endpoints = Dictionary(
      uniqueKeysWithValues: old.all(of: TypeURL.endpoints).map { ($0.name, $0.version) })
    #expect(try stream.ask(TypeURL.endpoints, "a", known: endpoints) == ["eds#2 a"])
  }

  @Test("whoever has everything is answered all the same")
  func nothingMissed() throws {
    let known = Dictionary(
      uniqueKeysWithValues: set("cds a=1").all(of: TypeURL.cluster).map { ($0.name, $0.version) })
    var stream = Stream(.delta, "cds a=1")
    #expect(try stream.ask(TypeURL.cluster, known: known) == ["cds#1"])
  }

  @Test("names that do not exist are told as removed, once, where nothing can stand for them")
  func missing() throws {
    var stream = Stream(.delta, "")
    #expect(try stream.ask(TypeURL.listener, "l") == ["lds#1 -l"])
    #expect(try stream.ask(TypeURL.listener, nonce: "1") == [])
    #expect(stream.publish("") == [])
    #expect(stream.publish("lds l=1") == ["lds#2 l"])
    #expect(try stream.ask(TypeURL.listener, nonce: "2") == [])
    #expect(stream.publish("") == ["lds#3 -l"])
    #expect(try stream.ask(TypeURL.endpoints, "x") == ["eds#4 x"])
  }

  @Test("names count whatever the nonce says, acceptance only of the latest response")
  func spontaneous() throws {
    var stream = Stream(.delta, "rds r=1 s=1 t=1")
    #expect(try stream.ask(TypeURL.routes, "r") == ["rds#1 r"])
    #expect(try stream.ask(TypeURL.routes, "s") == ["rds#2 s"])
    #expect(try stream.ask(TypeURL.routes, nonce: "1") == [])
    #expect(stream.publish("rds r=2 s=1 t=1") == [])
    #expect(try stream.ask(TypeURL.routes, "t", nonce: "1") == ["rds#3 r t"])
    #expect(try stream.ask(TypeURL.routes, nonce: "3") == [])
  }

  @Test("a name asked for again is sent again")
  func again() throws {
    var stream = Stream(.delta, "rds r=1")
    #expect(try stream.ask(TypeURL.routes, "r") == ["rds#1 r"])
    #expect(try stream.ask(TypeURL.routes, nonce: "1") == [])
    #expect(try stream.ask(TypeURL.routes, "r") == ["rds#2 r"])
  }

  @Test("a refused version is not sent again before it has changed")
  func refusal() throws {
    var stream = Stream(.delta, "lds l=1")
    #expect(try stream.ask(TypeURL.listener) == ["lds#1 l"])
    #expect(try stream.ask(TypeURL.listener, nonce: "1", refusal: "no") == [])
    #expect(stream.publish("lds l=1") == [])
    #expect(stream.publish("lds l=2") == ["lds#2 l"])
  }
}
