import CFilterABI
import FilterSDK

/// The door's other side for tests: an implementation of `fl_host` over dictionaries, whose time
/// and chances the test chooses.
enum FakeHost {
  /// One table for all tests, as there is one for a process: what differs hangs on the streams.
  private static let adopted: Bool = {
    let table = UnsafeMutablePointer<fl_host>.allocate(capacity: 1)
    table.initialize(to: fl_host())
    table.pointee.abi_major = FL_ABI_MAJOR
    table.pointee.abi_minor = FL_ABI_MINOR
    table.pointee.size = MemoryLayout<fl_host>.size
    addNodes(to: table)
    addDefinitions(to: table)
    addFields(to: table)
    addChain(to: table)
    addRoute(to: table)
    addFacts(to: table)
    return Host.adopt(table)
  }()

  static func adopt() { precondition(adopted, "the SDK refuses its own ABI") }

  private static func addNodes(to table: UnsafeMutablePointer<fl_host>) {
    table.pointee.node_kind = { FakeConfig.at($0).node($1).kind }
    table.pointee.node_field = { config, node, name in
      let config = FakeConfig.at(config)
      return config.node(node)[name.string].map(config.add) ?? 0
    }
    table.pointee.node_count = { FakeConfig.at($0).node($1).items.count }
    table.pointee.node_item = { config, node, index in
      let config = FakeConfig.at(config)
      return config.add(config.node(node).items[index])
    }
    table.pointee.node_key = { config, node, index in
      let config = FakeConfig.at(config)
      guard case .map(let entries) = config.node(node) else { return fl_bytes() }
      return config.lender.lend(entries[index].0)
    }
    table.pointee.node_bool = { config, node in
      if case .bool(let value) = FakeConfig.at(config).node(node) { value } else { false }
    }
    table.pointee.node_number = { FakeConfig.at($0).node($1).double ?? 0 }
    table.pointee.node_string = { config, node in
      let config = FakeConfig.at(config)
      return config.lender.lend(config.node(node).text ?? "")
    }
    table.pointee.node_duration_ns = { config, node in
      if case .milliseconds(let value) = FakeConfig.at(config).node(node) {
        value * 1_000_000
      } else {
        0
      }
    }
    table.pointee.node_type = { config, node in
      let config = FakeConfig.at(config)
      guard case .message(_, let type) = config.node(node) else { return fl_bytes() }
      return config.lender.lend(type)
    }
    table.pointee.node_error = { FakeConfig.at($0).report($2.string) }
  }

  private static func addDefinitions(to table: UnsafeMutablePointer<fl_host>) {
    table.pointee.define_counter = { FakeConfig.at($0).define($2.string, in: $1) }
    table.pointee.define_gauge = { FakeConfig.at($0).define($2.string, in: $1) }
    table.pointee.define_histogram = { FakeConfig.at($0).define($2.string, in: $1) }
    table.pointee.define_runtime = { FakeConfig.at($0).define(runtime: $1.string, $2) }
    table.pointee.load_retry_policy = { config, node in
      let config = FakeConfig.at(config)
      return config.policy(config.node(node))
    }
    table.pointee.load_header_matchers = { config, node in
      let config = FakeConfig.at(config)
      return config.compile(config.node(node))
    }
    table.pointee.load_header_mutations = { config, node in
      let config = FakeConfig.at(config)
      return config.compile(config.node(node))
    }
    table.pointee.load_field_names = { config, names, count in
      FakeConfig.at(config).fieldNames((0..<count).map { names![$0].string })
    }
    table.pointee.load_access_rules = { config, node in
      let config = FakeConfig.at(config)
      return config.accessRules(config.node(node))
    }
    table.pointee.access_policy = { rules, index, name in
      let rules = FakeRules.at(rules)
      guard index < rules.names.count else { return false }
      name!.pointee = rules.lender.lend(rules.names[index])
      return true
    }
    table.pointee.access_match = { stream, rules in
      let path = FakeStream.at(stream)[FL_REQUEST_HEAD, ":path"]
      return FakeRules.at(rules).names.firstIndex { path == "/\($0)" } ?? Int(bitPattern: UInt.max)
    }
    table.pointee.filter_table = { FakeConfig.at($0).table }
  }

  private static func addFields(to table: UnsafeMutablePointer<fl_host>) {
    table.pointee.field_get = { stream, part, name, value in
      let stream = FakeStream.at(stream)
      guard let found = stream[part, name.string] else { return false }
      value!.pointee = stream.lender.lend(found)
      return true
    }
    table.pointee.field_at = { stream, part, position, field in
      let stream = FakeStream.at(stream)
      guard let all = stream.fields[part.rawValue], position!.pointee < all.count else {
        return false
      }
      let found = all[position!.pointee]
      field!.pointee = fl_field(
        name: stream.lender.lend(found.name), value: stream.lender.lend(found.value))
      return true
    }
    table.pointee.field_set = { FakeStream.at($0).set($1, $2.string, $3.string) }
    table.pointee.field_add = { FakeStream.at($0).add($1, $2.string, $3.string) }
    table.pointee.field_remove = { FakeStream.at($0).remove($1, $2.string) }
    table.pointee.fields_any = { stream, part, names in
      let names = Unmanaged<FakeNames>.fromOpaque(names!).takeUnretainedValue()
      let stream = FakeStream.at(stream)
      return names.names.contains { stream[part, $0] != nil }
    }
    table.pointee.headers_match = { stream, part, matchers in
      let matchers = Unmanaged<Compiled>.fromOpaque(matchers!).takeUnretainedValue()
      return FakeStream.at(stream).matches(part, matchers)
    }
    table.pointee.headers_mutate = { stream, part, mutations in
      let mutations = Unmanaged<Compiled>.fromOpaque(mutations!).takeUnretainedValue()
      FakeStream.at(stream).apply(part, mutations)
    }
  }

