"""Where Fairlead differs from Envoy 1.40 on purpose.

Each entry excuses difference lines (see `comparison.py`) of the cases it names. An entry that
excuses nothing fails the suite, and each reason stands in docs/envoy-differences.md.
"""

import re
from dataclasses import dataclass


@dataclass
class Difference:
    """One known difference: whose cases, which lines, and why."""

    cases: str
    lines: str
    reason: str
    used: bool = False

    def excuses(self, case_name, line):
        """Whether this entry covers a difference line of a case."""
        if re.search(self.cases, case_name) and re.search(self.lines, line):
            self.used = True
            return True
        return False


KNOWN_DIFFERENCES = []
