"""Faults that are injected into a good export, to see who notices.

``CATALOGUE`` has them all: of the weights, the network and its answers (in all model files alike),
of one file alone, of a bundle that was already published, and of a model from elsewhere.
"""

from faults.bundles import FAULTS as _BUNDLES
from faults.custom_model import FAULTS as _CUSTOM
from faults.networks import FAULTS as _NETWORKS
from faults.onnx_files import FAULTS as _ONNX_FILES
from faults.torch_files import FAULTS as _TORCH_FILES
from faults.weights import FAULTS as _WEIGHTS

CATALOGUE = (*_WEIGHTS, *_NETWORKS, *_ONNX_FILES, *_TORCH_FILES, *_BUNDLES, *_CUSTOM)
