"""Which tests may run side by side, and in what order they start.

- `default`: served by the chart's operator, which serves the whole cluster; side by side.
- `own_operator`: they start operators of their own for their namespace; side by side, while the chart's operator is
  away.
- `alone`: they stop parts of the cluster, change what all tests share, measure time or need all processors; one after
  the other.
"""

DEFAULT, OWN_OPERATOR, ALONE = GROUPS = ("default", "own_operator", "alone")
LAST = "last"  # a marker of tests that are `alone`
# Fixtures that are for tests of some groups only. What a test asks for by name elsewhere (`getfixturevalue`) is not
# seen here.
ONLY = {
    "no_release": {OWN_OPERATOR, ALONE},  # `start_operator` brings it
    "operator": {DEFAULT, ALONE},
    "release": {DEFAULT, ALONE},
    "changed_release": {ALONE},
    "control_plane": {ALONE},
}


def group_of(item, process=False):
    """The group of a test. With `--process`, a test that uses the chart's operator runs alone."""
    if item.get_closest_marker(ALONE) or (process and "release" in item.fixturenames):
        return ALONE
    return OWN_OPERATOR if item.get_closest_marker(OWN_OPERATOR) else DEFAULT


def misplaced(item, process=False):
    """What is wrong with the test's group, as sentences."""
    group = group_of(item, process)
    for fixture, allowed in ONLY.items():
        if fixture in item.fixturenames and group not in allowed:
            groups = " and ".join(sorted(allowed))
            yield f"{item.nodeid} uses {fixture}, which is for {groups}: mark it so (it is in {group})"


def seconds(item):
    """About how long it takes, where that is long."""
    marker = item.get_closest_marker("takes")
    return marker.args[0] if marker else 0


def arranged(items, process=False):
    """Group by group, the longest first, each of those followed by a quick one.

    A worker of pytest-xdist holds its next test while one runs, and no other worker can have that. So nothing long
    may wait behind something long.
    """
    result = []
    for group in GROUPS:
        members = [item for item in items if group_of(item, process) == group]
        long = sorted((item for item in members if seconds(item)), key=seconds, reverse=True)
        quick = [item for item in members if "namespace" not in item.fixturenames and item not in long]
        rest = [item for item in members if item not in long and item not in quick]
        ordered = []
        for item in long:
            ordered += [item, *quick[:1]]
            quick = quick[1:]
        ordered += rest + quick
        if group == ALONE:  # the group before it leaves the chart's operator away
            ordered.sort(key=lambda item: "no_release" not in item.fixturenames)
            ordered.sort(key=lambda item: bool(item.get_closest_marker(LAST)))
        result += ordered
    return result