  private static func addChain(to table: UnsafeMutablePointer<fl_host>) {
    table.pointee.set_buffer_limit = { FakeStream.at($0).record(bufferLimit: $1) }
    table.pointee.body_replace = { FakeStream.at($0).record(replacement: $1) }
    table.pointee.body_append = { FakeStream.at($0).record(appended: $1) }
    table.pointee.reply = { FakeStream.at($0).record($1!.pointee) }
    table.pointee.resume_request = { FakeStream.at($0).resumeRequest() }
    table.pointee.resume_response = { FakeStream.at($0).resumeResponse() }
    table.pointee.reset = { FakeStream.at($0).record(reset: $1.string) }
    table.pointee.leave = { FakeStream.at($0).recordLeaving() }
    table.pointee.retain_body = { FakeStream.at($0).record(retain: $1) }
    table.pointee.attempt = { $1!.pointee = FakeStream.at($0).attempt }
    table.pointee.replay_after = { FakeStream.at($0).record(replayAfter: $1) }
    table.pointee.fail_attempt = { FakeStream.at($0).record($1) }
    table.pointee.admit_retry = { FakeStream.at($0).admitsRetries }
    table.pointee.avoid_previous_hosts = { FakeStream.at($0).record(avoid: $1) }
  }

  private static func addRoute(to table: UnsafeMutablePointer<fl_host>) {
    table.pointee.route_config = { UnsafeRawPointer(FakeStream.at($0).rig.routeConfigs.first) }
    table.pointee.route_config_at = { stream, index in
      let configs = FakeStream.at(stream).rig.routeConfigs
      return index < configs.count ? UnsafeRawPointer(configs[index]) : nil
    }
    table.pointee.mark_health_check = { FakeStream.at($0).markHealthCheck() }
    table.pointee.route_timeouts = { FakeStream.at($0).currentTimeouts() }
    table.pointee.route_retry_policy = { FakeStream.at($0).retryPolicy?.pointer }
    table.pointee.cluster_health = { stream, name, total, healthy, degraded in
      guard let cluster = FakeStream.at(stream).clusters[name.string] else { return false }
      total!.pointee = cluster.total
      healthy!.pointee = cluster.healthy
      degraded!.pointee = cluster.degraded
      return true
    }
  }

  private static func addFacts(to table: UnsafeMutablePointer<fl_host>) {
    table.pointee.timer_start = { FakeStream.at($0).startTimer($1, $2) }
    table.pointee.timer_cancel = { FakeStream.at($0).cancelTimer($1) }
    table.pointee.number = { FakeStream.at($0).number($1) }
    table.pointee.text = { stream, which, value in
      let stream = FakeStream.at(stream)
      guard let found = stream.texts[which.rawValue] else { return false }
      value!.pointee = stream.lender.lend(found)
      return true
    }
    table.pointee.connection_number = { FakeStream.at($0).connection?.number($1) }
    table.pointee.peer = { FakeStream.at($0).peer }
    table.pointee.peer_name = { stream, kind, index, value in
      let stream = FakeStream.at(stream)
      guard let names = stream.peerNames[kind.rawValue], names.indices.contains(index) else {
        return false
      }
      value!.pointee = stream.lender.lend(names[index])
      return true
    }
    table.pointee.set_flag = { FakeStream.at($0).record($1) }
    table.pointee.runtime = { FakeStream.at($0).rig.runtimeValue($1) }
    table.pointee.metadata_set = { stream, nameSpace, key, value in
      FakeStream.at(stream).metadata["\(nameSpace.string):\(key.string)"] = value.string
    }
    table.pointee.metadata_set_flag = { stream, nameSpace, key, flag in
      FakeStream.at(stream).metadata["\(nameSpace.string):\(key.string)"] = "\(flag)"
    }
    table.pointee.metadata_get = { stream, nameSpace, key, value in
      let stream = FakeStream.at(stream)
      guard let found = stream.metadata["\(nameSpace.string):\(key.string)"] else { return false }
      value!.pointee = stream.lender.lend(found)
      return true
    }
    table.pointee.counter_add = { FakeStream.at($0).rig.add(Int64($2), to: $1) }
    table.pointee.gauge_add = { FakeStream.at($0).rig.add($2, to: $1) }
    table.pointee.cluster_counter_add = { FakeStream.at($0).record($1, $2) }
    table.pointee.cluster_counter_named = { FakeStream.at($0).record($2, named: $1.string) }
    table.pointee.cluster_histogram_named = { FakeStream.at($0).record($2, named: $1.string) }
  }
}
