import pytest

from afa.datasets.prepare.voc12_image import VOC12Image
from afa.datasets.prepare.voc12_report import VOC12Report, fault_text


@pytest.fixture
def report():
    report = VOC12Report(lists=dict(train_aug=["a", "b"], val=["c"], test=["t"]))
    report.add(VOC12Image("a", "", "VOC", ("cat", "dog"), ("cat",)))
    report.add(VOC12Image("b", "", "SBD", ("cat",), ("cat",)))
    report.add(VOC12Image("c", "", "", ("bus",), ("bus",)))
    return report


def test_classes_are_counted_by_labels_and_by_masks(report):
    rows = [line.split("  ") for line in report.text().splitlines()[:22]]
    table = {row[0]: [cell.strip() for cell in row[1:] if cell.strip()] for row in rows}
    assert table["class"] == ["train_aug labels", "train_aug masks", "val labels", "val masks"]
    assert table["cat"] == ["2", "2", "0", "0"]
    assert table["dog"] == ["1", "0", "0", "0"]
    assert table["bus"] == ["0", "0", "1", "1"]
    assert table["labels per image"] == ["1.50", "1.00", "1.00", "1.00"]
    assert len(table) == 22


def test_sizes_and_sources_are_told(report):
    lines = report.text().splitlines()
    assert "Images: train_aug 2, val 1, test 1." in lines
    assert "Masks: 1 from VOC, 1 from SBD, 1 were there already." in lines
    assert lines[-1].startswith("Annotations and masks name other classes in 1 images (33.3 %)")


def test_what_is_unusual_is_told(report):
    del report.lists["test"]
    report.add(VOC12Image("c", "", "", ("bus",), ("bus",), only_difficult=True, differs=True))
    report.missing.append("val has 1 images, not 2.")
    report.add(VOC12Image("d", "Mask 'd' is broken."))
    text = report.text()
    for part in (
        "1 images have difficult objects only: these count",
        "1 masks that were there are not VOC's own, the first is c: --overwrite",
        "test.txt is left out",
    ):
        assert part in text
    tail = "Not the whole set:\n  val has 1 images, not 2.\n  Mask 'd' is broken."
    assert text.endswith(tail)


def test_only_the_first_faults_are_shown():
    text = fault_text("Wrong", (f"fault {number}" for number in range(1012)))
    lines = text.splitlines()
    assert lines[0] == "Wrong:" and lines[1] == "  fault 0" and lines[10] == "  fault 9"
    assert lines[11] == "  ... and 1,002 more." and len(lines) == 12
