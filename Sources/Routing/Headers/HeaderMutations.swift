import Engine
import HTTPModel
import ResourceModel
import Resources
import Telemetry

/// Which head of an exchange a list of changes is for.
package enum HeadPart: BitwiseCopyable {
  case request
  case response
  case requestTrailers
  case responseTrailers

  /// The same, for formats.
  var logHeaders: LogHeaders {
    switch self {
    case .request: .request
    case .response: .response
    case .requestTrailers: .requestTrailer
    case .responseTrailers: .responseTrailer
    }
  }
}

/// A compiled list of changes to a head.
///
/// The changes come in groups. A level of routing is one group, as in Envoy: its removals come
/// first, then every value is worked out from the head as it is then, then overwriting values are
/// set and the others added. A filter's list is a sequence of groups of one change each.
package struct HeaderMutations: BitwiseCopyable {
  private struct Group: BitwiseCopyable {
    var removed: Table<HeaderName>
    var removedMatches: Table<StringMatcher>
    var added: Table<HeaderAddition>

    var removes: Bool { !removed.isEmpty || !removedMatches.isEmpty }

    init(
      removed: [HeaderName] = [], removedMatches: [StringMatcher] = [],
      added: [HeaderAddition] = []
    ) {
      self.removed = Table.configured(removed)
      self.removedMatches = Table.configured(removedMatches)
      self.added = Table.configured(added)
    }
  }

  private let groups: Table<Group>
  private let part: HeadPart

  package var isEmpty: Bool { groups.isEmpty }

  // MARK: Compiling

  /// The `*_headers_to_add` and `*_headers_to_remove` of one level of routing, whose fields'
  /// names begin with `prefix`.
  package init(
    adding: [Envoy_Config_Core_V3_HeaderValueOption], removing: [String], of part: HeadPart,
    at path: ConfigPath, prefix: String, _ diagnostics: Diagnostics
  ) {
    self.part = part
    let list = path.field(prefix + "_headers_to_add")
    let added = adding.enumerated().compactMap { index, option in
      HeaderAddition(option, of: part, at: list.index(index), diagnostics)
    }
    let removed = removing.map(HeaderName.init)
    groups = Table.configured(
      added.isEmpty && removed.isEmpty ? [] : [Group(removed: removed, added: added)])
  }

  /// A list of `envoy.config.common.mutation_rules.v3.HeaderMutation`, carried out in order.
  package init(
    _ messages: [Envoy_Config_Common_MutationRules_V3_HeaderMutation], of part: HeadPart,
    at path: ConfigPath, _ diagnostics: Diagnostics
  ) {
    self.part = part
    groups = Table.configured(
      messages.enumerated().compactMap { index, message in
        Self.group(message, of: part, at: path.index(index), diagnostics)
      })
  }

  private static func group(
    _ message: Envoy_Config_Common_MutationRules_V3_HeaderMutation, of part: HeadPart,
    at path: ConfigPath, _ diagnostics: Diagnostics
  ) -> Group? {
    switch message.action {
    case .remove(let name):
      // Envoy accepts these, and then refuses every request for want of them.
      guard !isProtected(name) else {
        diagnostics.error(
          at: path.field("remove"), "headers that start with ':' and host may not be removed")
        return nil
      }
      return Group(removed: [HeaderName(name)])
    case .append(let option):
      guard !isProtected(option.header.key) else {
        diagnostics.error(
          at: path.field("append").field("header").field("key"),
          "headers that start with ':' and host may not be set")
        return nil
      }
      let addition = HeaderAddition(option, of: part, at: path.field("append"), diagnostics)
      guard let addition else { return nil }
      return Group(added: [addition])
    case .removeOnMatch(let removal):
      let matcherPath = path.field("remove_on_match").field("key_matcher")
      guard let matcher = StringMatcher(removal.keyMatcher, at: matcherPath, diagnostics) else {
        return nil
      }
      return Group(removedMatches: [matcher])
    case nil: return nil
    }
  }

  private static func isProtected(_ name: String) -> Bool {
    name.hasPrefix(":") || name.lowercased() == "host"
  }

  // MARK: Applying

  /// Changes `headers`, which are the part of the exchange that the list was compiled for. What
  /// values say about that part is read from `headers`, everything else from `source`.
  package func apply<Source: LogSource>(
    to headers: inout HeaderMap, _ source: Source, _ renderer: LogRenderer,
    pool: inout BlockPool
  ) {
    var index = 0
    while index < groups.count {
      let group = groups.handle(index)
      if group.value.removes { remove(group.value, from: &headers) }
      if group.value.added.count == 1, let line = group.value.added[0].line {
        group.value.added[0].carryOut(line, on: &headers, pool: &pool)
      } else if !group.value.added.isEmpty {
        add(group.value.added, to: &headers, source, renderer, pool: &pool)
      }
      index &+= 1
    }
  }

  private func remove(_ group: Group, from headers: inout HeaderMap) {
    var index = 0
    while index < group.removed.count {
      headers.remove(group.removed[index].text)
      index &+= 1
    }
    guard !group.removedMatches.isEmpty else { return }
    index = 0
    while index < headers.count {
      // The request's and the status line are not fields that a pattern may reach.
      if headers.isLive(index), !headers.entry(index).id.isPseudo,
        group.removedMatches[0].matches(headers.name(index))
      {
        headers.remove(at: index)
      }
      index &+= 1
    }
  }

  /// Works every value out before the first is written.
  private func add<Source: LogSource>(
    _ added: Table<HeaderAddition>, to headers: inout HeaderMap, _ source: Source,
    _ renderer: LogRenderer, pool: inout BlockPool
  ) {
    var values = PlannedValues(pool: &pool)
    var index = 0
    while index < added.count {
      values.plan(added[index], of: part, headers, source, renderer, pool: &pool)
      index &+= 1
    }
    values.carryOut(.overwrite, added, on: &headers, pool: &pool)
    values.carryOut(.add, added, on: &headers, pool: &pool)
    values.release(into: &pool)
  }
}
