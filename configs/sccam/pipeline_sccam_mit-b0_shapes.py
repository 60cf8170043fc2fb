# SC-CAM on Shapes from scratch: three rounds of three sub-categories, then AffinityNet's stages.
_base_ = "../_base_/pipelines/sccam.py"
method = "SC-CAM"
_first = "configs/affinitynet/classifier_mit-b0_1xb8-380it_shapes-96x96.py"
_classifier = "configs/sccam/subcategories_mit-b0_1xb8-190it_shapes-96x96.py"
_affinitynet = "configs/affinitynet/affinitynet_mit-b0_1xb8-150it_shapes-96x96.py"
_segmentation = "configs/affinitynet/segment_mit-b0_1xb8-300it_shapes-96x96.py"
_clusters = ["--split", "train", "--num-sub", "3", "--seed", "0"]
stages = [
    dict(_base_.classifier, config=_first),
    dict(_base_.clusters_1, config=_first, args=_clusters),
    dict(_base_.round_1_from_classifier, config=_classifier),
    dict(_base_.clusters_2, config=_classifier, args=_clusters),
    dict(_base_.round_2_from_classifier, config=_classifier),
    dict(_base_.clusters_3, config=_classifier, args=_clusters),
    dict(_base_.round_3_from_classifier, config=_classifier),
    dict(_base_.cams, config=_classifier, checkpoint="{round_3.checkpoint}"),
    dict(_base_.affinity_labels, config=_classifier),
    dict(_base_.affinitynet_from_classifier, config=_affinitynet),
    dict(_base_.random_walk, config=_affinitynet),
    dict(_base_.pseudo_labels, config=_affinitynet),
    dict(_base_.segmentation_from_classifier, config=_segmentation),
    dict(_base_.test, config=_segmentation),
    dict(_base_.test_tta_crf, config=_segmentation),
]
