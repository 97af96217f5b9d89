@testable import ControlTool

/// Dumps in the folder `Dumps`: what Envoy 1.40 and Fairlead said of the configuration that
/// `Tests/EndToEnd/ctl/sidecar.py` makes.
enum StoredDump {
  static func bytes(_ name: String) throws -> [UInt8] {
    let folder = #filePath.dropLast("StoredDump.swift".count)
    return try FileText.read("\(folder)Dumps/\(name).json")
  }

  static func document(_ name: String) throws -> JSONValue {
    try JSONParser.parse(try bytes(name))
  }

  static func dump(_ name: String) throws -> ConfigDump {
    try ConfigDump(try document(name), origin: name)
  }
}

/// A table's rows without the spaces that align them.
func rows(_ text: String) -> [String] {
  text.split(separator: "\n").map { line in
    line.split(separator: "  ").map { $0.drop { $0 == " " } }.joined(separator: " | ")
  }
}

func json(_ text: String) throws -> JSONValue { try JSONParser.parse(Array(text.utf8)) }
