"""The default's recipe in a plain loop of PyTorch, with one more of the means that papers propose.

What the trainer doesn't have can only be measured outside of it. Rows, folds, initial weights and
batches are those of the trainer; the steps are autograd's.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING

import torch
from tabular.ours import read
from tabular.worker import Job, Prediction, Stopwatch, serve
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrize

from trainer.data.preprocessing import column_names, preprocess_dataset
from trainer.data.training_data import prepare_training_data
from trainer.ensemble import Ensemble
from trainer.evaluation.metrics import score_logits
from trainer.evaluation.out_of_fold import OutOfFoldRows
from trainer.fit import init_network
from trainer.model import Standardisation
from trainer.recipe import configure_for_table
from trainer.schedule import Position, learning_rates
from trainer.seeds import shuffle_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runtime.schema.features import Schema
    from trainer.config import Configuration
    from trainer.data.dataset import Dataset
    from trainer.data.training_data import TrainingData

_CLIP = 3.0  # robust standard deviations, as in RealMLP
_STEPS_PER_VALIDATION = 25
_VALIDATION = 0.2  # of the rows, before a refit


@dataclass(frozen=True)
class Means:
    """What is done beyond the default's recipe.

    Attributes:
        layers: so many times the default's.
        dropout: share of hidden units dropped while training (Srivastava et al. 2014).
        smoothing: of labels (Szegedy et al. 2016).
        priors: start the last bias at the logarithms of the classes' shares.
        average: decay of a moving average of the weights, which is deployed; 0 is the last ones.
        scale_rate: learn a factor of each input, with so many times the learning rate (RealMLP:
            Holzmüller et al. 2024).
        robust: standardise numbers by median and quartiles instead of mean and deviation.
        clip: and clip them smoothly (both RealMLP).
        embedding: numbers that a member learns of each category, instead of an indicator (Guo and
            Berkhahn 2016); of columns with more categories than that. 0 is none.
        refit: hold a part of the rows out instead of folds, train on it, too, once more, and stop
            where the loss of this part was lowest.
    """

    layers: int = 1
    dropout: float = 0.0
    smoothing: float = 0.0
    priors: bool = False
    average: float = 0.0
    scale_rate: float = 0.0
    robust: bool = False
    clip: bool = False
    embedding: int = 0
    refit: bool = False


PLAIN = "the default's recipe"
MEANS = {
    PLAIN: Means(),
    "dropout of 20 %": Means(dropout=0.2),
    "dropout of 20 %, two layers": Means(layers=2, dropout=0.2),
    "label smoothing of 5 %": Means(smoothing=0.05),
    "class priors in the bias": Means(priors=True),
    "averaged weights": Means(average=0.99),
    "learned input scales": Means(scale_rate=6.0),
    "robust scaling": Means(robust=True),
    "robust scaling, smooth clipping": Means(robust=True, clip=True),
    "embeddings of 8 numbers": Means(embedding=8),
    "a validation part and refit": Means(refit=True),
}


def fit(job: Job) -> Prediction:
    """Fit and predict the test rows."""
    with Stopwatch() as watch:
        dataset = read(job, job.test)
        means = MEANS[job.contender]
        configuration = configure_for_table("default", {"seed": job.seed}, dataset.shape)
        configuration = replace(configuration, hidden=configuration.hidden * means.layers)
        encoded = preprocess_dataset(dataset, configuration).dataset
        learn = train_and_refit if means.refit else train
        logits = learn(encoded, configuration, means)
    rejected = dataset.check and dataset.check.rejected
    refused = sum(each.test_rows for each in rejected or ())
    probabilities = logits.double().softmax(dim=1).numpy()
    return Prediction(
        probabilities, dataset.rows.test_labels.numpy(), refused, watch.wall, watch.cpu
    )


def train(dataset: Dataset, configuration: Configuration, means: Means) -> torch.Tensor:
    """Train an ensemble; returns the logits of the test rows, ``(rows, classes)``."""
    data, network, test_features = prepare(dataset, configuration, means)
    if data.folds is None:
        raise ValueError("the default preset has folds for these tables")
    out_of_fold, lowest = OutOfFoldRows(data, data.folds), math.inf
    for _, current in run_epochs(network, data, configuration, means):
        scores = out_of_fold.evaluate(current, calibrate=True)
        if scores.loss < lowest:
            lowest, best, temperature = scores.loss, copy.deepcopy(current), scores.temperature
    return mean_logits(best, test_features) / temperature


def train_and_refit(dataset: Dataset, configuration: Configuration, means: Means) -> torch.Tensor:
    """Likewise, of an ensemble on all rows, with what a part of them was best with."""
    whole = replace(configuration, folds=0, calibrate=False)
    part = replace(whole, validation=_VALIDATION)
    data, network, _ = prepare(dataset, part, means)
    if data.validation is None:
        raise ValueError("the part was asked for")
    held_out, lowest = data.validation, math.inf
    for epoch, current in run_epochs(network, data, part, means):
        logits = mean_logits(current, held_out.features)
        scores = score_logits(logits, held_out.labels, calibrate=True)
        if scores.loss < lowest:
            lowest, best, temperature = scores.loss, epoch, scores.temperature
    data, network, test_features = prepare(dataset, whole, means)
    epochs = run_epochs(network, data, whole, means)
    last = next(current for epoch, current in epochs if epoch >= best)
    return mean_logits(last, test_features) / temperature


def prepare(
    dataset: Dataset, configuration: Configuration, means: Means
) -> tuple[TrainingData, Ensemble, torch.Tensor]:
    """Scale all rows, build the network; returns the test rows, ``(rows, inputs)`` float32, too."""
    torch.manual_seed(configuration.seed)  # of dropout
    data = prepare_training_data(dataset, configuration, "cpu")
    features, test_features = scale(dataset, data, means)
    data = replace(data, features=features, scale=None)
    if data.train is not None and data.validation is not None:
        is_held_out = torch.ones(len(features), dtype=torch.bool)
        is_held_out[data.train] = False
        held_out = replace(data.validation, features=features[is_held_out])  # in the same order
        features, labels = features[data.train], data.labels[data.train]
        data = replace(data, features=features, labels=labels, train=None, validation=held_out)
    network = init_network(dataset, configuration)
    return data, prepare_network(network, dataset.schema, data, means), test_features


@torch.no_grad()
def mean_logits(network: Ensemble, features: torch.Tensor) -> torch.Tensor:
    """Average the members' logits, ``(rows, classes)``."""
    logits: torch.Tensor = network.eval()(features).mean(dim=0).t()
    network.train()
    return logits


