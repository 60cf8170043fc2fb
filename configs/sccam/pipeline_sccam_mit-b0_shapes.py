# SC-CAM on Shapes from scratch: three rounds of three sub-categories, then AffinityNet's stages.
method = "SC-CAM"
_first = "configs/affinitynet/classifier_mit-b0_1xb8-380it_shapes-96x96.py"
_classifier = "configs/sccam/subcategories_mit-b0_1xb8-190it_shapes-96x96.py"
_affinitynet = "configs/affinitynet/affinitynet_mit-b0_1xb8-150it_shapes-96x96.py"
_segmentation = "configs/affinitynet/segment_mit-b0_1xb8-300it_shapes-96x96.py"
_masks = "train_dataloader.dataset.data_prefix.seg_map_path"
_low, _alpha, _high = "4", "16", "32"
stages = [
    dict(name="classifier", tool="train.py", config=_first),
    dict(
        name="clusters_1",
        tool="sub_categories.py",
        config=_first,
        checkpoint="{classifier.checkpoint}",
        args=["--split", "train", "--num-sub", "3", "--seed", "0"],
    ),
    dict(
        name="round_1",
        tool="train.py",
        config=_classifier,
        options={
            "train_dataloader.dataset.sub_labels": "{clusters_1}/sub_labels.json",
            "model.backbone.init_cfg.checkpoint": "{classifier.checkpoint}",
        },
    ),
    dict(
        name="clusters_2",
        tool="sub_categories.py",
        config=_classifier,
        checkpoint="{round_1.checkpoint}",
        args=["--split", "train", "--num-sub", "3", "--seed", "0"],
    ),
    dict(
        name="round_2",
        tool="train.py",
        config=_classifier,
        options={
            "train_dataloader.dataset.sub_labels": "{clusters_2}/sub_labels.json",
            "model.backbone.init_cfg.checkpoint": "{classifier.checkpoint}",
        },
    ),
    dict(
        name="clusters_3",
        tool="sub_categories.py",
        config=_classifier,
        checkpoint="{round_2.checkpoint}",
        args=["--split", "train", "--num-sub", "3", "--seed", "0"],
    ),
    dict(
        name="round_3",
        tool="train.py",
        config=_classifier,
        options={
            "train_dataloader.dataset.sub_labels": "{clusters_3}/sub_labels.json",
            "model.backbone.init_cfg.checkpoint": "{classifier.checkpoint}",
        },
    ),
    dict(
        name="cams",
        tool="pseudo_labels.py",
        config=_classifier,
        checkpoint="{round_3.checkpoint}",
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
