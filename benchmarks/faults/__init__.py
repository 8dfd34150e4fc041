"""Faults that are injected into a correct export.

``CATALOGUE`` has all of them: faults of the weights, of the network and its outputs (in all model
files alike), of one file alone, of a published bundle, and of a model trained elsewhere.
"""

from faults.bundles import FAULTS as _BUNDLES
from faults.custom_model import FAULTS as _CUSTOM
from faults.networks import FAULTS as _NETWORKS
from faults.onnx_files import FAULTS as _ONNX_FILES
from faults.torch_files import FAULTS as _TORCH_FILES
from faults.weights import FAULTS as _WEIGHTS

CATALOGUE = (*_WEIGHTS, *_NETWORKS, *_ONNX_FILES, *_TORCH_FILES, *_BUNDLES, *_CUSTOM)
