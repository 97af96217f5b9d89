extension HTTPClient {
  /// The document at a path.
  package func document(_ target: String) throws(ToolError) -> JSONValue {
    let answer = try get(target)
    guard answer.status == 200 else {
      let reason = answer.text.split(whereSeparator: \.isNewline).first.map { ": \($0)" } ?? ""
      throw ToolError("\(address) answers \(target) with \(answer.status)\(reason)")
    }
    return try Self.parse(answer.body, of: "\(address)\(target)")
  }

  /// A document that came from somewhere.
  static func parse(_ bytes: [UInt8], of origin: String) throws(ToolError) -> JSONValue {
    do throws(JSONError) {
      return try JSONParser.parse(bytes)
    } catch {
      throw ToolError("\(origin) is no JSON: \(error)")
    }
  }
}
