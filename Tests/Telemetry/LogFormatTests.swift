import Glibc
import Testing

@testable import Telemetry

/// A request that answers from dictionaries.
final class FakeSource: LogSource {
  var fields: [LogField: LogValue] = [:]
  var headers: [LogHeaders: [String: [UInt8]]] = [:]
  var points: [LogTimePoint: UInt64] = [:]
  var startTime: UInt64 = 1_795_383_422_014_088_000
  var now: UInt64 = 1_795_383_422_027_000_000
  var responseFlags = ResponseFlags()
  var metadata: [String: String] = [:]
  /// Memory that values point into.
  private var kept: [UnsafeMutableBufferPointer<UInt8>] = []

  deinit { for buffer in kept { buffer.deallocate() } }

  func keep(_ bytes: [UInt8]) -> LogBytes {
    let buffer = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: max(1, bytes.count))
    for (index, byte) in bytes.enumerated() { buffer[index] = byte }
    kept.append(buffer)
    return LogBytes(start: buffer.baseAddress, count: bytes.count)
  }

  func set(_ field: LogField, _ text: String) { fields[field] = .bytes(keep(Array(text.utf8))) }

  func set(_ headers: LogHeaders, _ name: String, _ value: String) {
    self.headers[headers, default: [:]][name] = Array(value.utf8)
  }

  func value(of field: LogField, scratch: inout ByteSink) -> LogValue {
    fields[field] ?? .absent
  }

  func header(_ headers: LogHeaders, _ name: LogHeaderName) -> LogBytes? {
    self.headers[headers]?[name.bytes.text].map { keep($0) }
  }

  func time(of point: LogTimePoint) -> UInt64? { points[point] }

  func metadata(_ kind: LogMetadata, _ path: LogPath, scratch: inout ByteSink) -> LogValue {
    var parts: [String] = []
    path.visitParts { parts.append($0.text) }
    guard let value = metadata["\(kind) " + parts.joined(separator: "/")] else { return .absent }
    let mark = scratch.count
    scratch.append(keep(Array(value.utf8)))
    let bytes = scratch.bytes(since: mark)
    return value.hasPrefix("{") || Int(value) != nil ? .json(bytes) : .bytes(bytes)
  }
}

func rendered(
  _ format: LogFormat, _ source: FakeSource, capacity: Int = 4096, valueLimit: Int = .max
) -> String? {
  let renderer = LogRenderer()
  let memory = UnsafeMutablePointer<UInt8>.allocate(capacity: capacity)
  defer {
    renderer.deallocate()
    memory.deallocate()
    format.deallocate()
  }
  var sink = ByteSink(base: memory, capacity: capacity)
  guard format.render(source, with: renderer, into: &sink, valueLimit: valueLimit) else {
    return nil
  }
  return sink.bytes.text
}

@Suite("Log formats")
struct LogFormatTests {
  let source = FakeSource()

  private func text(_ format: String, omit: Bool = false) throws -> String? {
    rendered(try .text(format, LogFormatOptions(omitEmptyValues: omit)), source)
  }

