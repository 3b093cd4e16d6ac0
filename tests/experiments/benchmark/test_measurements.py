"""The CSV file of measurements."""

from experiments.benchmark.measurements import Measurement, read_csv, write_csv
from experiments.benchmark.peers import Setting


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
