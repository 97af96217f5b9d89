import MeshMessages
import MeshModel
import MeshTranslation

/// One replica of a Deployment, as processes on this machine.
struct LocalWorkload: Equatable {
  /// A program of its own beside the proxy: a container.
  struct Program: Equatable {
    let name: String
    let words: [String]
    /// What Kubernetes would be told; what every program gets comes besides.
    let environment: [(name: String, value: String)]
    /// Where it is to listen, if it says so: the first of its ports.
    let port: UInt32?

    static func == (one: Program, other: Program) -> Bool {
      (one.name, one.words, one.port) == (other.name, other.words, other.port)
        && one.environment.elementsEqual(other.environment, by: ==)
    }
  }

  let name: String
  let namespace: String
  let labels: [String: String]
  let serviceAccount: String
  let programs: [Program]
  /// Names of the containers' ports, for Services that call them by name.
  let ports: [(name: String, number: UInt32)]
  /// Where programs run: the directory of the file in which the Deployment stands.
  let directory: String
  let addresses: LocalAddresses
  /// What its proxy is started with.
  let proxy: ProxyStart

  static func == (one: LocalWorkload, other: LocalWorkload) -> Bool {
    (one.fullName, one.labels, one.serviceAccount, one.programs, one.directory)
      == (other.fullName, other.labels, other.serviceAccount, other.programs, other.directory)
      && one.ports.elementsEqual(other.ports, by: ==) && one.proxy == other.proxy
  }

  /// `web-0.default`: what `fairleadctl pc` calls it.
  var fullName: String { name + "." + namespace }

  /// The port of each program's proxy for clients that name their target in the request.
  static let httpProxyPort = 15080
  static let adminPort: UInt16 = 15000

  /// The words and the environment of a program, with values in the place of names.
  func command(
    of program: Program, inherited: [String]
  ) -> (words: [String], environment: [String]) {
    let proxy = "http://\(addresses.outbound):\(Self.httpProxyPort)"
    var values = [
      "ADDRESS": addresses.application, "POD_IP": addresses.proxy,
      "OUTBOUND_ADDRESS": addresses.outbound, "POD_NAME": name, "POD_NAMESPACE": namespace,
      "http_proxy": proxy, "HTTP_PROXY": proxy, "no_proxy": "", "NO_PROXY": "",
    ]
    if let port = program.port { values["PORT"] = String(port) }
    // Later ones may use those before them.
    for variable in program.environment {
      values[variable.name] = VariableReference.expand(variable.value, values)
    }
    let names = Set(values.keys)
    let kept = inherited.filter { line in
      line.firstIndex(of: "=").map { !names.contains(String(line[..<$0])) } ?? false
    }
    return (
      program.words.map { VariableReference.expand($0, values) },
      kept + values.map { "\($0)=\($1)" }.sorted()
    )
  }
}

/// The addresses of a workload, all of this machine's loopback.
struct LocalAddresses: Equatable {
  /// Where others reach it, and where its proxy's admin port is.
  let proxy: String
  /// Where its programs listen; only its proxy goes there.
  let application: String
  /// Where its programs find the services of the mesh.
  let outbound: String

  /// - Parameter prefix: the first two numbers, such as `127.77`.
  init(prefix: String, index: Int) {
    // A third number for each purpose, and 250 workloads in each.
    let block = index / 250 * 3
    let last = index % 250 + 1
    proxy = "\(prefix).\(block).\(last)"
    application = "\(prefix).\(block + 1).\(last)"
    outbound = "\(prefix).\(block + 2).\(last)"
  }

  /// So many workloads have addresses.
  static let most = 250 * 85
}

extension LocalWorkload {
  /// The workloads that Deployments ask for, in the order of their names.
  static func all(in objects: [MeshObject], prefix: String) throws(ToolError) -> [LocalWorkload] {
    let snapshot = MeshSnapshot(objects: objects)
    var found: [LocalWorkload] = []
    for object in objects.sorted(by: { $0.id < $1.id }) {
      guard case .deployment(let spec) = object.spec else { continue }
      let programs = try spec.template.spec.containers.map { container throws(ToolError) in
        try program(container, of: object)
      }
      guard spec.template.spec.initContainers.isEmpty else {
        throw ToolError("\(object.id) has initContainers, which are not run here")
      }
      let count = spec.hasReplicas ? Int(spec.replicas.value) : 1
      guard count >= 0, found.count + count <= LocalAddresses.most else {
        throw ToolError("\(object.id): \(count) replicas cannot be run here")
      }
      let account = spec.template.spec.serviceAccountName
      let labels = spec.template.metadata.labels
      let proxy = ProxyStart(
        of: labels, namespace: object.namespace, in: snapshot,
        annotation: try annotation(spec.template.metadata.annotations, of: object))
      guard proxy.environment[RuntimeDirectory.variable] == nil else {
        throw ToolError("\(object.id): the proxy's \(RuntimeDirectory.variable) is not to be set")
      }
      for replica in 0..<count {
        found.append(
          LocalWorkload(
            name: "\(object.name)-\(replica)", namespace: object.namespace,
            labels: labels,
            serviceAccount: account.isEmpty ? "default" : account, programs: programs,
            ports: spec.template.spec.containers.flatMap(\.ports).map {
              ($0.name, $0.containerPort)
            },
            directory: FilePath.directory(of: object.file),
            addresses: LocalAddresses(prefix: prefix, index: found.count), proxy: proxy))
      }
    }
    return found
  }

  /// What the pods themselves say of their proxies.
  private static func annotation(
    _ annotations: [String: String], of object: MeshObject
  ) throws(ToolError) -> Istio_Mesh_V1alpha1_ProxyConfig? {
    let name = ObjectReader.proxyConfigAnnotation
    guard let text = annotations[name] else { return nil }
    switch ObjectReader.proxyConfig(text) {
    case .success(let config): return config
    case .failure(let mistake):
      throw ToolError("\(object.id): annotation \(name): \(mistake.message)")
    }
  }

  private static func program(
    _ container: Kubernetes_Container, of object: MeshObject
  ) throws(ToolError) -> Program {
    guard !container.command.isEmpty else {
      throw ToolError(
        "\(object.id): container '\(container.name)' has no 'command'",
        remedy: "Nothing is pulled from a registry: say the program of this machine that it runs.")
    }
    return Program(
      name: container.name.isEmpty ? "app" : container.name,
      words: container.command + container.args,
      environment: container.env.map { ($0.name, $0.value) },
      port: container.ports.first?.containerPort)
  }
}