  @Test("the default format prints Envoy's line")
  func defaultFormat() throws {
    source.set(.request, ":method", "GET")
    source.set(.request, ":path", "/a")
    source.set(.request, ":authority", "h")
    source.set(.protocolName, "HTTP/1.1")
    source.set(.upstreamHost, "127.0.0.1:1")
    source.fields[.responseCode] = .number(200)
    source.fields[.bytesReceived] = .number(0)
    source.fields[.bytesSent] = .number(3)
    source.points = [.downstreamFirstByteReceived: 5, .streamEnd: 13_000_004]
    #expect(
      try text(LogFormat.defaultText)
        == "[2026-11-22T21:37:02.014Z] \"GET /a HTTP/1.1\" 200 - 0 3 12 - \"-\" \"-\" \"-\" \"h\" "
        + "\"127.0.0.1:1\"\n")
  }

  @Test(
    "times print as in Envoy 1.40",
    arguments: [
      ("%START_TIME%", "2026-11-22T21:37:02.014Z"), ("%START_TIME(%s)%", "1795383422"),
      ("%START_TIME(%s.%3f)%", "1795383422.014"),
      (
        "%START_TIME(%H:%M:%S.%6f %9f %f %1f %2f %4f)%",
        "21:37:02.014088 014088000 014088000 0 01 0140"
      ),
      ("%START_TIME(%Y-%m-%d %f%3f)%", "2026-11-22 014088000014"),
      ("%START_TIME(%z %Z %a %b %j %e %p %I)%", "+0000 UTC Sun Nov 326 22 PM 09"),
      (
        "%START_TIME(%E3S %E*S %E3f %E*f %Ez %E*z %E4Y%ET%y)%",
        "02.014 02.014088 014 014088 +00:00 +00:00:00 2026T26"
      ),
      ("%START_TIME(%D %Q)%", "11/22/26 %Q"), ("%EMIT_TIME%", "2026-11-22T21:37:02.027Z"),
      ("%START_TIME()%", "2026-11-22T21:37:02.014Z"),
    ])
  func times(format: String, expected: String) throws {
    #expect(try text(format) == expected)
  }

  @Test("a second's text is kept only for that second")
  func calendarCache() throws {
    let format = try LogFormat.text("%START_TIME(%S)%")
    let renderer = LogRenderer()
    let memory = UnsafeMutablePointer<UInt8>.allocate(capacity: 64)
    defer {
      renderer.deallocate()
      memory.deallocate()
      format.deallocate()
    }
    var sink = ByteSink(base: memory, capacity: 64)
    for second in [0, 0, 1, 0] as [UInt64] {
      source.startTime = second * 1_000_000_000
      #expect(format.render(source, with: renderer, into: &sink))
    }
    #expect(sink.bytes.text == "00000100")
  }

  @Test("headers: first name, alternative, length, presence")
  func headers() throws {
    source.set(.request, "a", "first")
    source.set(.request, "empty", "")
    source.set(.response, "r", "resp")
    source.set(.responseTrailer, "t", "trail")
    #expect(try text("%REQ(A)%|%REQ(a):3%|%REQ(a):0%|%REQ(a):99%") == "first|fir||first")
    #expect(try text("%REQ(x?a)%|%REQ(empty?a)%|%REQ(x?y)%|%REQ(x?)%") == "first||-|-")
    #expect(
      try text("%RESP(r)%|%TRAILER(t)%|%RESPONSE_HEADER(R)%|%RESP(t)%") == "resp|trail|resp|-")
    #expect(try text("%REQ(x)%|%REQ(empty)%|%RESPONSE_FLAGS%", omit: true) == "||-")
  }

  @Test("durations are numbers in their unit, and absent where a point is missing")
  func durations() throws {
    source.points = [
      .downstreamFirstByteReceived: 1_000, .downstreamLastByteReceived: 2_501_000,
      .upstreamFirstByteReceived: 10_001_000,
    ]
    #expect(try text("%REQUEST_DURATION% %RESPONSE_DURATION% %RESPONSE_TX_DURATION%") == "2 10 -")
    #expect(try text("%COMMON_DURATION(DS_RX_BEG:DS_RX_END:us)%") == "2500")
    #expect(try text("%COMMON_DURATION(DS_RX_BEG:DS_RX_END:ns)%") == "2500000")
    #expect(try text("%COMMON_DURATION(DS_RX_BEG:DS_RX_END)%") == "2")
    #expect(try text("%COMMON_DURATION(DS_RX_END:DS_RX_BEG:ns)%") == "-")
  }

  @Test("paths with and without their query, and parameters decoded")
  func paths() throws {
    source.set(.request, ":path", "/now?a=1&b&c=&d=%20x&e=%zz%4&a=3")
    source.set(.request, "x-envoy-original-path", "/before?q")
    #expect(
      try text("%PATH%|%PATH(NQ)%|%PATH(NQ:PATH)%|%PATH(WQ:ORIG):3%")
        == "/before?q|/before|/now|/be")
    #expect(try text("%QUERY_PARAMS%") == "a=1&b&c=&d=%20x&e=%zz%4&a=3")
    #expect(
      try text(
        "%QUERY_PARAM(a)%|%QUERY_PARAM(b)%|%QUERY_PARAM(c)%|%QUERY_PARAM(d)%|%QUERY_PARAM(e)%|%QUERY_PARAM(f)%"
      )
        == "1||| x|%zz%4|-")
    // As in Envoy: a plus sign is itself, and of a lone percent sign the digits stay.
    source.set(.request, ":path", "/now?a=1+2%2B&b=%zz%4&%61x=1")
    #expect(try text("%QUERY_PARAM(a)%|%QUERY_PARAM(ax)%") == "1+2+|1")
    #expect(try text("%QUERY_PARAMS(DECODED)%") == "a=1+2+&b=zz4&ax=1")
    source.set(.request, ":path", "/now?")
    #expect(try text("%QUERY_PARAMS%|%QUERY_PARAM(a)%") == "|-")
    source.set(.request, ":path", "/now")
    #expect(try text("%QUERY_PARAMS%|%QUERY_PARAM(a)%") == "-|-")
  }

  @Test("gRPC's status comes from trailers, headers, or the HTTP status")
  func grpc() throws {
    source.fields[.responseCode] = .number(503)
    #expect(try text("%GRPC_STATUS%") == "-")
    source.set(.request, "content-type", "application/grpc+proto")
    #expect(try text("%GRPC_STATUS% %GRPC_STATUS_NUMBER%") == "Unavailable 14")
    source.set(.response, "grpc-status", "4")
    #expect(try text("%GRPC_STATUS(SNAKE_STRING)%") == "DEADLINE_EXCEEDED")
    source.set(.responseTrailer, "grpc-status", "0")
    #expect(try text("%GRPC_STATUS% %GRPC_STATUS(NUMBER)%") == "OK 0")
    source.set(.request, "content-type", "application/grpcx")
    #expect(try text("%GRPC_STATUS%") == "-")
  }

  @Test("metadata is asked for by its parts")
  func metadata() throws {
    source.metadata = [
      "dynamic a.b/k/l": "text", "dynamic a.b": "{\"k\":1}", "route r/x": "7",
      "upstreamHost envoy.lb/zone": "z",
    ]
    #expect(try text("%DYNAMIC_METADATA(a.b:k:l)%|%DYNAMIC_METADATA(a.b)%") == "text|{\"k\":1}")
    #expect(try text("%METADATA(ROUTE:r:x)%|%UPSTREAM_METADATA(envoy.lb:zone)%") == "7|z")
    #expect(try text("%CLUSTER_METADATA(a:b)%|%DYNAMIC_METADATA(a.b:k:l):2%") == "-|te")
  }

  @Test("what never changes is fixed when the format is compiled")
  func fixed() throws {
    setenv("FAIRLEAD_TEST_VARIABLE", "va\"lue", 1)
    #expect(try text("%ENVIRONMENT(FAIRLEAD_TEST_VARIABLE):3%") == "va\"")
    #expect(try text("%ENVIRONMENT(FAIRLEAD_NO_SUCH)%") == "-")
    let format = try LogFormat.text("a%%b%ENVIRONMENT(FAIRLEAD_TEST_VARIABLE)%")
    defer { format.deallocate() }
    #expect(format.constant?.text == "a%bva\"lue")
    let other = try LogFormat.text("a%DURATION%")
    defer { other.deallocate() }
    #expect(other.constant == nil)
  }

  @Test("internal addresses have no value")
  func internalAddresses() throws {
    #expect(
      try text(
        "%UPSTREAM_REMOTE_ADDRESS_ENDPOINT_ID%|%CUSTOM_FLAGS%|%BYTES_RETRANSMITTED%") == "-||0")
  }

  @Test("flags print in Envoy's letters and order")
  func flags() throws {
    let table: [(ResponseFlags, String, String)] = [
      ([], "-", "-"), (.noRouteFound, "NR", "NoRouteFound"),
      (
        [.upstreamConnectionFailure, .upstreamRetryLimitExceeded], "URX,UF",
        "UpstreamRetryLimitExceeded,UpstreamConnectionFailure"
      ),
      (
        [.downstreamProtocolError, .delayInjected], "DI,DPE",
        "DelayInjected,DownstreamProtocolError"
      ),
      (.unconditionalDropOverload, "UDO", "UnconditionalDropOverload"),
    ]
    for (flags, short, long) in table {
      source.responseFlags = flags
      #expect(try text("%RESPONSE_FLAGS%") == short)
      #expect(try text("%RESPONSE_FLAGS_LONG%") == long)
    }
  }

  @Test("every set of letters names its flag")
  func letters() throws {
    #expect(ResponseFlags.allLetters.count == 30)
    for letters in ResponseFlags.allLetters {
      source.responseFlags = try #require(ResponseFlags(letters: letters))
      #expect(try text("%RESPONSE_FLAGS%") == letters)
    }
    #expect(ResponseFlags(letters: "XX") == nil)
  }

  @Test("a line that does not fit says so, and fits with the limit computed for the room")
  func room() throws {
    source.set(.request, "a", String(repeating: "\u{1}", count: 5000))
    let tree = LogJSON.object([("k", .string("%REQ(a)%")), ("l", .string("x%REQ(a)%"))])
    #expect(rendered(try .json(tree), source, capacity: 4096) == nil)
    let format = try LogFormat.json(tree)
    let limit = format.valueLimit(for: 4096)
    #expect(limit > 300)
    #expect(rendered(format, source, capacity: 4096, valueLimit: limit)?.hasSuffix("\"}\n") == true)
  }
}

