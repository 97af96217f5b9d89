import MeshMessages
import MeshModel
import ResourceModel
import SwiftProtobuf
import Telemetry

/// How a line of the access log looks; Istio's, so that what reads those reads ours.
package struct AccessLogFormat {
  package typealias Format = Envoy_Config_Core_V3_SubstitutionFormatString
  package typealias File = Istio_Mesh_V1alpha1_MeshConfig.ExtensionProvider
    .EnvoyFileAccessLogProvider

  let settings: MeshSettings
  let profile: ClientProfile
  let notes: OmissionNotes

  private static let text =
    "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" "
    + "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% "
    + "%CONNECTION_TERMINATION_DETAILS% \"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" "
    + "%BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "
    + "\"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" "
    + "\"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER% %UPSTREAM_LOCAL_ADDRESS% "
    + "%DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% "
    + "%ROUTE_NAME%\n"

  private static let fields = [
    "authority": "%REQ(:AUTHORITY)%", "bytes_received": "%BYTES_RECEIVED%",
    "bytes_sent": "%BYTES_SENT%",
    "connection_termination_details": "%CONNECTION_TERMINATION_DETAILS%",
    "downstream_local_address": "%DOWNSTREAM_LOCAL_ADDRESS%",
    "downstream_remote_address": "%DOWNSTREAM_REMOTE_ADDRESS%", "duration": "%DURATION%",
    "method": "%REQ(:METHOD)%", "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
    "protocol": "%PROTOCOL%", "request_id": "%REQ(X-REQUEST-ID)%",
    "requested_server_name": "%REQUESTED_SERVER_NAME%", "response_code": "%RESPONSE_CODE%",
    "response_code_details": "%RESPONSE_CODE_DETAILS%", "response_flags": "%RESPONSE_FLAGS%",
    "route_name": "%ROUTE_NAME%", "start_time": "%START_TIME%",
    "upstream_cluster": "%UPSTREAM_CLUSTER%", "upstream_host": "%UPSTREAM_HOST%",
    "upstream_local_address": "%UPSTREAM_LOCAL_ADDRESS%",
    "upstream_service_time": "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%",
    "upstream_transport_failure_reason": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
    "user_agent": "%REQ(USER-AGENT)%", "x_forwarded_for": "%REQ(X-FORWARDED-FOR)%",
  ]

  private static let labels = Google_Protobuf_Struct.with { labels in
    for (name, value) in fields { labels.fields[name] = .with { $0.stringValue = value } }
  }

  // MARK: What is asked for

  /// What the mesh's settings ask for.
  var ofTheMesh: Format {
    let given = settings.accessLogFormat
    let made: Format =
      settings.accessLogIsJSON
      ? .with {
        $0.jsonFormat =
          given.isEmpty
          ? Self.labels : (try? Google_Protobuf_Struct(jsonString: given)) ?? Self.labels
      }
      : .with { $0.textFormatSource = .with { $0.inlineString = Self.line(given) } }
    return understood(made, "accessLogFormat")
  }

  /// What a provider asks for.
  func of(_ file: File, named name: String) -> Format {
    var made: Format
    switch file.logFormat.logFormat {
    case .labels(let labels):
      made = .with { $0.jsonFormat = labels.fields.isEmpty ? Self.labels : labels }
    case .text(let text):
      made = .with { $0.textFormatSource = .with { $0.inlineString = Self.line(text) } }
    case nil: made = .with { $0.textFormatSource = .with { $0.inlineString = Self.text } }
    }
    made.omitEmptyValues = file.omitEmptyValues
    return understood(made, "extensionProviders.\(name).envoyFileAccessLog.logFormat")
  }

  /// A line ends, whether its author thought of it or not (Istio).
  private static func line(_ text: String) -> String {
    text.isEmpty ? Self.text : text.hasSuffix("\n") ? text : text + "\n"
  }

  // MARK: What is understood

  /// The format, or the standard one where the client lacks something in it.
  private func understood(_ format: Format, _ field: String) -> Format {
    guard !profile.evaluatesExpressions else { return withFormatters(format) }
    guard let mistake = Self.mistake(in: format) else { return format }
    if let origin = settings.origin {
      notes.note(origin, field, "lines look as they do by default: \(mistake.description)")
    }
    var standard = Format.with {
      $0.textFormatSource = .with { $0.inlineString = Self.text }
    }
    if case .jsonFormat? = format.format { standard.jsonFormat = Self.labels }
    standard.omitEmptyValues = format.omitEmptyValues
    return standard
  }

  private static func mentions(_ value: Google_Protobuf_Value, _ text: String) -> Bool {
    switch value.kind {
    case .stringValue(let string): string.contains(text)
    case .structValue(let object): object.fields.values.contains { mentions($0, text) }
    case .listValue(let list): list.values.contains { mentions($0, text) }
    default: false
    }
  }

  /// What Envoy knows only if it is told to.
  private func withFormatters(_ format: Format) -> Format {
    let name = "REQ_WITHOUT_QUERY"
    let isUsed =
      switch format.format {
      case .textFormatSource(let source): source.inlineString.contains("%" + name)
      case .jsonFormat(let labels):
        labels.fields.values.contains { Self.mentions($0, "%" + name) }
      default: false
      }
    guard isUsed else { return format }
    return format.adding(
      Fairlead_Mesh_Envoy_V1_SubstitutionFormatMore.with {
        $0.formatters = [
          .with {
            $0.name = "envoy.formatter.req_without_query"
            $0.typedConfig = .with {
              $0.typeURL =
                "type.googleapis.com/envoy.extensions.formatter.req_without_query.v3.ReqWithoutQuery"
            }
          }
        ]
      })
  }

  /// Why our own proxy would not take a format; nil when it would.
  private static func mistake(in format: Format) -> LogFormatError? {
    switch format.format {
    case .textFormatSource(let source): mistake(inText: source.inlineString)
    case .jsonFormat(let labels): mistake(inLabels: labels)
    default: nil
    }
  }

  private static func mistake(inText text: String) -> LogFormatError? {
    do throws(LogFormatError) {
      try LogFormat.text(text).deallocate()
      return nil
    } catch { return error }
  }

  private static func mistake(inLabels labels: Google_Protobuf_Struct) -> LogFormatError? {
    do throws(LogFormatError) {
      try LogFormat.json(tree(labels)).deallocate()
      return nil
    } catch { return error }
  }

  private static func tree(_ labels: Google_Protobuf_Struct) -> LogJSON {
    .object(labels.fields.map { ($0.key, tree($0.value)) })
  }

  private static func tree(_ value: Google_Protobuf_Value) -> LogJSON {
    switch value.kind {
    case .stringValue(let text): .string(text)
    case .numberValue(let number): .number(number)
    case .boolValue(let flag): .bool(flag)
    case .structValue(let fields): tree(fields)
    case .listValue(let list): .list(list.values.map(tree))
    case .nullValue, nil: .null
    }
  }

  // MARK: What nobody takes

  /// What is wrong with a format of text whoever reads it; nil when nothing is.
  package static func mistake(_ text: String) -> String? {
    mistake(inText: text).flatMap { $0.isKnownToEnvoy ? nil : $0.description }
  }

  /// What is wrong with a format of labels whoever reads it; nil when nothing is.
  package static func mistake(_ labels: Google_Protobuf_Struct) -> String? {
    mistake(inLabels: labels).flatMap { $0.isKnownToEnvoy ? nil : $0.description }
  }

  /// The same of labels in a text.
  package static func mistakeOfJSON(_ text: String) -> String? {
    guard let labels = try? Google_Protobuf_Struct(jsonString: text) else {
      return "a JSON object is expected"
    }
    return mistake(labels)
  }
}
