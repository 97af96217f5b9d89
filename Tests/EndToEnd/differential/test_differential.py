"""The same configuration and the same requests through Envoy 1.40 and Fairlead.

Every case runs through the real Envoy first and must find there what its name says; then Fairlead
must answer, forward, log and count the same. All selected cases share one process of each proxy.
"""

import pathlib
import re

import pytest

from . import cases  # noqa: F401  (declares them)
from .comparison import differences
from .known_differences import KNOWN_DIFFERENCES
from .model import CASES
from .runner import observe


@pytest.fixture(scope="session")
def observations(request):
    """What both proxies did with every selected case."""
    selected = [
        item.callspec.params["one"] for item in request.session.items
        if "one" in getattr(getattr(item, "callspec", None), "params", {})
    ]
    seen = {"envoy": observe("envoy", selected)}
    if request.config.getoption("--self-check"):
        seen["fairlead"] = observe("envoy", selected)
    elif not request.config.getoption("--envoy-only"):
        seen["fairlead"] = observe("fairlead", selected)
    return seen


@pytest.mark.timeout(300)
@pytest.mark.parametrize("one", CASES, ids=lambda one: f"{one.group}: {one.name}")
def test_case(one, observations):
    """Envoy behaves as the case says, and Fairlead as Envoy does."""
    envoy = observations["envoy"][one.name]
    _check_case(one, envoy)
    if "fairlead" not in observations:
        return
    found = differences(envoy, observations["fairlead"][one.name])
    unexcused = [
        line for line in found
        if not (one.by_chance and re.search(one.by_chance, line))
        and not any([known.excuses(one.name, line) for known in KNOWN_DIFFERENCES])
    ]
    if unexcused:
        pytest.fail("Fairlead differs:\n  " + "\n  ".join(unexcused), pytrace=False)


def _check_case(one, envoy):
    """The case is right: Envoy gives the statuses, bodies, log and statistics that it states."""
    wrong = [envoy.failure] if envoy.failure else []
    for step, seen in zip(one.steps, envoy.responses[-len(one.steps):] if one.steps else []):
        got = seen.get("body" if isinstance(step.expect, str) else "status")
        if got != step.expect:
            wrong.append(f"{step.data[:80]!r}: expected {step.expect!r}, saw {seen}")
    for name, value in one.expect_log.items():
        if not envoy.log or envoy.log[-1][name] != value:
            wrong.append(f"log {name}: expected {value!r}, saw {envoy.log[-1:]}")
    for name, value in one.expect_stats.items():
        if envoy.stats.get(name, 0) != value:
            wrong.append(f"stat {name}: expected {value}, saw {sorted(envoy.stats.items())}")
    if wrong:
        pytest.fail("Envoy itself does otherwise:\n  " + "\n  ".join(wrong), pytrace=False)


def test_every_known_difference_still_exists(request, observations):
    """A difference that is gone leaves the list."""
    if "fairlead" not in observations:
        pytest.skip("Envoy alone")
    names = {
        item.callspec.params["one"].name for item in request.session.items
        if "one" in getattr(getattr(item, "callspec", None), "params", {})
    }
    if len(names) < len(CASES):
        pytest.skip("not every case was selected")
    unused = [known for known in KNOWN_DIFFERENCES if not known.used]
    assert not unused, f"these differences no longer exist: {unused}"


def test_every_known_difference_is_documented():
    """Operators find every difference in the documentation."""
    root = pathlib.Path(__file__).resolve().parents[3]
    page = " ".join((root / "docs" / "envoy-differences.md").read_text().split())
    missing = [k.reason for k in KNOWN_DIFFERENCES if " ".join(k.reason.split()) not in page]
    assert not missing, missing
