import Engine
import ResourceModel
import Resources
import SwiftProtobuf

// What a server has sent, taken apart and handed to those whom it concerns.
extension XDSClient {
  /// What became of an answer.
  struct Outcome {
    /// A sentence for each thing that is refused.
    var reasons: [String] = []
    /// Versions of what was taken over, by name.
    var inForce: [String: String] = [:]
  }

  /// Hands an answer to those whom it concerns.
  func deliver(_ answer: DiscoveryAnswer, _ type: ResourceType) -> Outcome {
    let (resources, problems) = read(answer, type)
    guard problems.isEmpty else {
      // What cannot be read might be anything: nothing is taken for gone because of it.
      for watcher in (watches[type] ?? WatchList()).everybody { watcher.refused(problems) }
      return Outcome(reasons: problems)
    }
    let heartbeats = answer.entries.filter { $0.resource == nil }
    for beat in heartbeats {
      expiry.renew(
        .init(type: type, name: beat.name), timeToLive: beat.timeToLive, now: milliseconds)
    }
    defer { armExpiry() }
    // Nothing but heartbeats is no news.
    guard heartbeats.isEmpty || !resources.isEmpty || !answer.removed.isEmpty else {
      return Outcome()
    }
    let refusals = tell(answer, type, resources, kept: Set(heartbeats.map(\.name)))
    let refused = Set(refusals.map(\.name))
    var outcome = Outcome(reasons: refusals.map(\.description))
    let sent = answer.entries.filter { $0.resource != nil }
    for (entry, resource) in zip(sent, resources) where !refused.contains(resource.name) {
      outcome.inForce[resource.name] = entry.version
      expiry.note(
        .init(type: type, name: resource.name), timeToLive: entry.timeToLive, now: milliseconds)
      keep(entry, resource, type, answer.version)
    }
    for name in answer.removed {
      expiry.forget(.init(type: type, name: name))
      cache?.remove(type, name)
    }
    if variant == .delta, type.isAskedForWhole, cache != nil {
      announced[type, default: []].formUnion(answer.entries.map(\.name))
      announced[type]?.subtract(answer.removed)
    }
    let wantsAll = watches[type]?.wildcardIDs.isEmpty == false
    if variant == .stateOfTheWorld, type.isAskedForWhole, wantsAll {
      cache?.keepOnly(type, answer.entries.map(\.name) + resources.map(\.name))
    }
    return outcome
  }

  private func keep(
    _ entry: DiscoveryAnswer.Entry, _ resource: DiscoveredResource, _ type: ResourceType,
    _ version: String
  ) {
    // What ends by itself is not what somebody would want to find later.
    guard let cache, let message = entry.resource else { return }
    guard entry.timeToLive == nil else { return cache.remove(type, resource.name) }
    cache.store(
      type, resource.name, version: entry.version.isEmpty ? version : entry.version,
      Array(message.value))
  }

  private func tell(
    _ answer: DiscoveryAnswer, _ type: ResourceType, _ resources: [DiscoveredResource],
    kept: Set<String>
  ) -> [Refusal] {
    let whole = DiscoveredSet(
      version: answer.version, resources: resources,
      removed: variant == .delta ? answer.removed : nil, kept: kept)
    var refusals = tellAll(type, whole)
    let byName = Dictionary(grouping: resources, by: \.name)
    var told: Set<String> = []
    // What an answer says nothing of stays as it is.
    for name in resources.map(\.name) + answer.removed where told.insert(name).inserted {
      refusals += tell(
        type, name, DiscoveredSet(version: answer.version, resources: byName[name] ?? []))
    }
    return refusals
  }

  /// Tells those who want everything of a kind.
  func tellAll(_ type: ResourceType, _ set: DiscoveredSet) -> [Refusal] {
    var refusals: [Refusal] = []
    for id in watches[type]?.wildcardIDs ?? [] {
      watches[type]?.noteTold(id)
      refusals += watches[type]?.watcher(id, named: nil)?.update(set) ?? []
    }
    return refusals
  }

  /// Tells those who want one resource.
  func tell(_ type: ResourceType, _ name: String, _ set: DiscoveredSet) -> [Refusal] {
    var refusals: [Refusal] = []
    for id in watches[type]?.ids(named: name) ?? [] {
      watches[type]?.noteTold(id)
      refusals += watches[type]?.watcher(id, named: name)?.update(set) ?? []
    }
    if refusals.isEmpty { watches[type]?.note(set, named: name) }
    return refusals
  }

  /// Takes an answer apart. The problems are those that put the whole of it in doubt.
  private func read(
    _ answer: DiscoveryAnswer, _ type: ResourceType
  ) -> (resources: [DiscoveredResource], problems: [String]) {
    var problems: [String] = []
    var resources: [DiscoveredResource] = []
    for entry in answer.entries {
      guard let message = entry.resource else { continue }
      guard message.typeURL == type.url else {
        problems.append("expected '\(type.url)', found '\(message.typeURL)'")
        continue
      }
      do throws(DiscoveryMessage.UnknownType) {
        let resource = try DiscoveryMessage.read(
          typeURL: type.url, value: Array(message.value), origin: "xDS")
        if resource.name.isEmpty {
          problems += ["a resource without a name"] + resource.problems
        } else if variant == .delta || !entry.name.isEmpty, entry.name != resource.name {
          problems.append("'\(resource.name)' is announced as '\(entry.name)'")
        }
        resources.append(resource)
      } catch {
        problems.append(error.description)
      }
    }
    return (resources, problems)
  }
}

extension ResourceType {
  /// Of these kinds an answer in the state of the world holds all there is.
  var isAskedForWhole: Bool { self == .clusters || self == .listeners }
}
