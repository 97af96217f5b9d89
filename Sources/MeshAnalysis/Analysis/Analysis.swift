import MeshModel
import MeshTranslation
import Resources

/// What is looked at: the mesh as it is in force, and what did not get so far.
package struct AnalysisInput: Sendable {
  /// What one kind of client is not told.
  package struct Unsupported: Sendable, Hashable {
    let client: String
    let omission: Omission

    package init(client: String, _ omission: Omission) {
      self.client = client
      self.omission = omission
    }
  }

  let snapshot: MeshSnapshot
  let objects: [MeshObject]
  let options: RegistryOptions
  /// Of objects as they are written now, and of files.
  package var findings: [(object: ObjectID?, diagnostic: Diagnostic)] = []
  package var unsupported: Set<Unsupported> = []
  /// Who is connected, besides those that objects tell of.
  package var proxies: [ProxyNode] = []
  /// Nothing but files is known: what usually stands beside them is not missed.
  package var isOffline = false

  package init(
    objects: [MeshObject], options: RegistryOptions = .init(), snapshot: MeshSnapshot? = nil
  ) {
    self.objects = objects
    self.options = options
    self.snapshot = snapshot ?? MeshSnapshot(objects: objects, options: options)
  }

  /// Everything of a store.
  package init(
    _ store: MeshStore, options: RegistryOptions = .init(), snapshot: MeshSnapshot? = nil
  ) {
    self.init(objects: store.objects, options: options, snapshot: snapshot)
    findings =
      store.fileDiagnostics.map { (nil, $0) }
      + store.entries.flatMap { id, entry in entry.diagnostics.map { (id, $0) } }
  }

  /// Notes what clients of a kind would not be told, as far as that can be known without any of them: one
  /// client of each namespace is asked for.
  package mutating func assume(_ client: ProxyNode.Client) {
    let namespaces = Set(objects.map(\.namespace)).subtracting([""])
    for namespace in namespaces.isEmpty ? ["default"] : namespaces.sorted() {
      var node = ProxyNode(
        id: "sidecar~127.0.0.1~analysis.\(namespace)~\(namespace).svc.\(options.domain)",
        cluster: "", metadata: .init(), userAgent: client.rawValue, locality: .init())
      node.client = client
      for omission in ProxyConfiguration.outbound(snapshot, for: node).omissions {
        unsupported.insert(Unsupported(client: client.rawValue, omission))
      }
      assumePatched(node)
    }
    for omission in ProxyConfiguration.telemetryOmissions(snapshot, of: client) {
      unsupported.insert(Unsupported(client: client.rawValue, omission))
    }
  }

  /// The same for those whom the EnvoyFilters of a namespace select, both ways: only what is left of patches,
  /// since nothing else is known of such a client.
  private mutating func assumePatched(_ node: ProxyNode) {
    var selected: Set<[String: String]> = []
    for object in objects {
      guard case .envoyFilter(let filter) = object.spec, filter.targetRefs.isEmpty else { continue }
      let isMeant =
        object.namespace == node.namespace || object.namespace == snapshot.settings.rootNamespace
      if isMeant { selected.insert(filter.workloadSelector.labels) }
    }
    for labels in selected {
      var node = node
      node.labels = labels
      let made = [
        ProxyConfiguration.outbound(snapshot, for: node),
        ProxyConfiguration.inbound(snapshot, for: node),
      ]
      for omission in made.flatMap(\.omissions) where omission.object.kind == .envoyFilter {
        unsupported.insert(Unsupported(client: node.client.rawValue, omission))
      }
    }
  }
}

/// Looks at everything that people have written together: what no object shows by itself.
package enum Analysis {
  /// All messages, the worst first, those left out that their objects ask not to be told of
  /// (`galley.istio.io/analyze-suppress`).
  package static func run(_ input: AnalysisInput) -> [AnalysisMessage] {
    let context = AnalysisContext(input)
    WrittenAnalyzer.analyze(context, input)
    WorkloadAnalyzer.analyze(context)
    AnnotationAnalyzer.analyze(context)
    ServiceAnalyzer.analyze(context)
    ServiceEntryAnalyzer.analyze(context)
    VirtualServiceAnalyzer.analyze(context)
    HostAnalyzer.analyze(context)
    RouteOrderAnalyzer.analyze(context)
    DestinationRuleAnalyzer.analyze(context)
    GatewayAnalyzer.analyze(context)
    PolicyAnalyzer.analyze(context)
    TelemetryAnalyzer.analyze(context)
    EnvoyFilterAnalyzer.analyze(context)
    return context.messages.filter { message in
      !message.suppressed.contains(message.code.code) && !message.suppressed.contains("*")
    }.sorted(by: AnalysisMessage.comesBefore)
  }

  /// The same with lines of fields instead of objects, where the files are known.
  package static func locate(
    _ messages: [AnalysisMessage], in files: [String: [UInt8]]
  ) -> [AnalysisMessage] {
    var documents: [String: [Int: ObjectDocument]] = [:]
    return messages.map { message in
      guard message.path != .root, let bytes = files[message.file] else { return message }
      if documents[message.file] == nil {
        let read = (try? ObjectFile.read(bytes, name: message.file)) ?? []
        documents[message.file] = Dictionary(
          read.map { ($0.line, $0) }, uniquingKeysWith: { first, _ in first })
      }
      guard let document = documents[message.file]?[message.line] else { return message }
      var located = message
      located.line = document.line(of: message.path)
      return located
    }
  }
}
