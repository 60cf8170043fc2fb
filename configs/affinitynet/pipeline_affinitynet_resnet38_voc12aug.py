# AffinityNet on VOC 2012 aug, ResNet38 throughout. Published (Ahn & Kwak, CVPR 2018): val 61.7, test 63.7, with CRF.
# Not measured by us.
_base_ = "../_base_/pipelines/affinitynet.py"
method = "AffinityNet"
_classifier = "configs/affinitynet/classifier_resnet38_4xb4-10k_voc12aug-448x448.py"
_affinitynet = "configs/affinitynet/affinitynet_resnet38_4xb2-10k_voc12aug-448x448.py"
_segmentation = "configs/affinitynet/segment_resnet38_4xb4-20k_voc12aug-321x321.py"
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