@Suite("JSON log formats")
struct JSONLogFormatTests {
  let source = FakeSource()

  private func json(_ members: [(String, LogJSON)], omit: Bool = false) throws -> String? {
    rendered(try .json(.object(members), LogFormatOptions(omitEmptyValues: omit)), source)
  }

  // As printed by Envoy 1.40 for the same format and request.
  @Test("values keep their types, keys are sorted, missing ones are null")
  func types() throws {
    source.fields[.responseCode] = .number(200)
    source.set(.protocolName, "HTTP/1.1")
    source.set(.localReplyBody, "")
    #expect(
      try json([
        ("mixed", .string("x%RESPONSE_CODE%y")), ("missing", .string("%REQ(nope)%")),
        ("mixedmissing", .string("a%REQ(nope)%b")),
        (
          "nested",
          .object([
            ("b", .object([("c", .string("%REQ(nope)%"))])), ("a", .string("%PROTOCOL%")),
            (
              "list",
              .list([.string("%RESPONSE_CODE%"), .string("lit"), .number(5), .bool(true), .null])
            ),
          ])
        ), ("num", .number(42)), ("f", .number(1.5)), ("b", .bool(true)), ("nul", .null),
        ("lit", .string("hello \"q\" 100%%")), ("lrb", .string("%LOCAL_REPLY_BODY%")),
        ("flags", .string("%RESPONSE_FLAGS%")), ("start", .string("%START_TIME%")),
      ])
        == #"{"b":true,"f":1.5,"flags":"-","lit":"hello \"q\" 100%","lrb":"","missing":null,"#
        + #""mixed":"x200y","mixedmissing":"a-b","nested":{"a":"HTTP/1.1","b":{"c":null},"#
        + #""list":[200,"lit",5,true,null]},"nul":null,"num":42,"#
        + #""start":"2026-11-22T21:37:02.014Z"}"# + "\n")
  }

