import Glibc

/// The control plane's store of objects.
package struct ObjectClient {
  let plane: ControlPlaneClient

  /// A question's parameters; those without a value are left out.
  typealias Parameters = [(name: String, value: String?)]

  /// Who changes something, for the history.
  private static var author: String {
    // SAFETY: the text is copied before anything else can change it.
    unsafe getenv("USER").map { unsafe String(cString: $0) } ?? "uid \(getuid())"
  }

  static func target(_ path: String, _ parameters: Parameters) -> String {
    let query = parameters.compactMap { name, value in
      value.map { "\(name)=\(ControlPlaneClient.escaped($0))" }
    }
    return "/api/v1/" + path + (query.isEmpty ? "" : "?" + query.joined(separator: "&"))
  }

  /// Asks for something that changes nothing.
  func get(_ path: String, _ parameters: Parameters = []) throws(ToolError) -> JSONValue {
    try ask("GET", path, parameters, [], nil)
  }

  /// Changes something.
  func change(
    _ method: String, _ path: String, _ parameters: Parameters, files: [ObjectFiles.File] = []
  ) throws(ToolError) -> JSONValue {
    try post(path, parameters + [("fieldManager", Self.author)], files: files, method: method)
  }

  /// Sends files, and takes the answer.
  func post(
    _ path: String, _ parameters: Parameters, files: [ObjectFiles.File], method: String = "POST"
  ) throws(ToolError) -> JSONValue {
    let form = files.isEmpty ? nil : ObjectFiles.form(files)
    return try ask(method, path, parameters, form?.body ?? [], form?.type)
  }

  private func ask(
    _ method: String, _ path: String, _ parameters: Parameters, _ body: [UInt8], _ type: String?
  ) throws(ToolError) -> JSONValue {
    let target = Self.target(path, parameters)
    let answer = try plane.reach { () throws(ToolError) in
      try plane.http.send(method, target, body, type: type)
    }
    let document = try? JSONParser.parse(answer.body)
    if answer.status == 200, let document { return document }
    let reasons = document?["reasons"].texts ?? []
    guard reasons.isEmpty else {
      throw ToolError(reasons.joined(separator: "\nerror: "))
    }
    let said = answer.text.split(whereSeparator: \.isNewline).first.map { ": \($0)" } ?? ""
    throw ToolError("the control plane answers \(method) \(target) with \(answer.status)\(said)")
  }

  /// `virtualservice.networking.istio.io/reviews`.
  static func title(of entry: JSONValue) -> String {
    "\(entry["resource"].text)/\(entry["name"].text)"
  }
}
