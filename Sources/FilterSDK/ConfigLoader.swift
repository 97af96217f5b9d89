import CFilterABI

/// Compiled matchers of headers; ask with `FieldsView.matches`.
@safe @frozen
public struct HeaderMatchers: BitwiseCopyable {
  @usableFromInline let raw: UnsafeRawPointer
  @unsafe @inlinable init(_ raw: UnsafeRawPointer) { unsafe self.raw = raw }
}

/// A set of field names; ask with `FieldsView.mayHave`.
@safe @frozen
public struct FieldNames: BitwiseCopyable {
  @usableFromInline let raw: UnsafeRawPointer
  @unsafe @inlinable init(_ raw: UnsafeRawPointer) { unsafe self.raw = raw }
}

/// Compiled edits of headers; make them with `FieldsView.apply`.
@safe @frozen
public struct HeaderMutations: BitwiseCopyable {
  @usableFromInline let raw: UnsafeRawPointer
  @unsafe @inlinable init(_ raw: UnsafeRawPointer) { unsafe self.raw = raw }
}

/// What a filter may define while its configuration loads. Everything it hands out lasts as long
/// as the configuration.
@safe
public struct ConfigLoader: ~Copyable {
  let config: OpaquePointer
  let memory: ConfigMemory

  init(_ config: OpaquePointer, _ memory: ConfigMemory) {
    unsafe self.config = config
    self.memory = memory
  }

  public func counter(_ name: String, _ scope: StatisticScope = .root) -> Counter {
    name.withByteView {
      unsafe Counter(
        Host.table.define_counter.unsafelyUnwrapped(config, fl_scope(scope.rawValue), $0.raw))
    }
  }

  public func gauge(_ name: String, _ scope: StatisticScope = .root) -> Gauge {
    name.withByteView {
      unsafe Gauge(
        Host.table.define_gauge.unsafelyUnwrapped(config, fl_scope(scope.rawValue), $0.raw))
    }
  }

  public func histogram(_ name: String, _ scope: StatisticScope = .root) -> Histogram {
    name.withByteView {
      unsafe Histogram(
        Host.table.define_histogram.unsafelyUnwrapped(config, fl_scope(scope.rawValue), $0.raw))
    }
  }

  /// A runtime key with its default.
  public func runtime(_ key: String, default fallback: Double) -> RuntimeKey {
    key.withByteView {
      unsafe RuntimeKey(Host.table.define_runtime.unsafelyUnwrapped(config, $0.raw, fallback))
    }
  }

  /// A share and the key that overrides it; `key` may be empty.
  public func runtimeShare(_ share: Share, key: String) -> RuntimeShare {
    RuntimeShare(
      fallback: share, key: key.isEmpty ? nil : runtime(key, default: share.percent))
  }

  /// `envoy.config.core.v3.RuntimeFractionalPercent` in the field `name`.
  public func runtimeShare(_ node: ConfigNode, _ name: StaticString) -> RuntimeShare? {
    guard let message = node.message(name) else { return nil }
    guard message.has("default_value") else {
      message.error("default_value is needed")
      return nil
    }
    guard let share = message.share("default_value") else { return nil }
    return runtimeShare(share, key: message.string("runtime_key") ?? "")
  }

  /// A list of `envoy.config.route.v3.HeaderMatcher`; nil when it is absent, empty or wrong.
  public func headerMatchers(_ node: ConfigNode, _ name: StaticString) -> HeaderMatchers? {
    guard let list = node.field(name), !node.list(name).isEmpty,
      let raw = unsafe Host.table.load_header_matchers.unsafelyUnwrapped(config, list.node)
    else { return nil }
    return unsafe HeaderMatchers(raw)
  }

  /// A list of `HeaderMutation` or `HeaderValueOption`; nil when it is absent, empty or wrong.
  public func headerMutations(_ node: ConfigNode, _ name: StaticString) -> HeaderMutations? {
    guard let list = node.field(name), !node.list(name).isEmpty,
      let raw = unsafe Host.table.load_header_mutations.unsafelyUnwrapped(config, list.node)
    else { return nil }
    return unsafe HeaderMutations(raw)
  }

  /// A set of lower-case field names.
  public func fieldNames(_ names: [ByteView]) -> FieldNames? {
    let views = unsafe names.map { unsafe $0.raw }
    // SAFETY: the host reads the array during the call, and copies what it keeps.
    let raw = unsafe views.withUnsafeBufferPointer {
      unsafe Host.table.load_field_names.unsafelyUnwrapped(config, $0.baseAddress, $0.count)
    }
    guard let raw = unsafe raw else { return nil }
    return unsafe FieldNames(raw)
  }

  /// An `envoy.config.route.v3.RetryPolicy`; nil when it is absent or wrong.
  public func retryPolicy(_ node: ConfigNode, _ name: StaticString) -> RetryPolicy? {
    guard let policy = node.message(name),
      let raw = unsafe Host.table.load_retry_policy.unsafelyUnwrapped(config, policy.node)
    else { return nil }
    return unsafe RetryPolicy(raw)
  }

  /// A list that the configuration owns.
  public func list<Element: BitwiseCopyable>(_ elements: [Element]) -> StaticList<Element> {
    elements.isEmpty ? StaticList() : StaticList(elements, in: memory)
  }

  /// A text that the configuration owns.
  public func text(_ text: String) -> ByteView {
    let bytes = StaticList(Array(text.utf8), in: memory)
    return unsafe ByteView(start: bytes.start, count: bytes.count)
  }

  /// A number that all workers share.
  public func sharedNumber(_ value: UInt64 = 0) -> SharedNumber { SharedNumber(value, in: memory) }
}
