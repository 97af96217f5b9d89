import FilterSDK

extension GRPCStatsFilter {
  /// `envoy.extensions.filters.http.grpc_stats.v3.FilterConfig`.
  public struct Config: BitwiseCopyable {
    /// Which methods are counted by themselves; the others are counted together.
    enum Methods: BitwiseCopyable {
      case all
      case these(StaticList<Method>)
    }

    struct Method: BitwiseCopyable {
      var service: ByteView
      var name: ByteView
    }

    var methods: Methods
    /// The time that the upstream took is recorded.
    var timesUpstream: Bool
    /// Of services in names. Those that the allowlist names keep theirs, as in Envoy.
    var replacesDots: Bool

    func countsAlone(_ method: GRPCMethod) -> Bool {
      switch methods {
      case .all: true
      case .these(let list):
        list.contains { $0.service == method.service && $0.name == method.name }
      }
    }
  }

  public static func load(_ node: ConfigNode, _ loader: borrowing ConfigLoader) -> Config? {
    var listed: [Config.Method] = []
    let allowed = node.message("individual_method_stats_allowlist")
    for service in allowed?.list("services") ?? [] {
      guard let name = service.string("name"), !name.isEmpty else {
        service.error("name must be set")
        continue
      }
      let methods = service.list("method_names")
      if methods.isEmpty { service.error("method_names must not be empty") }
      for method in methods {
        listed.append(
          Config.Method(service: loader.text(name), name: loader.text(method.asString() ?? "")))
      }
    }
    let all = node.bool("stats_for_all_methods") ?? false
    return Config(
      methods: all ? .all : .these(loader.list(listed)),
      timesUpstream: node.bool("enable_upstream_stats") ?? false,
      replacesDots: all && node.bool("replace_dots_in_grpc_service_name") ?? false)
  }
}
