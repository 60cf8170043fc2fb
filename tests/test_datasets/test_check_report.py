import json

from afa.datasets.check import DataReport, SplitSummary
from afa.datasets.check_report import report_lines, write_report


def make():
    report = DataReport()
    report.splits["train"] = SplitSummary(
        num_photos=1200,
        num_masks=3,
        photos_of_class=dict(cat=1000, dog=201),
        photos_of_num_labels={0: 1, 1: 1198, 2: 1},
        sizes=[(20, 30), (1, 1), (400, 300)],
    )
    report.splits["val"] = SplitSummary(photos_of_class=dict(cat=4, dog=5))
    return report


def test_fit():
    lines = report_lines(make())
    assert lines[1] == (
        "train: 1,200 photos, 3 masks; width x height smallest 1 x 1, median 30 x 20, largest "
        "300 x 400; photos by number of labels 0: 1, 1: 1,198, 2: 1"
    )
    table = "\n".join(lines)
    assert "| cat   | 1,000 |   4 |" in table and "| dog   |   201 |   5 |" in table
    assert lines[-1] == "The data are fit." and "Faults" not in table


def test_faults_are_listed_up_to_the_limit():
    report = make()
    for number in range(1005):
        report.faults("missing photo", f"{number} is gone")
    report.faults("mask size", "a is small")
    report.notes("class without photo", "dog")
    text = "\n".join(report_lines(report, limit=2))
    assert "To look at (1):\n  class without photo: dog" in text
    assert "Faults (1,006):\n  missing photo: 0 is gone\n  missing photo: 1 is gone" in text
    assert "missing photo: ... and 1,003 more\n  mask size: a is small" in text
    assert text.endswith("The data are not fit: 1,005 missing photo, 1 mask size.")


def test_json_has_every_fault(tmp_path):
    report = make()
    for number in range(30):
        report.faults("missing photo", f"{number} is gone")
    write_report(tmp_path / "r.json", report, "c.py")
    content = json.loads((tmp_path / "r.json").read_text())
    assert content["config"] == "c.py" and content["fit"] is False
    assert len(content["faults"]["missing photo"]) == 30 and content["notes"] == {}
    assert content["splits"]["train"]["photos_of_class"] == dict(cat=1000, dog=201)
    assert content["splits"]["train"]["sizes"]["largest"] == [400, 300]