def scale(dataset: Dataset, data: TrainingData, means: Means) -> tuple[torch.Tensor, torch.Tensor]:
    """Scale training and test rows, ``(rows, inputs)`` float32 each; indicators are centred."""
    scaling = data.scale
    if scaling is None:
        raise ValueError("the default preset standardises")
    # Those of columns: bins have a scale already.
    names = set(column_names(dataset.schema))
    numbers = torch.zeros(len(scaling.std), dtype=torch.bool)
    for at, feature in dataset.schema.numeric_features.items():
        numbers[at] = feature.name in names
    numbers &= scaling.std.isfinite()
    if means.robust:
        scaling = scale_robustly(data.features, scaling, numbers)
    scaled = [scaling.apply(part) for part in (data.features, dataset.rows.test_features)]
    if means.clip:
        for part in scaled:
            chosen = part[:, numbers]
            part[:, numbers] = chosen / (1 + (chosen / _CLIP) ** 2).sqrt()
    return scaled[0], scaled[1]


def scale_robustly(
    features: torch.Tensor, scaling: Standardisation, numbers: torch.Tensor
) -> Standardisation:
    """Take median and interquartile range of numbers, or half of their range where that is 0."""
    mean, std = scaling.mean.clone(), scaling.std.clone()
    for at in numbers.nonzero().flatten().tolist():
        shares = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0], dtype=torch.float64)
        low, first, middle, third, high = torch.quantile(features[:, at].double(), shares)
        mean[at] = middle
        std[at] = third - first if third > first else (high - low) / 2
    return Standardisation(mean, std)


class InputScales(nn.Module):
    """A learned factor of each input of each member."""

    def __init__(self, weight: torch.Tensor) -> None:
        """Start with 1; ``weight`` is ``(members, units, inputs)``."""
        super().__init__()
        self.factors = nn.Parameter(torch.ones(len(weight), 1, weight.shape[2]))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """Multiply the columns of a weight."""
        return weight * self.factors


