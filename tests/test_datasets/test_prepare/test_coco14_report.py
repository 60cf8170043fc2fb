from collections import Counter

import pytest

from afa.datasets.prepare.coco14_report import SplitReport, class_table


def test_figures_of_a_split():
    report = SplitReport(10, 8, 30, 2, num_made=5, images_per_class=Counter(cat=8, dog=4))
    assert report.text("val") == (
        "val: 8 images with objects (2 without are left out), 30 annotations (2 crowd regions), "
        "1.50 classes per image; 5 label maps drawn, 3 were there already."
    )


@pytest.mark.parametrize(
    ("split", "images", "kept", "other"),
    [
        ("train", 82783, 82081, ""),
        ("val", 40504, 40137, ""),
        ("train", 82783, 82080, "82,081 images with objects, this file has 82,080"),
        ("val", 40504, 40138, "40,137 images with objects, this file has 40,138"),
        ("train", 40504, 40000, ""),  # a sample: nothing to compare with
    ],
)
def test_the_whole_set_is_compared_with_the_literature(split, images, kept, other):
    lines = SplitReport(images, kept, 1, 0).text(split).splitlines()
    assert len(lines) == (2 if other else 1) and other in lines[-1]


def test_table_of_two_splits():
    train = SplitReport(3, 3, 9, 0, 0, Counter(cat=1200), Counter(cat=5000, dog=1))
    val = SplitReport(3, 3, 9, 0, 0, Counter(dog=2), Counter(dog=3))
    assert class_table({"train": train, "val": val}, ["cat", "dog"]).splitlines() == [
        "class   train images  train regions  val images  val regions",
        " 1 cat         1,200          5,000           0            0",
        " 2 dog             0              1           2            3",
    ]
