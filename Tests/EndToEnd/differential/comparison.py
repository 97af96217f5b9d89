"""What differs between two observations of a case, one line for each difference."""

import re

# Statistics that depend on time or on how bytes happened to be cut, not on behaviour.
_IGNORED_STATS = re.compile(
    r"_bytes_(total|buffered)$|_flow_control_|_bytes_.*_buffered$|\.update_|^listener_manager"
    r"|worker_\d+"
    r"|\.(lb_recalculate_zone_structures|version|warming_state|max_host_weight)$"
    r"|\.(assignment_|bind_errors|original_dst)|\.init_fetch")


def differences(envoy, fairlead):
    """Lines that say where Fairlead is not Envoy."""
    found = []
    if fairlead.failure != envoy.failure:
        found.append(f"run: envoy {envoy.failure!r}, fairlead {fairlead.failure!r}")
        if fairlead.failure and fairlead.failure.startswith("configuration refused"):
            return found
    _walk("response", envoy.responses, fairlead.responses, found)
    _walk("upstream", envoy.upstreams, fairlead.upstreams, found)
    _walk("note", envoy.notes, fairlead.notes, found)
    _walk("log", envoy.log, fairlead.log, found)
    announced = sum("ends after close" in response for response in envoy.responses)
    expected = _settle_delayed_closes(envoy.stats, fairlead.stats, announced)
    for name in sorted(set(expected) | set(fairlead.stats)):
        theirs, ours = expected.get(name, 0), fairlead.stats.get(name, 0)
        if theirs != ours and not _IGNORED_STATS.search(name):
            found.append(f"stats {name}: envoy {theirs}, fairlead {ours}")
    return found


def _settle_delayed_closes(theirs, ours, announced):
    """What Envoy would have counted had it not waited with closing (`DELAYED_CLOSE` of
    known_differences.py): as many connections as it closed by its timeout and we did not were closed
    by their clients. Only connections whose end a response has announced can be among them, and
    nothing else is excused: the sum of both kinds must agree."""
    settled = dict(theirs)
    scope = "http.@.downstream_cx_"
    late = settled.get(scope + "delayed_close_timeout", 0) - ours.get(
        scope + "delayed_close_timeout", 0)
    by_us = settled.get(scope + "destroy_local", 0)
    moved = min(max(late, 0), by_us, announced)
    settled[scope + "delayed_close_timeout"] = settled.get(
        scope + "delayed_close_timeout", 0) - moved
    settled[scope + "destroy_local"] = by_us - moved
    settled[scope + "destroy_remote"] = settled.get(scope + "destroy_remote", 0) + moved
    return settled


def _walk(where, theirs, ours, found):
    if theirs == ours:
        return
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key in sorted(set(theirs) | set(ours)):
            _walk(f"{where} {key}", theirs.get(key), ours.get(key), found)
    elif isinstance(theirs, list) and isinstance(ours, list):
        if where.endswith("headers") or where == "note":
            found += [f"{where}: only envoy: {line}" for line in _without(theirs, ours)]
            found += [f"{where}: only fairlead: {line}" for line in _without(ours, theirs)]
            if sorted(theirs) == sorted(ours):
                found.append(f"{where}: order: envoy {theirs}, fairlead {ours}")
        elif len(theirs) != len(ours):
            found.append(f"{where}: envoy has {len(theirs)}, fairlead {len(ours)}")
        else:
            for index, pair in enumerate(zip(theirs, ours)):
                _walk(f"{where}[{index}]", *pair, found)
    else:
        found.append(f"{where}: envoy {theirs!r}, fairlead {ours!r}")


def _without(lines, others):
    others = list(others)
    rest = []
    for line in lines:
        if line in others:
            others.remove(line)
        else:
            rest.append(line)
    return rest
