/// Where in a configuration something stands: `static_resources.listeners[0].filter_chains[0]`.
///
/// Compilers that walk generated messages build one as they go and need no more than its name;
/// `Diagnostics` finds the line and column. The content of an `Any` is reached through the field
/// that holds it: `…filters[0].typed_config.stat_prefix`. Fields go by their protobuf names.
package indirect enum ConfigPath: Sendable, Hashable {
  case root
  case field(ConfigPath, String)
  case index(ConfigPath, Int)
  case key(ConfigPath, String)

  /// The path of a field of the message at this path.
  package func field(_ name: String) -> ConfigPath { .field(self, name) }

  /// The path of an item of the list at this path.
  package func index(_ position: Int) -> ConfigPath { .index(self, position) }

  /// The path of an entry of the map at this path.
  package func key(_ key: String) -> ConfigPath { .key(self, key) }

  /// The path of what another leads to from here.
  package func appending(_ other: ConfigPath) -> ConfigPath {
    other.steps.reduce(self) { path, step in
      switch step {
      case .root: path
      case .field(_, let name): path.field(name)
      case .index(_, let position): path.index(position)
      case .key(_, let key): path.key(key)
      }
    }
  }

  /// The path this one extends.
  package var parent: ConfigPath? {
    switch self {
    case .root: nil
    case .field(let parent, _), .index(let parent, _), .key(let parent, _): parent
    }
  }

  /// The steps from the root.
  var steps: [ConfigPath] {
    var steps: [ConfigPath] = []
    var at = self
    while let parent = at.parent {
      steps.append(at)
      at = parent
    }
    return steps.reversed()
  }
}

extension ConfigPath: CustomStringConvertible {
  package var description: String {
    var text = ""
    for step in steps {
      switch step {
      case .root: break
      case .field(_, let name): text += text.isEmpty ? name : "." + name
      case .index(_, let position): text += "[\(position)]"
      case .key(_, let key): text += "[\"\(key)\"]"
      }
    }
    return text
  }
}
