# AffinityNet's stages, for the pipelines that list them and name their configs (docs/pipelines.md).
_masks = "train_dataloader.dataset.data_prefix.seg_map_path"
_init = {"model.backbone.init_cfg.checkpoint": "{classifier.checkpoint}"}

classifier = dict(name="classifier", tool="train.py")
cams = dict(
    name="cams",
    tool="pseudo_labels.py",
    checkpoint="{classifier.checkpoint}",
    args=["--split", "train", "--kind", "cam", "--save-maps", "--evaluate", "--sweep"],
)
# alpha: 4, 16, 24 in the paper; 4, 16, 32 in the released program, which reaches 61.0 instead of 59.7.
affinity_labels = dict(
    name="affinity_labels",
    tool="affinity_labels.py",
    args=["{cams}", "--split", "train", "--alphas", "4", "32", "--evaluate"],
)
affinitynet = dict(
    name="affinitynet",
    tool="train.py",
    options={_masks: "{affinity_labels}/labels"},
)
random_walk = dict(
    name="random_walk",
    tool="random_walk.py",
    checkpoint="{affinitynet.checkpoint}",
    args=["{cams}", "--split", "train", "--alpha", "16", "--save-maps", "--evaluate", "--sweep"],
    options={_masks: "SegmentationClassAug"},
)
# The CRF on the maps of that walk: the network runs once.
pseudo_labels = dict(
    name="pseudo_labels",
    tool="random_walk.py",
    checkpoint="{affinitynet.checkpoint}",
    args=[
        *("{cams}", "--split", "train", "--alpha", "16"),
        *("--walked", "{random_walk}", "--evaluate", "--crf"),
    ],
    options={_masks: "SegmentationClassAug"},
)
segmentation = dict(
    name="segmentation",
    tool="train.py",
    options={_masks: "{pseudo_labels}/labels"},
)
test = dict(name="test", tool="test.py", checkpoint="{segmentation.checkpoint}")
test_tta_crf = dict(
    name="test_tta_crf",
    tool="test.py",
    checkpoint="{segmentation.checkpoint}",
    args=["--tta", "--crf"],
)

# Where nothing is pre-trained, the later networks begin with the backbone of the classifier.
affinitynet_from_classifier = dict(affinitynet, options={**affinitynet["options"], **_init})
segmentation_from_classifier = dict(segmentation, options={**segmentation["options"], **_init})
