/// What a form sends: several files in one request (RFC 7578).
enum FormData {
  /// Files in one request: more than the largest meshes are written in.
  private static let files = 10_000

  /// The boundary, if that is what a request holds.
  static func boundary(in contentType: String) -> String? {
    let parts = contentType.split(separator: ";").map { $0.drop { $0 == " " } }
    guard parts.first?.lowercased() == "multipart/form-data" else { return nil }
    for part in parts.dropFirst() where part.lowercased().hasPrefix("boundary=") {
      let value = part.dropFirst("boundary=".count).filter { $0 != "\"" }
      // RFC 2046 §5.1.1 allows no more.
      return (1...70).contains(value.utf8.count) ? value : nil
    }
    return nil
  }

  /// The parts, each under its file's name; nil when the body is no such thing.
  static func files(in body: [UInt8], boundary: String) -> [SentFile]? {
    let mark = Array("--\(boundary)".utf8)
    let lineEnd = Array("\r\n".utf8)
    guard body.starts(with: mark) else { return nil }
    var found: [SentFile] = []
    var at = mark.count
    while true {
      if body[at...].starts(with: [UInt8(ascii: "-"), UInt8(ascii: "-")]) { return found }
      guard found.count < Self.files, body[at...].starts(with: lineEnd),
        let headEnd = place(of: lineEnd + lineEnd, in: body, from: at),
        let end = place(of: lineEnd + mark, in: body, from: headEnd + 2)
      else { return nil }
      let head = String(decoding: body[at..<headEnd], as: UTF8.self)
      let start = min(headEnd + 4, end)
      found.append(
        SentFile(name: name(in: head) ?? "part \(found.count + 1)", bytes: Array(body[start..<end]))
      )
      at = end + 2 + mark.count
    }
  }

  private static func place(of wanted: [UInt8], in body: [UInt8], from start: Int) -> Int? {
    guard let first = wanted.first, start <= body.count else { return nil }
    var at = start
    while let next = body[at...].firstIndex(of: first) {
      if body[next...].starts(with: wanted) { return next }
      at = next + 1
    }
    return nil
  }

  /// `filename="…"`, or else `name="…"`, of a part's head.
  private static func name(in head: String) -> String? {
    for key in ["filename=\"", " name=\""] {
      guard let start = head.firstRange(of: key) else { continue }
      let rest = head[start.upperBound...]
      guard let end = rest.firstIndex(of: "\"") else { continue }
      return String(rest[..<end].prefix(1000))
    }
    return nil
  }
}
