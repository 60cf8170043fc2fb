import pytest

from afa.datasets import COCO14Dataset
from afa.datasets.coco14 import CLASSES


def test_classes_stand_in_the_order_of_the_category_ids():
    # The ids 12, 26, 29, 30, 45, 66, 68, 69, 71 and 83 are unused: names next to such gaps.
    expected = {0: "background", 1: "person", 11: "fire hydrant", 12: "stop sign"}
    expected |= {25: "backpack", 27: "handbag", 40: "bottle", 61: "dining table"}
    expected |= {62: "toilet", 80: "toothbrush"}
    assert {label: CLASSES[label] for label in expected} == expected
    assert len(CLASSES) == len(set(CLASSES)) == 81


def test_every_class_has_its_own_colour():
    palette = COCO14Dataset.METAINFO["palette"]
    assert len({tuple(color) for color in palette}) == 81


def test_what_is_missing_names_the_command_that_makes_it(tmp_path):
    paths = dict(data_prefix=dict(img_path="train2014"), ann_file="ImageSets/train.txt")
    for folder in ("away", "train2014"):  # without the photos, then without the list
        (tmp_path / folder).mkdir()
        with pytest.raises(ValueError, match=r"make the set with .*coco14\.py"):
            COCO14Dataset(data_root=str(tmp_path), pipeline=[], **paths)
