import AdminHTTP
import Resources
import Routing

/// What `/config_dump` can be asked for: one list of resources, some fields, some names.
extension ConfigDump {
  private static let admin = "type.googleapis.com/envoy.admin.v3."

  func respond(to request: AdminRequest) -> AdminResponse {
    let mask = request.parameter("mask").flatMap { $0.isEmpty ? nil : FieldMask($0) }
    var fits: ((String) -> Bool)?
    do throws(Regex.Refusal) {
      if let names = try request.search("name_regex") { fits = { names.matches($0) } }
    } catch {
      return AdminResponse(
        status: 400, text: "Error while parsing name_regex: \(error.message)\n")
    }
    if let resource = request.parameter("resource"), !resource.isEmpty {
      return elements(of: resource, mask, fits)
    }
    let extra = request.parameter("include_eds") == nil ? [] : [endpointsPart]
    let configs = (parts + extra).compactMap { whole($0, mask, fits) }
    guard let mask, configs.isEmpty else { return AdminResponse(json: Self.document(configs)) }
    return AdminResponse(
      status: 400,
      text: "FieldMask \(mask.text) could not be successfully applied to any configs.\n")
  }

  private static func document(_ configs: [AdminJSON]) -> AdminJSON {
    .object(configs.isEmpty ? [] : [("configs", .array(configs))])
  }

  /// A whole part, or what the mask leaves of it; nil when the mask is not about it.
  private func whole(
    _ part: Part, _ mask: FieldMask?, _ fits: ((String) -> Bool)?
  ) -> AdminJSON? {
    var members = part.plain
    for list in part.lists {
      let items = items(list, named: fits)
      guard !items.isEmpty else { continue }
      members.append((list.name, .array(items.map { .object($0) })))
    }
    if let mask {
      let known = part.plain.map(\.name) + part.lists.map(\.name)
      guard let left = mask.trimmed(members, known: known) else { return nil }
      members = left
    }
    return .object([("@type", .string(Self.admin + part.kind))] + members)
  }

  /// The items of one list, each as a message of its own.
  private func elements(
    of resource: String, _ mask: FieldMask?, _ fits: ((String) -> Bool)?
  ) -> AdminResponse {
    for part in parts + [endpointsPart] {
      if part.plain.contains(where: { $0.name == resource }) {
        return AdminResponse(
          status: 400,
          text:
            "\(resource) is not a repeated field. Use ?mask=\(resource) to get only this field\n")
      }
      guard let list = part.lists.first(where: { $0.name == resource }) else { continue }
      var configs: [AdminJSON] = []
      for item in items(list, named: fits) {
        var members = item
        if let mask {
          guard
            let left = mask.trimmed(
              members, known: ["name", "version_info", list.member, "last_updated"])
          else {
            return AdminResponse(
              status: 400, text: "FieldMask \(mask.text) could not be successfully used.\n")
          }
          members = left
        }
        let type = "\(Self.admin)\(part.kind).\(list.element)"
        configs.append(.object([("@type", .string(type))] + members))
      }
      return AdminResponse(json: Self.document(configs))
    }
    return AdminResponse(status: 404, text: "\(resource) not found in config dump\n")
  }
}

/// Paths of fields that are to be shown, written as protobuf writes a `FieldMask`:
/// `cluster.name,last_updated`.
struct FieldMask {
  let text: String
  private let paths: [[Substring]]

  init(_ text: String) {
    self.text = text
    paths = text.split(separator: ",").map {
      $0.split(separator: ".", omittingEmptySubsequences: false)
    }
  }

  /// What it leaves of a message; nil when a path begins with another name than a field's, or leads
  /// into a list, whose items have no names.
  func trimmed(_ members: ConfigDump.Members, known: [String]) -> ConfigDump.Members? {
    for path in paths {
      guard let first = path.first, known.contains(String(first)) else { return nil }
    }
    return Self.trimmed(members, paths.map { $0[...] })
  }

  private static func trimmed(
    _ members: ConfigDump.Members, _ paths: [ArraySlice<Substring>]
  ) -> ConfigDump.Members? {
    var left: ConfigDump.Members = []
    for (name, value) in members {
      let inner = paths.filter { $0.first.map { $0 == name } ?? false }.map { $0.dropFirst() }
      // A message in an `Any` says what it is, whatever else is shown of it.
      if name == "@type" || inner.contains(where: \.isEmpty) {
        left.append((name, value))
      } else if !inner.isEmpty {
        guard case .object(let message) = value, let rest = trimmed(message, inner) else {
          return nil
        }
        left.append((name, .object(rest)))
      }
    }
    return left
  }
}
