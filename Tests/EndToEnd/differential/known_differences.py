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


KNOWN_DIFFERENCES = [
    Difference(
        cases=r".",
        lines=r"stats http\.@\.downstream_cx_(delayed_close_timeout|destroy_local|destroy_remote): ",
        reason="""A connection that ends with a response is half-closed as soon as the response is
sent, so that the client learns of the end at once; Envoy keeps its side open until
`delayed_close_timeout` is over. A client that closes in answer is counted under
`downstream_cx_destroy_remote` here, and under `downstream_cx_delayed_close_timeout` and
`downstream_cx_destroy_local` there."""),
]
