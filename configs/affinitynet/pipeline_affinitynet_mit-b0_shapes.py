# AffinityNet on Shapes from scratch, with the backbone and the head of AFA's config there.
method = "AffinityNet"
_classifier = "configs/affinitynet/classifier_mit-b0_1xb8-380it_shapes-96x96.py"
_affinitynet = "configs/affinitynet/affinitynet_mit-b0_1xb8-150it_shapes-96x96.py"
_segmentation = "configs/affinitynet/segment_mit-b0_1xb8-300it_shapes-96x96.py"
_masks = "train_dataloader.dataset.data_prefix.seg_map_path"
_low, _alpha, _high = "4", "16", "32"
stages = [
    dict(name="classifier", tool="train.py", config=_classifier),
    dict(
        name="cams",
        tool="pseudo_labels.py",
        config=_classifier,
        checkpoint="{classifier.checkpoint}",
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
            "model.backbone.init_cfg.checkpoint": "{classifier.checkpoint}",
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
            "model.backbone.init_cfg.checkpoint": "{classifier.checkpoint}",
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
