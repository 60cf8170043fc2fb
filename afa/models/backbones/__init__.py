"""Backbones: networks that give feature maps."""

from afa.models.backbones.mit_attn import MiTAttn
from afa.models.backbones.resnet38 import ResNet38
from afa.models.backbones.timm_cnn import TimmCNN
from afa.models.backbones.timm_vit import TimmViT
from afa.models.backbones.vgg16_largefov import VGG16LargeFOV
