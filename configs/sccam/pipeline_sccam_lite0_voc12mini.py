# SC-CAM on real photos without GPU: one round of three sub-categories.
_base_ = ["../_base_/pipelines/sccam.py", "../_base_/pipelines/low_cams.py"]
method = "SC-CAM"
_first = "configs/affinitynet/classifier_lite0_1xb16-300it_voc12mini-224x224.py"
_classifier = "configs/sccam/subcategories_lite0_1xb16-300it_voc12mini-224x224.py"
_affinitynet = "configs/affinitynet/affinitynet_lite0_1xb8-200it_voc12mini-224x224.py"
_segmentation = "configs/affinitynet/segment_lite0_1xb8-400it_voc12mini-224x224.py"
_clusters = ["--split", "train", "--num-sub", "3", "--seed", "0"]
stages = [
    dict(_base_.classifier, config=_first),
    dict(_base_.clusters_1, config=_first, args=_clusters),
    dict(_base_.round_1, config=_classifier),
    dict(_base_.cams, config=_classifier, checkpoint="{round_1.checkpoint}"),
    dict(_base_.affinity_labels, config=_classifier, args=_base_._affinity_labels),
    dict(_base_.affinitynet, config=_affinitynet),
    dict(_base_.random_walk, config=_affinitynet, args=_base_._random_walk),
    dict(_base_.pseudo_labels, config=_affinitynet, args=_base_._pseudo_labels),
    dict(_base_.segmentation, config=_segmentation),
    dict(_base_.test, config=_segmentation),
    dict(_base_.test_tta_crf, config=_segmentation),
]
# From the CAMs on, stages take the first 450 photos: they go over them one by one.
_few = {"train_dataloader.dataset.indices": 450}
for _stage in stages[3:-2]:
    _stage["options"] = {**_stage.get("options", {}), **_few}
