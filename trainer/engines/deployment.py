"""The network of raw features that a state in training is deployed as."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch

from trainer.engines.state import flatten_parameters
from trainer.ensemble import Ensemble, deploy, deployed_widths
from trainer.model import SimpleNet, divide_logits, fold_in_place

if TYPE_CHECKING:
    from trainer.engines.state import ModelState
    from trainer.model import Standardisation


class Deployment:
    """Folds standardisation, members and temperature into one network."""

    def __init__(self, state: ModelState, scale: Standardisation | None) -> None:
        """Allocate a network on the state's device."""
        self._state, self._scale = state, scale
        network = state.network
        if isinstance(network, Ensemble):
            self._values, self._network = None, _empty_network(network, state.values.device)
        else:
            copied = copy.deepcopy(network)
            self._values, self._network = flatten_parameters(copied, "sgd").values, copied

    def update(self, temperature: float = 1.0) -> SimpleNet:
        """Update the network from the state; it is the same object every time."""
        network, trained, scale = self._network, self._state.network, self._scale
        if isinstance(trained, Ensemble):
            deploy(trained, network, scale, temperature)
            return network
        assert self._values is not None, "allocated for a single network"  # noqa: S101
        self._values.copy_(self._state.values)
        if scale:
            fold_in_place(network, scale.mean, scale.std)
        if temperature != 1.0:
            divide_logits(network, temperature)
        return network


def _empty_network(ensemble: Ensemble, device: torch.device) -> SimpleNet:
    *hidden, n_classes = (layer.weight.shape[1] for layer in ensemble.linear_layers())
    n_features = ensemble.linear_layers()[0].weight.shape[2]
    widths = deployed_widths(tuple(hidden), ensemble.members)
    with torch.device("meta"):  # no random draws for weights that are replaced
        network = SimpleNet(n_features, n_classes, widths)
    shapes = {name: meta.shape for name, meta in network.state_dict().items()}
    empty = {name: torch.empty(shape, device=device) for name, shape in shapes.items()}
    network.load_state_dict(empty, assign=True)  # to_empty would load torch's compiler
    return network
