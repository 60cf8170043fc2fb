# AffinityNet on Shapes from scratch, with the backbone and the head of AFA's config there.
_base_ = "../_base_/pipelines/affinitynet.py"
method = "AffinityNet"
_classifier = "configs/affinitynet/classifier_mit-b0_1xb8-380it_shapes-96x96.py"
_affinitynet = "configs/affinitynet/affinitynet_mit-b0_1xb8-150it_shapes-96x96.py"
_segmentation = "configs/affinitynet/segment_mit-b0_1xb8-300it_shapes-96x96.py"
stages = [
    dict(_base_.classifier, config=_classifier),
    dict(_base_.cams, config=_classifier),
    dict(_base_.affinity_labels, config=_classifier),
    dict(_base_.affinitynet_from_classifier, config=_affinitynet),
    dict(_base_.random_walk, config=_affinitynet),
    dict(_base_.pseudo_labels, config=_affinitynet),
    dict(_base_.segmentation_from_classifier, config=_segmentation),
    dict(_base_.test, config=_segmentation),
    dict(_base_.test_tta_crf, config=_segmentation),
]