  @Test("omitting leaves out what is null and the objects that stay empty")
  func omitting() throws {
    source.fields[.responseCode] = .number(200)
    source.set(.request, "x-empty", "")
    #expect(
      try json(
        [
          ("allmissing", .string("%REQ(nope)%%REQ(nope2)%")), ("empty", .string("%REQ(x-empty)%")),
          ("e", .string("")), ("nul", .null), ("missing", .string("%REQ(nope)%")),
          ("mixedmissing", .string("a%REQ(nope)%b")),
          ("nested", .object([("c", .string("%REQ(nope)%"))])),
          ("n2", .object([("c", .object([("d", .string("%REQ(nope)%"))])), ("e", .list([]))])),
          ("list", .list([.string("%REQ(nope)%"), .string("%RESPONSE_CODE%")])),
          ("l2", .list([.string("%REQ(nope)%"), .object([])])), ("o", .object([])),
          ("flags", .string("%RESPONSE_FLAGS%")),
          ("z", .string("%REQ(nope)%")),
        ], omit: true)
        == #"{"allmissing":"","e":"","empty":"","flags":"-","l2":[],"list":[200],"#
        + #""mixedmissing":"ab","n2":{"e":[]}}"# + "\n")
    #expect(try json([("a", .string("%REQ(nope)%"))], omit: true) == "{}\n")
  }

  @Test("text is escaped, and bytes that are not UTF-8 cannot break the line")
  func escaping() throws {
    func value(_ bytes: [UInt8]) throws -> String? {
      source.headers[.request] = ["a": bytes]
      return try json([("k", .string("%REQ(a)%"))])
    }
    #expect(try value(Array("a\"b\\c é<>&/".utf8)) == "{\"k\":\"a\\\"b\\\\c é<>&/\"}\n")
    #expect(try value([9, 10, 13, 8, 12, 1, 0x1F]) == #"{"k":"\t\n\r\b\f\u0001\u001f"}"# + "\n")
    #expect(
      try value(Array("ag\"e\\n\t".utf8) + [0xFF, 0xC3, 0xA9])
        == #"{"k":"ag\u0022e\u005cn\u0009\u00ff\u00c3\u00a9"}"# + "\n")
  }

  @Test(
    "UTF-8 is valid by RFC 3629",
    arguments: [
      ([0x41], true), ([0xC3, 0xA9], true), ([0xC3], false), ([0xC0, 0x80], false),
      ([0xE0, 0x9F, 0xBF], false), ([0xE0, 0xA0, 0x80], true), ([0xED, 0xA0, 0x80], false),
      ([0xED, 0x9F, 0xBF], true), ([0xF0, 0x8F, 0xBF, 0xBF], false),
      ([0xF0, 0x90, 0x80, 0x80], true), ([0xF4, 0x8F, 0xBF, 0xBF], true),
      ([0xF4, 0x90, 0x80, 0x80], false), ([0x80], false), ([0xE2, 0x82], false),
    ] as [([UInt8], Bool)])
  func utf8(bytes: [UInt8], isValid: Bool) {
    #expect(ByteSink.isValidUTF8(source.keep(bytes)) == isValid)
  }

