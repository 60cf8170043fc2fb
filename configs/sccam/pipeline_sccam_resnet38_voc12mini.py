# SC-CAM's stages with the real networks on voc12-mini, one round, for trying without GPU; the figures mean nothing.
_base_ = "../_base_/pipelines/sccam.py"
method = "SC-CAM"
_first = "configs/affinitynet/classifier_resnet38_1xb2-4it_voc12mini-96x96.py"
_classifier = "configs/sccam/subcategories_resnet38_1xb2-4it_voc12mini-96x96.py"
_affinitynet = "configs/affinitynet/affinitynet_resnet38_1xb2-4it_voc12mini-96x96.py"
_segmentation = "configs/sccam/deeplabv2_r101_1xb2-4it_voc12mini-96x96.py"
stages = [
    dict(_base_.classifier, config=_first),
    dict(_base_.clusters_1, config=_first),
    dict(_base_.round_1, config=_classifier),
    dict(_base_.cams, config=_classifier, checkpoint="{round_1.checkpoint}"),
    dict(_base_.affinity_labels, config=_classifier),
    dict(_base_.affinitynet, config=_affinitynet),
    dict(_base_.random_walk, config=_affinitynet),
    dict(_base_.pseudo_labels, config=_affinitynet),
    dict(_base_.segmentation, config=_segmentation),
    dict(_base_.test, config=_segmentation),
    dict(_base_.test_tta_crf, config=_segmentation),
]
