/// Names of fields as protobuf's JSON has them (`filterChains`), which is how istioctl prints
/// resources; proxies dump them as they stand in `.proto` files (`filter_chains`).
package enum FieldNames {
  /// Fields whose members are a user's names, each with a message.
  private static let maps: Set<String> = [
    "typed_per_filter_config", "typed_extension_protocol_options", "typed_filter_metadata",
    "named_endpoints",
  ]
  /// Fields whose members are a user's names at every depth.
  private static let structs: Set<String> = [
    "filter_metadata", "json_format", "static_layer", "labels",
  ]

  package static func camelCased(_ value: JSONValue) -> JSONValue {
    switch value {
    case .array(let items): .array(items.map(camelCased))
    case .object(let members):
      isStruct(value) ? value : .object(members.map(member))
    default: value
    }
  }

  /// A struct in an `Any`.
  private static func isStruct(_ value: JSONValue) -> Bool {
    let type = value["@type"].text
    return type.hasSuffix("TypedStruct") || type.hasSuffix("google.protobuf.Struct")
  }

  private static func member(_ member: JSONMember) -> JSONMember {
    let value = member.value
    let name = camelCased(name: member.name)
    if isStruct(member) { return JSONMember(name, value) }
    guard maps.contains(member.name) else { return JSONMember(name, camelCased(value)) }
    return JSONMember(
      name, .object(value.members.map { JSONMember($0.name, camelCased($0.value)) }))
  }

  /// `metadata` is a message of its own at a route or a cluster, and a struct at a node.
  private static func isStruct(_ member: JSONMember) -> Bool {
    if member.name == "metadata" {
      return !member.value.members.contains {
        $0.name == "filter_metadata" || $0.name == "typed_filter_metadata"
      }
    }
    return structs.contains(member.name)
  }

  /// `use_original_dst` becomes `useOriginalDst`.
  package static func camelCased(name: String) -> String {
    guard name.contains("_"), !name.contains("."), !name.hasPrefix("@") else { return name }
    var out = ""
    var isStart = false
    for character in name {
      if character == "_" {
        isStart = !out.isEmpty
      } else {
        out += isStart ? character.uppercased() : String(character)
        isStart = false
      }
    }
    return out
  }
}
