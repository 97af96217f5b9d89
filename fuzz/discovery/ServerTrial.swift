import ResourceModel
import Resources

@testable import MeshServer
@testable import XDSClient

/// What is served at one time: resources with a content that says when it was made.
func served(_ content: UInt8, without missing: Int, after older: ResourceLayer) -> ResourceLayer {
  var all: [String: [ServedResource]] = [:]
  for type in types {
    all[type.url] = names.enumerated().filter { $0.offset != missing }.map { index, name in
      ServedResource(
        type: type.url, name: name, bytes: [content, UInt8(index)], awaited: [name])
    }
  }
  return ResourceLayer(all, after: older)
}

/// A server's side of one stream that hears whatever the input says.
final class ServerTrial {
  private let isDelta: Bool
  private var state: StreamState
  private var layer = ResourceLayer([:])
  private var nonces: Set<String> = []
  private var lastNonce: [String: String] = [:]

  init(_ variant: DiscoveryVariant) {
    isDelta = variant == .delta
    state = StreamState(isDelta ? .delta : .stateOfTheWorld)
  }

  func run(_ input: Steps) {
    var steps = input
    while let step = steps.next() {
      switch step {
      case UInt8(ascii: "m"):
        guard let request = StreamRequest(steps.message(), isDelta: isDelta) else { return }
        guard take(request) else { return }
      case UInt8(ascii: "q"): guard take(request(&steps)) else { return }
      case UInt8(ascii: "p"):
        layer = served(
          UInt8(steps.number(below: 4)), without: steps.number(below: 4), after: layer)
        check(state.publish(ResourceSet([layer])))
      default: continue
      }
    }
  }

  private func request(_ steps: inout Steps) -> StreamRequest {
    var request = StreamRequest(type: types[steps.number(below: types.count)].url)
    let bits = steps.number(below: 256)
    request.names = names.enumerated().filter { bits >> $0.offset & 1 == 1 }.map(\.element)
    if bits & 8 != 0 { request.names.append("*") }
    if bits & 16 != 0 { request.nonce = lastNonce[request.type] ?? "" }
    if bits & 32 != 0 { request.refusal = "no" }
    if isDelta, bits & 64 != 0 { request.unwanted = [names[0], "*"] }
    if isDelta, bits & 128 != 0 { request.known = [names[1]: "0123456789abcdef"] }
    return request
  }

  /// False when the stream has ended.
  private func take(_ request: StreamRequest) -> Bool {
    do throws(StreamViolation) {
      let (meaning, pushes) = try state.take(request, of: ResourceSet([layer]))
      precondition(meaning != .stale || pushes.isEmpty, "what is stale is not answered")
      check(pushes)
      return true
    } catch {
      sink &+= error.description.utf8.count
      return false
    }
  }

  private func check(_ pushes: [Push]) {
    for push in pushes {
      precondition(nonces.insert(push.nonce).inserted, "a nonce is used once")
      lastNonce[push.type] = push.nonce
      let names = push.resources.map(\.name)
      precondition(Set(names).count == names.count, "a resource is sent once")
      precondition(Set(names).isDisjoint(with: push.removed), "there, or gone")
      precondition(isDelta || push.removed.isEmpty, "who is gone is told to delta streams")
    }
  }
}

extension StreamRequest {
  /// As it travels; nil for what is none.
  init?(_ bytes: [UInt8], isDelta: Bool) {
    if isDelta {
      guard
        let wire = try? Envoy_Service_Discovery_V3_DeltaDiscoveryRequest(serializedBytes: bytes)
      else { return nil }
      self.init(
        type: wire.typeURL, nonce: wire.responseNonce,
        refusal: wire.hasErrorDetail ? wire.errorDetail.message : nil,
        names: wire.resourceNamesSubscribe, unwanted: wire.resourceNamesUnsubscribe,
        known: wire.initialResourceVersions)
    } else {
      guard let wire = try? Envoy_Service_Discovery_V3_DiscoveryRequest(serializedBytes: bytes)
      else { return nil }
      self.init(
        type: wire.typeURL, nonce: wire.responseNonce,
        refusal: wire.hasErrorDetail ? wire.errorDetail.message : nil, names: wire.resourceNames)
    }
  }
}
