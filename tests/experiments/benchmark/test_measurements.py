"""The CSV file of measurements."""

import pytest

from experiments.benchmark.measurements import Measurement, read_csv, write_csv
from experiments.benchmark.peers import Setting
from experiments.common.durable import DamagedFileError


def test_csv_reads_back(tmp_path):
    rows = [
        Measurement(1, 2, 3, 4, "resets", "bfloat16", "torch", "training", 1.5, 1.25, 2.0, 9, 0.5),
        Measurement(
            1, 2, 3, 4, library="haiku", mode="forward", compile_s=0.25, temporaries_mb=0.0
        ),
    ]
    write_csv(tmp_path / "rows.csv", rows)
    assert read_csv(tmp_path / "rows.csv") == rows
    assert rows[0].setting == Setting(1, 2, 3, 4, "resets", "bfloat16")
    assert read_csv(tmp_path / "none.csv") == []


def test_a_changed_measurement_is_named(tmp_path):
    path = tmp_path / "rows.csv"
    write_csv(path, [Measurement(1, 2, 3, 4, library="haiku", mode="forward", median_ms=1.25)])
    content = path.read_text()
    for damaged in (content.replace("1.25", "1.35"), content[:-3], content.replace("haiku", "ha")):
        path.write_text(damaged)
        with pytest.raises(DamagedFileError, match=rf"{path} is damaged \(a row of ha"):
            read_csv(path)
    path.write_bytes(content.encode().replace(b"haiku", b"\xff"))
    with pytest.raises(DamagedFileError, match="is damaged"):
        read_csv(path)
    lines = (line.rpartition(",")[0] + "\n" for line in content.splitlines())
    path.write_text("".join(lines))  # as earlier versions wrote it
    assert [row.median_ms for row in read_csv(path)] == [1.25]
