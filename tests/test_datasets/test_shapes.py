import numpy as np
import pytest

from afa.datasets import ShapesDataset
from afa.datasets.shapes_writer import write_shapes


def make(root, split: str) -> ShapesDataset:
    return ShapesDataset(
        data_root=str(root),
        ann_file=f"ImageSets/Segmentation/{split}.txt",
        data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClassAug"),
        image_labels="Annotations",
        pipeline=[dict(type="LoadPhoto"), dict(type="LoadAnnotations")],
    )


def test_image_labels_are_the_classes_of_the_mask(tmp_path):
    write_shapes(tmp_path, num_train=4, num_val=2, size=64)
    for split, count in (("train", 4), ("val", 2)):
        dataset = make(tmp_path, split)
        assert len(dataset) == count
        for sample in dataset:
            present = np.setdiff1d(np.unique(sample["gt_seg_map"]), [0])
            np.testing.assert_array_equal(sample["gt_label"].nonzero()[0] + 1, present)


def test_missing_set_says_how_to_make_it(tmp_path):
    with pytest.raises(ValueError, match=r"tools/dataset_converters/shapes\.py"):
        make(tmp_path, "train")
