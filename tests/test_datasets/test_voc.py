from mmseg.datasets import PascalVOCDataset

from afa.datasets import VOC12Dataset


def test_classes_and_palette_are_those_of_mmseg(tree):
    (tree / "split.txt").write_text("a\n")
    dataset = VOC12Dataset(
        data_root=str(tree),
        ann_file="split.txt",
        data_prefix=dict(img_path="img"),
        image_labels="labels.json",
    )
    assert len(dataset.metainfo["classes"]) == len(dataset.metainfo["palette"]) == 21
    assert dataset.metainfo["classes"] == PascalVOCDataset.METAINFO["classes"]
    label = dataset.get_data_info(0)["gt_label"]
    assert label.shape == (20,) and label.nonzero()[0].tolist() == [7]  # cat is label 8
