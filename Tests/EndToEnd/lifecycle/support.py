"""What the tests of a process's life share."""

import json

import pytest

MANAGER = ["static_resources", "listeners", 0, "filter_chains", 0, "filters", 0, "typed_config"]
ROUTE = MANAGER + ["route_config", "virtual_hosts", 0, "routes", 0]


def only_fairlead(kind):
    """Behaviour that is ours, or messages that are ours."""
    if kind == "envoy":
        pytest.skip("Fairlead only")


def changed(document, path, value):
    """A copy of a document with one place changed."""
    copy = json.loads(json.dumps(document))
    place = copy
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return copy
