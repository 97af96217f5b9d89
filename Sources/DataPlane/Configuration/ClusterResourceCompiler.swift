import Engine
import ResourceModel
import Resources
import Upstream

/// Compiles one cluster, with all that belongs to it, in memory of its own.
struct ClusterResourceCompiler {
  let context: CompileContext

  /// Not fit for use when errors were reported.
  func compile(
    _ message: Envoy_Config_Cluster_V3_Cluster, at path: ConfigPath
  ) -> CompiledCluster {
    if message.hasEdsClusterConfig {
      context.streams.check(
        message.edsClusterConfig.edsConfig,
        at: path.field("eds_cluster_config").field("eds_config"), context.diagnostics)
    }
    let memory = ResourceMemory()
    let config = memory.whileOpen {
      let config = ClusterCompiler(
        diagnostics: context.diagnostics, bindConfig: context.bindConfig,
        runtime: context.layers.snapshot.integer
      ).compile(message, at: path)
      TransportSocketCompiler(context).compile(message, config: config, at: path)
      return config
    }
    return CompiledCluster(name: message.name, config: config, memory: memory)
  }
}
