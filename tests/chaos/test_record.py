"""What a series reports: never is worse than late, and a broken law is never hidden."""

from __future__ import annotations

import json
from dataclasses import replace

from azr.chaos.faults import Kind
from azr.chaos.record import FaultRecord, Record


def fault(
    number: int,
    kind: Kind,
    go_on_seconds: float | None,
    *,
    whole_seconds: float | None = 30.0,
    broken: tuple[str, ...] = (),
) -> FaultRecord:
    return FaultRecord(
        number=number,
        kind=kind,
        victim="somebody",
        at=0.0,
        go_on_seconds=go_on_seconds,
        whole_seconds=whole_seconds,
        broken=broken,
    )


def record(*faults: FaultRecord) -> Record:
    return Record(
        command="azr chaos",
        machine="2 cores",
        nodes=2,
        seed=0,
        kinds=(Kind.NODE, Kind.JAIL),
        left_out={Kind.NETWORK: "there is no ip"},
        faults=list(faults),
    )


def test_a_series_is_sound_if_every_fault_was_survived():
    assert record(fault(1, Kind.NODE, 5.0), fault(2, Kind.JAIL, 99.0)).is_sound
    assert not record(fault(1, Kind.NODE, None)).is_sound
    assert not record(fault(1, Kind.NODE, 5.0, whole_seconds=None)).is_sound
    assert not record(fault(1, Kind.NODE, 5.0, broken=("no row is lost",))).is_sound


def test_the_table_has_medians_and_the_worst_of_each_kind():
    faults = [fault(1, Kind.NODE, 5.0), fault(2, Kind.NODE, 7.0), fault(3, Kind.NODE, 70.0)]
    row = record(*faults).table().splitlines()[1].split()
    assert row[:5] == ["node", "3", "7.0", "70.0", "2"]


def test_never_is_the_worst():
    row = record(fault(1, Kind.NODE, 5.0), fault(2, Kind.NODE, None)).table().splitlines()[1]
    assert row.split()[:5] == ["node", "2", "5.0", "never", "1"]


def test_the_page_tells_what_was_left_out_and_every_broken_law():
    page = record(fault(1, Kind.JAIL, 2.0, broken=("no lease is stuck: 3",))).page()
    assert "Left out: network, because there is no ip." in page
    assert "- fault 1: no lease is stuck: 3" in page
    assert "after 1 a law was broken" in page


def test_it_is_plain_json():
    read = json.loads(json.dumps(record(fault(1, Kind.NODE, 5.0)).as_json()))
    assert read["faults"][0]["kind"] == "node"
    assert read["is_sound"]


def test_where_the_time_went_is_told_with_the_fault():
    slow = replace(
        fault(1, Kind.RAYLET, 40.0), on_the_way={"node up": 20.04, "weights proved": 38.0}
    )
    assert "node up 20.0, weights proved 38.0" in record(slow).page()
