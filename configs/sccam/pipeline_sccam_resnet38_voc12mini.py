# SC-CAM's stages with the real networks on voc12-mini, one round, for trying without GPU; the figures mean nothing.
method = "SC-CAM"
_first = "configs/affinitynet/classifier_resnet38_1xb2-4it_voc12mini-96x96.py"
_classifier = "configs/sccam/subcategories_resnet38_1xb2-4it_voc12mini-96x96.py"
_affinitynet = "configs/affinitynet/affinitynet_resnet38_1xb2-4it_voc12mini-96x96.py"
_segmentation = "configs/sccam/deeplabv2_r101_1xb2-4it_voc12mini-96x96.py"
_masks = "train_dataloader.dataset.data_prefix.seg_map_path"
_low, _alpha, _high = "4", "16", "32"
stages = [
    dict(name="classifier", tool="train.py", config=_first),
    dict(
        name="clusters_1",
        tool="sub_categories.py",
        config=_first,
        checkpoint="{classifier.checkpoint}",
        args=["--split", "train", "--num-sub", "10", "--seed", "0"],
    ),
    dict(
        name="round_1",
        tool="train.py",
        config=_classifier,
        options={
            "train_dataloader.dataset.sub_labels": "{clusters_1}/sub_labels.json",
        },
    ),
    dict(
        name="cams",
        tool="pseudo_labels.py",
        config=_classifier,
        checkpoint="{round_1.checkpoint}",
        args=["--split", "train", "--kind", "cam", "--save-maps", "--evaluate", "--sweep"],
    ),
    dict(
        name="affinity_labels",
        tool="affinity_labels.py",
        config=_classifier,
        args=["{cams}", "--split", "train", "--alphas", _low, _high, "--evaluate"],
    ),
    dict(
        name="affinitynet",
        tool="train.py",
        config=_affinitynet,
        options={
            _masks: "{affinity_labels}/labels",
        },
    ),
    dict(
        name="random_walk",
        tool="random_walk.py",
        config=_affinitynet,
        checkpoint="{affinitynet.checkpoint}",
        args=["{cams}", "--split", "train", "--alpha", _alpha, "--evaluate", "--sweep"],
        options={_masks: "SegmentationClassAug"},
    ),
    dict(
        name="pseudo_labels",
        tool="random_walk.py",
        config=_affinitynet,
        checkpoint="{affinitynet.checkpoint}",
        args=["{cams}", "--split", "train", "--alpha", _alpha, "--evaluate", "--crf"],
        options={_masks: "SegmentationClassAug"},
    ),
    dict(
        name="segmentation",
        tool="train.py",
        config=_segmentation,
        options={
            _masks: "{pseudo_labels}/labels",
        },
    ),
    dict(
        name="test",
        tool="test.py",
        config=_segmentation,
        checkpoint="{segmentation.checkpoint}",
    ),
    dict(
        name="test_tta_crf",
        tool="test.py",
        config=_segmentation,
        checkpoint="{segmentation.checkpoint}",
        args=["--tta", "--crf"],
    ),
]
