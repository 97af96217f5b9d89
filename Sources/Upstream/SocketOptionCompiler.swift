import Engine
import ResourceModel
import Resources

/// Compiles `socket_options`, of listeners and of connections that we make.
package struct SocketOptionCompiler {
  let diagnostics: Diagnostics

  package init(diagnostics: Diagnostics) { self.diagnostics = diagnostics }

  /// - Parameter path: the list's.
  package func compile(
    _ options: [Envoy_Config_Core_V3_SocketOption], at path: ConfigPath
  ) -> Table<SocketOption> {
    .configured(
      options.enumerated().compactMap { index, option in compile(option, at: path.index(index)) })
  }

  private func compile(
    _ option: Envoy_Config_Core_V3_SocketOption, at path: ConfigPath
  ) -> SocketOption? {
    guard let level = int(option.level, at: path.field("level")),
      let name = int(option.name, at: path.field("name")), let value = value(option, at: path)
    else { return nil }
    let moment: SocketOption.Moment =
      switch option.state {
      case .stateBound: .bound
      case .stateListening: .listening
      case .statePrebind, .UNRECOGNIZED: .beforeBinding
      }
    return SocketOption(level: level, name: name, value: value, moment: moment)
  }

  private func value(
    _ option: Envoy_Config_Core_V3_SocketOption, at path: ConfigPath
  ) -> Bytes? {
    switch option.value {
    case .intValue(let number):
      return int(number, at: path.field("int_value")).map { number in
        .configured(unsafe withUnsafeBytes(of: number) { unsafe Array($0) })
      }
    case .bufValue(let bytes): return .configured([UInt8](bytes))
    case nil:
      diagnostics.error(at: path, "needs an int_value or a buf_value")
      return nil
    }
  }

  /// The kernel's numbers are C's `int`.
  private func int(_ number: Int64, at path: ConfigPath) -> Int32? {
    if let int = Int32(exactly: number) { return int }
    diagnostics.error(
      at: path, "expected a number from \(Int32.min) to \(Int32.max), found \(number)")
    return nil
  }
}