class Embeddings(nn.Module):
    """The weight of a first layer, of some columns a product: indicators to numbers to units."""

    def __init__(self, weight: torch.Tensor, columns: Sequence[slice], width: int) -> None:
        """Start as Embedding and Linear do; ``weight`` is ``(members, units, inputs)``."""
        super().__init__()
        members, units, inputs = weight.shape
        bound = 1 / math.sqrt(inputs)
        self.columns = columns
        self.numbers = nn.ParameterList(
            torch.randn(members, width, each.stop - each.start) for each in columns
        )
        self.units = nn.ParameterList(
            torch.empty(members, units, width).uniform_(-bound, bound) for _ in columns
        )

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """Put the products in their columns."""
        weight = weight.clone()
        for at, columns in enumerate(self.columns):
            weight[:, :, columns] = self.units[at] @ self.numbers[at]
        return weight


def category_columns(schema: Schema, more_than: int) -> list[slice]:
    """Find the inputs of each column with more categories than that."""
    starts = [0, *accumulate(len(feature.inputs) for feature in schema.features)]
    return [
        slice(start, start + len(feature.inputs))
        for start, feature in zip(starts, schema.features, strict=False)
        if len(feature.inputs) > more_than
    ]


def prepare_network(
    network: nn.Module, schema: Schema, data: TrainingData, means: Means
) -> Ensemble:
    """Change what the means change in the initial network."""
    if not isinstance(network, Ensemble):
        raise TypeError("the default preset has an ensemble")
    first, *others = network.linear_layers()
    if means.scale_rate:
        parametrize.register_parametrization(first, "weight", InputScales(first.weight))
    if means.embedding and (columns := category_columns(schema, means.embedding)):
        embeddings = Embeddings(first.weight, columns, means.embedding)
        parametrize.register_parametrization(first, "weight", embeddings)
    if means.priors:
        counts = data.labels.bincount(minlength=others[-1].bias.shape[1])
        others[-1].bias.data[:] = (counts / counts.sum()).log()[:, None]
    for layer in others:
        layer.register_forward_pre_hook(partial(drop_units, means.dropout))
    return network


def drop_units(share: float, layer: nn.Module, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
    """Drop a share of a layer's inputs while it is trained."""
    return (functional.dropout(inputs[0], share, layer.training),)


def run_epochs(
    network: Ensemble, data: TrainingData, configuration: Configuration, means: Means
) -> Iterator[tuple[int, Ensemble]]:
    """Train; yields an epoch and its network to evaluate every few epochs, and after the last."""
    optimiser = create_optimiser(network, configuration, means)
    averaged = copy.deepcopy(network)
    size = min(configuration.batch_size, data.n_rows)
    steps = math.ceil(data.n_rows / size)
    every = math.ceil(_STEPS_PER_VALIDATION / steps)
    for epoch in range(configuration.epochs):
        first = Position(epoch, 0, configuration.epochs, steps)
        rates = learning_rates(configuration.learning_rate, configuration.schedule, first, steps)
        order = shuffle_rows(configuration.seed, epoch, data.n_rows)
        for rate, rows in zip(rates, torch.split(order, size), strict=True):
            for group in optimiser.param_groups:
                group["lr"] = rate * group["factor"]
            optimiser.zero_grad()
            loss = sum_member_losses(network(data.features[rows]), data.strata[rows], data, means)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            with torch.no_grad():
                for mean, value in zip(averaged.parameters(), network.parameters(), strict=True):
                    mean.lerp_(value, 1 - means.average)
        if (epoch + 1) % every == 0 or epoch + 1 == configuration.epochs:
            yield epoch, averaged


def create_optimiser(
    network: Ensemble, configuration: Configuration, means: Means
) -> torch.optim.Optimizer:
    """Create AdamW; the factors of inputs have a learning rate of their own."""
    own = [each.factors for each in network.modules() if isinstance(each, InputScales)]
    others = [each for each in network.parameters() if all(each is not factor for factor in own)]
    groups = [{"params": others, "factor": 1.0}, {"params": own, "factor": means.scale_rate}]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]], weight_decay=configuration.weight_decay
    )


def sum_member_losses(
    logits: torch.Tensor, strata: torch.Tensor, data: TrainingData, means: Means
) -> torch.Tensor:
    """Sum the members' mean losses; ``logits`` are ``(members, classes, batch)``."""
    membership = data.membership
    if membership is None:
        raise ValueError("an ensemble's rows have a membership")
    targets, shares = membership.targets(strata[None])[0], membership.shares(strata[None])[0]
    losses = functional.cross_entropy(
        logits, targets[..., 0], reduction="none", label_smoothing=means.smoothing
    )
    return torch.dot(losses.flatten(), shares.flatten())


if __name__ == "__main__":
    torch.set_num_threads(1)
    serve(fit)
