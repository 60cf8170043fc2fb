# SC-CAM's rounds of clustering and training, before AffinityNet's stages.
_base_ = "./affinitynet.py"
_init = {"model.backbone.init_cfg.checkpoint": "{classifier.checkpoint}"}
_sub_labels = "train_dataloader.dataset.sub_labels"

clusters_1 = dict(
    name="clusters_1",
    tool="sub_categories.py",
    checkpoint="{classifier.checkpoint}",
    args=["--split", "train", "--num-sub", "10", "--seed", "0"],
)
clusters_2 = dict(clusters_1, name="clusters_2", checkpoint="{round_1.checkpoint}")
clusters_3 = dict(clusters_1, name="clusters_3", checkpoint="{round_2.checkpoint}")
round_1 = dict(
    name="round_1", tool="train.py", options={_sub_labels: "{clusters_1}/sub_labels.json"}
)
round_2 = dict(round_1, name="round_2", options={_sub_labels: "{clusters_2}/sub_labels.json"})
round_3 = dict(round_1, name="round_3", options={_sub_labels: "{clusters_3}/sub_labels.json"})

# Where nothing is pre-trained, every round begins with the backbone of the classifier.
round_1_from_classifier = dict(round_1, options={**round_1["options"], **_init})
round_2_from_classifier = dict(round_2, options={**round_2["options"], **_init})
round_3_from_classifier = dict(round_3, options={**round_3["options"], **_init})
