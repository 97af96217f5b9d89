// libFuzzer's entry into what a proxy or a control plane answers to the command-line tool: an HTTP
// answer, and the JSON in it, of which every table is made. Written again, a document is the same.

import ControlTool

/// Keeps results alive: what nobody uses is optimised away, and the parser with it.
nonisolated(unsafe) public var sink = 0

/// Everything that is printed of a document, whatever it is.
private func tables(of document: JSONValue) -> Int {
  var size = 0
  if let dump = try? ConfigDump(document, origin: "input") {
    let listeners = ListenerQuery(address: "10.0.0.1", port: 80)
      .select(dump.listeners, own: dump.nodeAddresses)
    size += ListenerTable.text(dump.listeners + listeners, isVerbose: true).utf8.count
    size += RouteTable.text(dump.routes, isVerbose: true).utf8.count
    size += ClusterTable.text(dump.clusters).utf8.count
    size += SecretTable.text(dump.secrets, now: 0, isVerbose: true).utf8.count
    size += BootstrapSummary.text(dump.bootstrap, serverInfo: document).utf8.count
    let endpoints = EndpointSelection(assignments: dump.assignments ?? [], EndpointQuery())
    size += EndpointTable.text(endpoints.rows).utf8.count
    precondition(ConfigComparison(sent: dump, running: dump).isSame, "a dump is what it is")
  }
  let statuses = EndpointSelection(statuses: document, EndpointQuery(port: 80))
  precondition(statuses.rows.allSatisfy { $0.port == 80 }, "what does not fit is left out")
  size +=
    SyncTable.text(SyncStatus.all(in: document), istiod: "", now: 0, isVerbose: true).utf8.count
  size += SecretTable.text(certificates: document, now: 0).utf8.count
  return size + YAMLWriter.write(FieldNames.camelCased(document)).utf8.count
}

/// Reads one input, as an answer and as the document in it.
@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
  let bytes = Array(UnsafeBufferPointer(start: data, count: size))
  let body = HTTPAnswer(received: bytes)?.body ?? bytes
  guard let document = try? JSONParser.parse(body) else { return 0 }
  let text = JSONWriter.write(document)
  precondition((try? JSONParser.parse(Array(text.utf8))) == document, "written and read again")
  sink &+= tables(of: document)
  return 0
}