  @Test("metadata keeps its own type")
  func metadata() throws {
    source.metadata = ["dynamic n/o": "{\"k\":1}", "dynamic n/s": "text"]
    #expect(
      try json([
        ("o", .string("%DYNAMIC_METADATA(n:o)%")), ("s", .string("%DYNAMIC_METADATA(n:s)%")),
        ("x", .string("%DYNAMIC_METADATA(n:x)%")), ("in", .string("<%DYNAMIC_METADATA(n:o)%>")),
      ]) == #"{"in":"<{\"k\":1}>","o":{"k":1},"s":"text","x":null}"# + "\n")
  }

  @Test("nesting is bounded and the root has to be an object")
  func bounds() {
    func nested(_ depth: Int) -> LogJSON {
      (0..<depth).reduce(.string("x")) { inner, _ in .object([("a", inner)]) }
    }
    #expect(throws: Never.self) { try LogFormat.json(nested(31)).deallocate() }
    #expect(throws: LogFormatError.self) { try LogFormat.json(nested(32)).deallocate() }
    #expect(throws: LogFormatError.self) { try LogFormat.json(.list([])).deallocate() }
  }
}

@Suite("Log format mistakes")
struct LogFormatMistakeTests {
  @Test(
    "every mistake is one sentence that names the operator",
    arguments: [
      ("%FOO%", "%FOO% is not an operator"),
      ("%RESPONSE_COD%", "%RESPONSE_COD% is not an operator; did you mean %RESPONSE_CODE%?"),
      ("%", "no operator can be read at byte 0 of the format; write %% for a percent sign"),
      ("100% x", "no operator can be read at byte 3 of the format; write %% for a percent sign"),
      ("%REQ(a", "no operator can be read at byte 0 of the format; write %% for a percent sign"),
      (
        "%REQ(a):x%", "no operator can be read at byte 0 of the format; write %% for a percent sign"
      ),
      ("%REQ%", "%REQ% needs something in parentheses"),
      ("%REQ()%", "%REQ% needs something in parentheses"),
      ("%REQ(a?b?c)%", "%REQ(a?b?c)% names more than one alternative"),
      ("%REQ(a b)%", "%REQ(a b)%: “a b” is not a header name"),
      ("%DURATION:3%", "%DURATION% takes neither parentheses nor a length"),
      ("%PROTOCOL(x)%", "%PROTOCOL% takes neither parentheses nor a length"),
      ("%START_TIME:5%", "%START_TIME% takes no length"),
      ("%START_TIME(%n)%", "a time format must not contain a line break (%n)"),
      (
        "%COMMON_DURATION(DS_RX_BEG:DS_RX_EN:ms)%",
        "%COMMON_DURATION(DS_RX_BEG:DS_RX_EN:ms)%: DS_RX_EN is no point in time; "
          + "did you mean DS_RX_END?"
      ),
      (
        "%COMMON_DURATION(DS_RX_BEG:DS_TX_END:s)%",
        "%COMMON_DURATION(DS_RX_BEG:DS_TX_END:s)%: s is no precision; use ms, us or ns"
      ),
      (
        "%COMMON_DURATION(DS_RX_BEG)%",
        "%COMMON_DURATION(DS_RX_BEG)% has to be written as start:end or start:end:precision"
      ),
      (
        "%METADATA(ROUT:a)%",
        "%METADATA(ROUT:a)%: ROUT is no kind of metadata; did you mean ROUTE?"
      ),
      ("%QUERY_PARAMS(X)%", "%QUERY_PARAMS(X)%: use ORIG or DECODED"),
      ("%PATH(X)%", "%PATH(X)%: use WQ or NQ first"),
      (
        "%CEL(request.path)%",
        "%CEL% is an operator of Envoy that is not supported here: "
          + "expressions are not evaluated in logs"
      ),
    ])
  func mistakes(format: String, sentence: String) {
    #expect(throws: LogFormatError(sentence)) { try LogFormat.text(format).deallocate() }
  }

  @Test("fixed text is bounded")
  func length() {
    var options = LogFormatOptions()
    options.literalBytes = 10
    #expect(throws: Never.self) { try LogFormat.text("0123456789", options).deallocate() }
    #expect(throws: LogFormatError.self) { try LogFormat.text("0123456789a", options).deallocate() }
  }
}
