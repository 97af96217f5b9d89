import CFilterABI

/// A place in a configuration document, while it is loaded. The getters report what has the wrong
/// kind at the place where it stands; what is absent is nil.
///
/// SAFETY: valid until `load` or `loadRoute` returns; must not be kept.
@safe
public struct ConfigNode {
  let config: OpaquePointer
  let node: fl_node

  init(_ config: OpaquePointer, _ node: fl_node) {
    unsafe self.config = config
    self.node = node
  }

  private var kind: fl_node_kind {
    unsafe Host.table.node_kind.unsafelyUnwrapped(config, node)
  }

  /// Reports a mistake here. The configuration is refused.
  public func error(_ message: String) {
    message.withByteView {
      unsafe Host.table.node_error.unsafelyUnwrapped(config, node, $0.raw)
    }
  }

  /// The fully qualified type, for a message.
  public var messageType: String {
    unsafe String(ByteView(Host.table.node_type.unsafelyUnwrapped(config, node)))
  }

  /// A field by its proto name; nil when it is not set.
  public func field(_ name: StaticString) -> ConfigNode? {
    let found = unsafe Host.table.node_field.unsafelyUnwrapped(
      config, node, ByteView(stringLiteral: name).raw)
    return found == 0 ? nil : unsafe ConfigNode(config, found)
  }

  /// Whether a field is set.
  public func has(_ name: StaticString) -> Bool { field(name) != nil }
}

// MARK: values of fields

extension ConfigNode {
  public func bool(_ name: StaticString) -> Bool? { field(name)?.asBool() }
  public func string(_ name: StaticString) -> String? { field(name)?.asString() }
  public func number(_ name: StaticString) -> Double? { field(name)?.asNumber() }
  public func unsigned(_ name: StaticString) -> UInt64? { field(name)?.asUnsigned() }

  /// An enum's value, by its name.
  public func enumeration(_ name: StaticString) -> String? { field(name)?.asString() }

  /// A duration in whole milliseconds, rounded down.
  public func milliseconds(_ name: StaticString) -> UInt64? {
    nanoseconds(name).map { $0 / 1_000_000 }
  }

  public func nanoseconds(_ name: StaticString) -> UInt64? {
    guard let node = field(name)?.expecting(FL_NODE_DURATION, "a duration") else { return nil }
    return unsafe Host.table.node_duration_ns.unsafelyUnwrapped(node.config, node.node)
  }

  public func message(_ name: StaticString) -> ConfigNode? {
    field(name)?.expecting(FL_NODE_MESSAGE, "a message")
  }

  /// The items of a repeated field; none when it is absent.
  public func list(_ name: StaticString) -> [ConfigNode] {
    guard let list = field(name)?.expecting(FL_NODE_LIST, "a list") else { return [] }
    return list.items
  }

  /// The entries of a map; none when it is absent.
  public func map(_ name: StaticString) -> [(key: String, value: ConfigNode)] {
    guard let map = field(name) else { return [] }
    return map.items.enumerated().map { index, value in
      let key = unsafe Host.table.node_key.unsafelyUnwrapped(map.config, map.node, index)
      return unsafe (String(ByteView(key)), value)
    }
  }

  /// `envoy.type.v3.FractionalPercent`; more than everything is refused.
  public func share(_ name: StaticString) -> Share? { message(name)?.asShare() }

  private var items: [ConfigNode] {
    let count = unsafe Host.table.node_count.unsafelyUnwrapped(config, node)
    return (0..<count).map { index in
      unsafe ConfigNode(config, Host.table.node_item.unsafelyUnwrapped(config, node, index))
    }
  }

  private func asShare() -> Share? {
    let numerator = number("numerator") ?? 0
    let whole: Double =
      switch enumeration("denominator") {
      case "TEN_THOUSAND": 10_000
      case "MILLION": 1_000_000
      default: 100
      }
    guard numerator <= whole else {
      error("more than everything: the numerator is at most \(Int(whole)) here")
      return nil
    }
    return Share(percent: numerator * 100 / whole)
  }
}

// MARK: values of nodes

extension ConfigNode {
  public func asBool() -> Bool? {
    guard let node = unwrapped.expecting(FL_NODE_BOOL, "true or false") else { return nil }
    return unsafe Host.table.node_bool.unsafelyUnwrapped(node.config, node.node)
  }

  public func asString() -> String? {
    guard let node = unwrapped.expecting(FL_NODE_STRING, "a string") else { return nil }
    return unsafe String(ByteView(Host.table.node_string.unsafelyUnwrapped(node.config, node.node)))
  }

  public func asNumber() -> Double? {
    guard let node = unwrapped.expecting(FL_NODE_NUMBER, "a number") else { return nil }
    return unsafe Host.table.node_number.unsafelyUnwrapped(node.config, node.node)
  }

  /// A whole number from 0; nothing beyond 2^53, where a double no longer counts in ones.
  public func asUnsigned() -> UInt64? {
    guard let number = asNumber() else { return nil }
    guard number >= 0, number <= 9_007_199_254_740_992, number == number.rounded(.down) else {
      error("expected a whole number from 0")
      return nil
    }
    return UInt64(number)
  }

  /// The value of `google.protobuf.BoolValue` and its kind, which a host may show as messages.
  private var unwrapped: ConfigNode {
    guard kind == FL_NODE_MESSAGE, messageType.hasPrefix("google.protobuf."),
      let value = field("value")
    else { return self }
    return value
  }

  private func expecting(_ wanted: fl_node_kind, _ description: String) -> ConfigNode? {
    guard kind == wanted else {
      error("expected \(description)")
      return nil
    }
    return self
  }
}
