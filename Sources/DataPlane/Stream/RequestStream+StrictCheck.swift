import Engine
import HTTPModel
import Routing
import Telemetry

/// A field whose value the router's `strict_check_headers` wants to be right.
struct StrictHeader: BitwiseCopyable {
  private enum Kind: BitwiseCopyable {
    case number
    case retryOn
    case retryGRPCOn
  }

  let name: HeaderName
  private let kind: Kind

  /// Nil for a name that Envoy does not check either; the configuration's validation refuses those.
  init?(_ name: String) {
    switch name.lowercased() {
    case "x-envoy-upstream-rq-timeout-ms", "x-envoy-upstream-rq-per-try-timeout-ms",
      "x-envoy-max-retries":
      kind = .number
    case "x-envoy-retry-on": kind = .retryOn
    case "x-envoy-retry-grpc-on": kind = .retryGRPCOn
    default: return nil
    }
    self.name = HeaderName(name)
  }

  func accepts(_ value: Bytes) -> Bool {
    switch kind {
    case .number: value.decimal.map { $0 <= UInt32.max } ?? false
    case .retryOn: Self.areAll(value, Self.isRetryOn)
    case .retryGRPCOn: Self.areAll(value, Self.isRetryGRPCOn)
    }
  }

  private static func areAll(_ list: Bytes, _ isKnown: (Bytes) -> Bool) -> Bool {
    var start = 0
    while start <= list.count {
      let end = list.firstIndex(of: UInt8(ascii: ","), from: start) ?? list.count
      guard isKnown(list[start, end].trimmed) else { return false }
      start = end + 1
    }
    return true
  }

  private static func isRetryOn(_ name: Bytes) -> Bool {
    name == "5xx" || name == "gateway-error" || name == "reset" || name == "reset-before-request"
      || name == "connect-failure" || name == "envoy-ratelimited" || name == "retriable-4xx"
      || name == "refused-stream" || name == "retriable-status-codes"
      || name == "retriable-headers" || name == "http3-post-connect-failure"
  }

  private static func isRetryGRPCOn(_ name: Bytes) -> Bool {
    name == "cancelled" || name == "deadline-exceeded" || name == "internal"
      || name == "resource-exhausted" || name == "unavailable"
  }
}

extension Ref where Value == RequestStream {
  /// Refuses a request whose x-envoy fields are malformed. Asked before the filters run, because ours
  /// take these fields out; in Envoy the router asks behind them. False when it was answered here.
  func checkStrictly() -> Bool {
    let headers = manager.value.strictHeaders
    for index in 0..<headers.count {
      guard let text = headers[index].name.first(in: value.requestHead),
        !headers[index].accepts(text)
      else { continue }
      worker.value.stats.add(manager.value.stats.value.routedTotal)
      refuse(headers[index].name.text, text)
      return false
    }
    return true
  }

  private func refuse(_ name: Bytes, _ text: Bytes) {
    setDetails(Bytes("request_headers_failed_strict_check{"))
    if let block = value.detailsBlock {
      _ = block.append(name)
      _ = block.append(Bytes("}"))
      value.details = block.bytes()
    }
    let body = loop.state.value.blocks.take(min(name.count + text.count + 64, BlockPool.largest))
    defer { loop.state.value.blocks.release(body) }
    _ = body.append(Bytes("invalid header '"))
    _ = body.append(name)
    _ = body.append(Bytes("' with value '"))
    _ = body.append(text)
    _ = body.append(Bytes("'"))
    var reply = LocalReply(400, "", "", .invalidEnvoyRequestHeaders, closes: true)
    reply.body = body.bytes()
    reply.details = value.details
    replyLocally(reply)
  }
}
