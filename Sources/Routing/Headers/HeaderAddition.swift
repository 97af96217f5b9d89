import Engine
import HTTPModel
import ResourceModel
import Resources
import Telemetry

/// A field that a list adds: a compiled `envoy.config.core.v3.HeaderValueOption`.
struct HeaderAddition: BitwiseCopyable {
  /// What happens when the field is there already, or is not.
  enum Action: BitwiseCopyable {
    case appendOrAdd
    case addIfAbsent
    case overwriteOrAdd
    case overwriteIfPresent
  }

  let name: HeaderName
  let value: HeaderTemplate
  /// The whole field, when its value is always the same.
  let line: FieldLine?
  private let action: Action
  private let keepsEmptyValue: Bool
  /// A second value joins the first, with a comma, instead of becoming a field of its own.
  private let joins: Bool

  /// Compiles `message`; nil, and a diagnostic, when that is not possible.
  init?(
    _ message: Envoy_Config_Core_V3_HeaderValueOption, of part: HeadPart, at path: ConfigPath,
    _ diagnostics: Diagnostics
  ) {
    name = HeaderName(message.header.key)
    let valuePath = path.field("header").field("value")
    guard let value = HeaderTemplate(message.header.value, at: valuePath, diagnostics) else {
      return nil
    }
    self.value = value
    line = value.literal.flatMap { [name] in .configured(name.text, id: name.id, $0) }
    keepsEmptyValue = message.keepEmptyValue
    joins = Self.joinsValues(name, of: part)
    action =
      if message.hasAppend {
        message.append.value ? .appendOrAdd : .overwriteOrAdd
      } else {
        switch message.appendAction {
        case .addIfAbsent: .addIfAbsent
        case .overwriteIfExistsOrAdd: .overwriteOrAdd
        case .overwriteIfExists: .overwriteIfPresent
        case .appendIfExistsOrAdd, .UNRECOGNIZED: .appendOrAdd
        }
      }
  }

  /// What to do with a value, seeing the head as it was before its list.
  enum Plan: UInt8 {
    case leave
    case overwrite
    case add
  }

  /// Decides for one head.
  func plan(for headers: borrowing HeaderMap, isEmpty: Bool) -> Plan {
    if isEmpty, !keepsEmptyValue { return .leave }
    switch action {
    case .appendOrAdd: return .add
    case .overwriteOrAdd: return .overwrite
    case .addIfAbsent: return headers.find(name.text, id: name.id) == nil ? .add : .leave
    case .overwriteIfPresent:
      return headers.find(name.text, id: name.id) == nil ? .leave : .overwrite
    }
  }

  /// Decides and does it, for a value that is always the same.
  func carryOut(_ line: FieldLine, on headers: inout HeaderMap, pool: inout BlockPool) {
    switch plan(for: headers, isEmpty: line.value.isEmpty) {
    case .leave: break
    case .overwrite: headers.set(line, from: &pool)
    case .add where joins && name.id != .other:
      headers.append(name.id, separator: ",", line.value, from: &pool)
    case .add: headers.add(line, from: &pool)
    }
  }

  /// Does what was decided.
  func carryOut(
    _ plan: Plan, _ value: Bytes, on headers: inout HeaderMap, pool: inout BlockPool
  ) {
    switch plan {
    case .leave: break
    case .overwrite: headers.set(name.text, id: name.id, value, from: &pool)
    case .add where joins && name.id != .other:
      headers.append(name.id, separator: ",", value, from: &pool)
    case .add: headers.add(name.text, id: name.id, value, from: &pool)
    }
  }

  /// Fields of which Envoy keeps one each, observed in 1.40. The others are repeated.
  private static func joinsValues(_ name: HeaderName, of part: HeadPart) -> Bool {
    switch part {
    case .request, .requestTrailers: name.id != .other && !repeatedInRequests.contains(name.id)
    case .response, .responseTrailers: joinedInResponses.contains(name.id)
    }
  }

  private static let repeatedInRequests: [HeaderID] = [
    .server, .date, .cookie, .location, .grpcStatus, .grpcMessage, .retryAfter, .acceptLanguage,
    .envoyServiceTime, .envoyOverloaded, .envoyRateLimited, .envoyImmediateHealthCheckFail,
    .envoyDegraded, .envoyCanary, .envoyHealthCheckedCluster, .envoyOriginalDstHost,
    .envoyFaultAbort, .envoyFaultDelay,
  ]

  private static let joinedInResponses: [HeaderID] = [
    .connection, .contentLength, .contentType, .xRequestID, .server, .date, .via, .location,
    .grpcStatus, .grpcMessage, .cacheControl, .envoyAttemptCount, .envoyServiceTime,
    .envoyRateLimited, .envoyImmediateHealthCheckFail, .envoyDecorator, .envoyDegraded,
    .envoyCanary, .envoyHealthCheckedCluster,
  ]
}
