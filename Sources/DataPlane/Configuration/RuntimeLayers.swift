import ResourceModel
import Routing
import SwiftProtobuf

/// The static layers of the runtime, merged: a later layer wins.
struct RuntimeLayers {
  private(set) var numbers: [String: Double] = [:]
  private(set) var fractions: [String: Envoy_Type_V3_FractionalPercent] = [:]
  /// Every key with its value in each layer, as `/runtime` shows them.
  private(set) var texts: [String: [String]] = [:]
  let layerNames: [String]

  init(_ message: Envoy_Config_Bootstrap_V3_LayeredRuntime) {
    layerNames = message.layers.map(\.name)
    for (index, layer) in message.layers.enumerated() {
      merge(layer.staticLayer, prefix: "", layer: index)
    }
  }

  private mutating func merge(_ object: Google_Protobuf_Struct, prefix: String, layer: Int) {
    for (key, value) in object.fields {
      let name = prefix.isEmpty ? key : "\(prefix).\(key)"
      switch value.kind {
      case .structValue(let inner):
        guard let fraction = Self.fraction(inner) else {
          merge(inner, prefix: name, layer: layer)
          continue
        }
        fractions[name] = fraction
        numbers[name] = Double(fraction.numerator) * Self.percent(fraction.denominator)
        note(name, layer, "\(numbers[name] ?? 0)%")
      case .numberValue(let number):
        numbers[name] = number
        fractions[name] = nil
        note(name, layer, number == number.rounded() ? "\(Int64(number))" : "\(number)")
      case .boolValue(let flag):
        numbers[name] = flag ? 1 : 0
        note(name, layer, "\(flag)")
      case .stringValue(let text):
        numbers[name] = Double(text)
        note(name, layer, text)
      default: break
      }
    }
  }

  private mutating func note(_ key: String, _ layer: Int, _ text: String) {
    texts[key, default: Array(repeating: "", count: layerNames.count)][layer] = text
  }

  private static func fraction(
    _ object: Google_Protobuf_Struct
  ) -> Envoy_Type_V3_FractionalPercent? {
    guard case .numberValue(let numerator) = object.fields["numerator"]?.kind,
      object.fields.count <= 2
    else { return nil }
    var fraction = Envoy_Type_V3_FractionalPercent()
    fraction.numerator = UInt32(max(0, min(numerator, 4_294_967_295)))
    if case .stringValue(let name) = object.fields["denominator"]?.kind {
      fraction.denominator =
        name == "MILLION" ? .million : name == "TEN_THOUSAND" ? .tenThousand : .hundred
    }
    return fraction
  }

  private static func percent(
    _ denominator: Envoy_Type_V3_FractionalPercent.DenominatorType
  ) -> Double {
    switch denominator {
    case .tenThousand: 0.01
    case .million: 0.0001
    default: 1
    }
  }

  /// What those who compile tables ask.
  var snapshot: RuntimeSnapshot {
    let fractions = self.fractions
    let numbers = self.numbers
    return RuntimeSnapshot(
      fraction: { key in
        if let fraction = fractions[key] { return fraction }
        // A plain number is a percentage.
        guard let number = numbers[key], number >= 0, number <= 100 else { return nil }
        var fraction = Envoy_Type_V3_FractionalPercent()
        fraction.numerator = UInt32(number)
        return fraction
      },
      integer: { key in numbers[key].flatMap { $0 >= 0 && $0 < 1e18 ? UInt64($0) : nil } })
  }
}
