/// A table of text: columns as wide as their widest cell, and spaces between them.
package struct TextTable {
  /// Spaces between columns.
  private static let gap = 5

  private var rows: [[String]]

  /// - Parameter columns: the names, in the first line.
  package init(_ columns: String...) { self.init(columns: columns) }

  package init(columns: [String]) { rows = [columns] }

  package mutating func append(_ cells: String...) { rows.append(cells) }

  package mutating func append(_ cells: [String]) { rows.append(cells) }

  /// Whether it has nothing but names of columns.
  package var isEmpty: Bool { rows.count < 2 }

  /// Every row on a line, the first with the names.
  package var text: String {
    var widths: [Int] = []
    for row in rows {
      for (index, cell) in row.enumerated() {
        if index == widths.count { widths.append(0) }
        widths[index] = max(widths[index], cell.count)
      }
    }
    return rows.map { row in
      let cells = row.enumerated().map { index, cell in
        // Nothing follows the last cell: no spaces at a line's end.
        index == row.count - 1
          ? cell : cell + String(repeating: " ", count: widths[index] + Self.gap - cell.count)
      }
      return trimmed(cells.joined()) + "\n"
    }.joined()
  }

  private func trimmed(_ line: String) -> Substring {
    var line = Substring(line)
    while line.hasSuffix(" ") { line.removeLast() }
    return line
  }
}
