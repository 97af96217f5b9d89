/// Bounds on a configuration document. A control plane, or whoever may write a file, must not be
/// able to take the memory or the stack of the proxy with it.
package enum YAMLLimits {
  /// Size of one document. Ten thousand routes take about two megabytes.
  package static let bytes = 64 * 1024 * 1024

  /// Nesting of mappings and sequences. The deepest real configurations reach about thirty; every
  /// level is a stack frame of the reader.
  package static let depth = 100

  /// Nodes that aliases stand for, all together. Without a bound a file of a kilobyte can stand
  /// for a billion nodes.
  package static let aliasedNodes = 100_000
}
