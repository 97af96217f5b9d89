import ArgumentParser

/// How an answer is written.
enum OutputForm: String, ExpressibleByArgument, CaseIterable {
  case short
  case json
  case yaml

  /// A document in this form; `short` writes it as JSON does.
  func text(_ document: JSONValue) -> String {
    self == .yaml ? YAMLWriter.write(document) : JSONWriter.write(document) + "\n"
  }

  /// Resources as istioctl writes them: with protobuf's names, and without saying their type.
  func text(resources: [JSONValue]) -> String {
    text(.array(resources.map { FieldNames.camelCased($0.without("@type")) }))
  }
}
