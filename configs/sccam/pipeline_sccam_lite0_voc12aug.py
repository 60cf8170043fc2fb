# SC-CAM on VOC 2012 aug, on EfficientNet-lite0: three rounds, each from ImageNet weights, for a GPU. Not measured by us.
_base_ = ["../_base_/pipelines/sccam.py", "../_base_/pipelines/low_cams.py"]
method = "SC-CAM"
_first = "configs/affinitynet/classifier_lite0_1xb16-10k_voc12aug-448x448.py"
_classifier = "configs/sccam/subcategories_lite0_1xb16-10k_voc12aug-448x448.py"
_affinitynet = "configs/affinitynet/affinitynet_lite0_1xb8-10k_voc12aug-448x448.py"
_segmentation = "configs/affinitynet/segment_lite0_1xb16-20k_voc12aug-448x448.py"
stages = [
    dict(_base_.classifier, config=_first),
    dict(_base_.clusters_1, config=_first),
    dict(_base_.round_1, config=_classifier),
    dict(_base_.clusters_2, config=_classifier),
    dict(_base_.round_2, config=_classifier),
    dict(_base_.clusters_3, config=_classifier),
    dict(_base_.round_3, config=_classifier),
    dict(_base_.cams, config=_classifier, checkpoint="{round_3.checkpoint}"),
    dict(_base_.affinity_labels, config=_classifier, args=_base_._affinity_labels),
    dict(_base_.affinitynet, config=_affinitynet),
    dict(_base_.random_walk, config=_affinitynet, args=_base_._random_walk),
    dict(_base_.pseudo_labels, config=_affinitynet, args=_base_._pseudo_labels),
    dict(_base_.segmentation, config=_segmentation),
    dict(_base_.test, config=_segmentation),
    dict(_base_.test_tta_crf, config=_segmentation),
]
