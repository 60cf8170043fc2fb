# AffinityNet's stages with the real networks on voc12-mini, for trying without GPU; the figures mean nothing.
_base_ = "../_base_/pipelines/affinitynet.py"
method = "AffinityNet"
_classifier = "configs/affinitynet/classifier_resnet38_1xb2-4it_voc12mini-96x96.py"
_affinitynet = "configs/affinitynet/affinitynet_resnet38_1xb2-4it_voc12mini-96x96.py"
_segmentation = "configs/affinitynet/segment_resnet38_1xb2-4it_voc12mini-96x96.py"
stages = [
    dict(_base_.classifier, config=_classifier),
    dict(_base_.cams, config=_classifier),
    dict(_base_.affinity_labels, config=_classifier),
    dict(_base_.affinitynet, config=_affinitynet),
    dict(_base_.random_walk, config=_affinitynet),
    dict(_base_.pseudo_labels, config=_affinitynet),
    dict(_base_.segmentation, config=_segmentation),
    dict(_base_.test, config=_segmentation),
    dict(_base_.test_tta_crf, config=_segmentation),
]
