"""Connection tracking."""

from __future__ import annotations

import pytest

from collectors.base import Context
from collectors.conntrack import collect
from collectors.model import Cause, Unavailable
from collectors.net_tables import parse_per_cpu

HEAD = "entries  found invalid drop early_drop\n"


def table(*rows):
    return HEAD + "".join(" ".join(f"{n:08x}" for n in row) + "\n" for row in rows)


def host_files(rows, count=77, most=1000):
    folder = "proc/sys/net/netfilter"
    return {
        "proc/net/stat/nf_conntrack": table(*rows),
        f"{folder}/nf_conntrack_count": f"{count}\n",
        f"{folder}/nf_conntrack_max": f"{most}\n",
    }


def test_columns_are_summed_over_cpus_but_entries_are_not():
    assert parse_per_cpu(table((255, 1, 2, 16, 0), (255, 0, 0, 1, 3)).encode()) == {
        "entries": 255, "found": 1, "invalid": 2, "drop": 17, "early_drop": 3,
    }  # fmt: skip


def test_losses_are_increases_in_the_window(host):
    before, after = [(5, 0, 0, 9, 1), (5, 0, 0, 0, 0)], [(6, 0, 0, 9, 1), (6, 0, 0, 4, 0)]
    sample = collect(host(host_files(before), {}, host_files(after)))
    assert sample.increases == {"found": 0, "invalid": 0, "drop": 4, "early_drop": 0}
    assert sample.totals["drop"] == 13
    assert (sample.count, sample.max) == (6, 1000)


def test_without_the_statistics_the_count_is_still_told(host):
    sample = collect(host({**host_files([]), "proc/net/stat/nf_conntrack": None}, {}))
    assert (sample.count, sample.max, sample.increases) == (77, 1000, {})


def test_the_count_of_another_namespace_is_not_taken_for_the_hosts(host):
    files = {**host_files([]), "proc/net/stat/nf_conntrack": None, "proc/1/net/dev": ""}
    assert collect(host(files, {})).count is None
    files["proc/1/net/stat/nf_conntrack"] = table((3, 0, 0, 0, 0))
    assert collect(host(files, {})).count == 3


def test_a_host_that_tracks_nothing_lacks_nothing(host):
    with pytest.raises(Unavailable) as answer:
        collect(host({"proc/net/dev": ""}))
    assert answer.value.cause is Cause.ABSENT


@pytest.mark.parametrize("row", ["1 2 3", "1 2 3 4 5 6", "1 2 3 4 zz", "1 2 3 4 -1", "1 2 3 4 0x1"])
def test_a_row_that_does_not_fit_is_refused(row):
    with pytest.raises(ValueError, match="not"):
        parse_per_cpu(f"{HEAD}{row}\n".encode())


def test_this_hosts_table_is_within_its_limit():
    try:
        sample = collect(Context(duration=0.0))
    except Unavailable as answer:
        pytest.skip(str(answer))
    assert 0 <= sample.count <= sample.max
    assert sample.totals["drop"] >= 0
