/// Header fields of a call, in order: gRPC's metadata, and what HTTP/2 adds.
package struct RPCFields: ExpressibleByArrayLiteral {
  package private(set) var list: [(name: String, value: String)] = []

  package init(arrayLiteral elements: (String, String)...) {
    for element in elements { list.append((element.0, element.1)) }
  }

  /// Adds a field; its name is in lower case, as HTTP/2 wants it.
  package mutating func add(_ name: String, _ value: String) { list.append((name, value)) }

  package mutating func removeAll() { list.removeAll() }

  /// The first value of this name.
  package subscript(name: String) -> String? { list.first { $0.name == name }?.value }

  static func + (left: RPCFields, right: RPCFields) -> RPCFields {
    var sum = left
    sum.list += right.list
    return sum
  }

  /// `application/grpc` and its variants (`+proto`, `;…`).
  var areGRPC: Bool {
    guard let type = self["content-type"], type.hasPrefix("application/grpc") else { return false }
    let rest = type.utf8.dropFirst("application/grpc".utf8.count).first
    return rest == nil || rest == UInt8(ascii: "+") || rest == UInt8(ascii: ";")
  }
}
