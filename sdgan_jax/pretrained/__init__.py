"""Reads and writes trained networks other than a GAN."""

from sdgan_jax.pretrained.classifier import AttributeClassifier, attribute_classifier, attribute_refusal
from sdgan_jax.pretrained.face_mesh import MeshNetwork, mesh_network
from sdgan_jax.pretrained.identity import IdentityNetwork, identity_network
from sdgan_jax.pretrained.inception import InceptionNetwork, inception_network
from sdgan_jax.pretrained.lpips import LpipsNetwork, lpips_network
from sdgan_jax.pretrained.official_fusion import OfficialFusionNetwork, fusion_network
from sdgan_jax.pretrained.perceptual import DistanceTo, PerceptualNetwork, perceptual_network
from sdgan_jax.pretrained.position import PositionNetwork, position_network, prnet_network
from sdgan_jax.pretrained.storage import SHIPPED, SHIPPED_FINDER, SHIPPED_MODEL, read, write

__all__ = [
    "SHIPPED",
    "SHIPPED_FINDER",
    "SHIPPED_MODEL",
    "AttributeClassifier",
    "DistanceTo",
    "IdentityNetwork",
    "InceptionNetwork",
    "LpipsNetwork",
    "MeshNetwork",
    "OfficialFusionNetwork",
    "PerceptualNetwork",
    "PositionNetwork",
    "attribute_classifier",
    "attribute_refusal",
    "fusion_network",
    "identity_network",
    "inception_network",
    "lpips_network",
    "mesh_network",
    "perceptual_network",
    "position_network",
    "prnet_network",
    "read",
    "write",
]
