"""Fitting SimpleNet to a dataset: the same bits for the same seed, wherever it is taken up.

In: a dataset and a configuration. Out: the fitted network on raw features, and for every epoch
what an observer wants to know. Raises ``DataError`` when the loss leaves the finite numbers.
Nothing is printed or written, and torch's global random state and settings stay as they were.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import torch

from runtime.errors import DataError, UsageError
from trainer.device import reproducible
from trainer.engines.opening import EngineName, open_engine
from trainer.engines.state import lay_out
from trainer.engines.task import Task
from trainer.epoch import Epoch, Watch, look_away
from trainer.judging import judge
from trainer.model import SimpleNet, fold_in_place
from trainer.order import row_order
from trainer.placement import place_dataset
from trainer.preparation import prepare
from trainer.schedule import rate_of
from trainer.seeds import derive_seed
from trainer.snapshot import Best, Keeper, NoKeeper, Snapshot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainer.config import Configuration, DeviceName
    from trainer.data import Dataset

# Between two looks at the clock and the keyboard: milliseconds.
_ROWS_AT_ONCE: dict[DeviceName, int] = {"cpu": 2**14, "cuda": 2**18}
_NUMBERS_AT_ONCE = 2**20
_MOST_WEIGHTS = 2**28  # 1 GiB, of which a fit needs several: more is a slip of the pen


@dataclass(frozen=True)
class Fitted:
    """The result of a fit.

    Attributes:
        model: takes raw features; on the CPU, in evaluation mode.
        last: the epoch that the model is of: the last, or the best by the rows held out.
        epochs: passes that were made.
        streaming: why rows did not lie on the device, for people; empty where they did.
    """

    model: SimpleNet
    last: Epoch
    epochs: int
    streaming: str = ""


def fit(
    dataset: Dataset,
    configuration: Configuration,
    *,
    device: DeviceName = "cpu",
    watch: Watch = look_away,
    keeper: Keeper | None = None,
    engine: EngineName = "fast",
) -> Fitted:
    """Fit by gradient descent on cross-entropy.

    Args:
        dataset: rows on the CPU.
        configuration: the options.
        device: a device that is there, see ``choose_device``.
        watch: called after every epoch.
        keeper: says where to start, and is called between steps; None starts at the beginning.
        engine: what makes the steps; eager is slow, and there to compare with.

    Returns:
        The network with the standardisation folded in, and the epoch that it is of.

    Raises:
        DataError: when the loss is no longer finite, or no row is left to learn from.
        UsageError: when the network would be too large.
    """
    with reproducible(device):
        return _Descent(dataset, configuration, device, engine).run(watch, keeper or NoKeeper())


def draw_network(dataset: Dataset, configuration: Configuration) -> SimpleNet:
    """Draw the initial network; torch's global random state stays as it was.

    Args:
        dataset: gives the widths of input and output.
        configuration: gives the hidden widths and the seed.

    Returns:
        A network on the CPU, the same for the same seed.

    Raises:
        UsageError: when it would have more weights than memory is for.
    """
    schema = dataset.schema
    widths = (schema.n_inputs, *configuration.hidden, schema.n_classes)
    weights = sum(fan_in * fan_out for fan_in, fan_out in pairwise(widths))
    if weights > _MOST_WEIGHTS:
        raise UsageError(
            f"a network of {weights:,} weights is too large, {_MOST_WEIGHTS:,} are the most: give "
            f"narrower layers with --hidden (it was {','.join(map(str, configuration.hidden))})"
        )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive_seed(configuration.seed, "weights"))
        return SimpleNet(schema.n_inputs, schema.n_classes, configuration.hidden)


class _Descent:
    """A fit on its way down."""

    def __init__(
        self, dataset: Dataset, configuration: Configuration, device: DeviceName, name: EngineName
    ) -> None:
        self._configuration = configuration
        self._placement = place = place_dataset(dataset, device, configuration.validation)
        judging: DeviceName = device if place.judging else "cpu"
        self._rows = rows = prepare(dataset, configuration, device, judging=judging)
        network = draw_network(dataset, configuration).to(device)
        self._state = lay_out(network, configuration.optimiser)
        size = min(configuration.batch_size, rows.n_rows)
        at_once = min(_ROWS_AT_ONCE[device], _NUMBERS_AT_ONCE // dataset.schema.n_inputs)
        self._task = Task(
            batch_size=size,
            rows_at_once=max(1, at_once // size) * size,
            weight_decay=configuration.weight_decay,
            class_weights=rows.class_weights,
        )
        training = rows.features, rows.labels
        streams = not place.training
        self._engine = open_engine(
            name, self._task, self._state, training, rows.scale, streams=streams
        )
        self._losses = torch.zeros(math.ceil(rows.n_rows / size), device=device)  # (steps,)
        self._folded = lay_out(copy.deepcopy(network), "sgd")  # of the state, for raw features
        self._epoch, self._step = 0, 0  # of the next step
        self._ahead: dict[int, torch.Tensor] = {}  # the order of the next epoch
        self._last: Epoch | None = None
        self._best: Best | None = None

    def run(self, watch: Watch, keeper: Keeper) -> Fitted:
        """Make all steps that are left."""
        if snapshot := keeper.start():
            self._take_up(snapshot)
        while self._epoch < self._configuration.epochs and not self._is_out_of_patience():
            self._make_steps(keeper)
            self._last = self._end_epoch()
            keeper.see(self._last, self._state)
            watch(self._last)
            self._epoch, self._step = self._epoch + 1, 0
            keeper.look(self._snapshot)
        network = self._state.network
        if self._best:
            network.load_state_dict(self._best.weights)
        last = self._best.epoch if self._best else self._last
        assert last is not None, "a configuration has at least one epoch"  # noqa: S101
        model = copy.deepcopy(self._fold()).cpu()  # apart from the vector of all parameters
        return Fitted(model.eval(), last, self._epoch, self._placement.reason)

    def _make_steps(self, keeper: Keeper) -> None:
        """Make the steps of an epoch that are left."""
        size, rate = self._task.batch_size, self._rate()
        order = self._ahead.pop(self._epoch, None)
        if order is None:
            order = self._order(self._epoch)
        for part in torch.split(order[self._step * size :], self._task.rows_at_once):
            losses = self._losses[self._step :][: math.ceil(len(part) / size)]
            done = self._epoch * len(self._losses) + self._step
            self._engine.run(part, losses, learning_rate=rate, done=done)
            self._step += len(losses)
            if self._step < len(self._losses):
                keeper.look(self._snapshot)
        if self._state.values.is_cuda:  # it is still at work: the host need not wait idly
            self._ahead = {self._epoch + 1: self._order(self._epoch + 1)}

    def _order(self, epoch: int) -> torch.Tensor:
        """Positions of the rows to learn from, in the order of an epoch, ``(rows,)``."""
        order = row_order(self._configuration.seed, epoch, self._rows.n_rows)
        return order if self._rows.learned is None else self._rows.learned[order]

    def _rate(self) -> float:
        options = self._configuration
        return rate_of(options.learning_rate, options.schedule, self._epoch, options.epochs)

    def _end_epoch(self) -> Epoch:
        """Judge what the steps of an epoch have made."""
        losses = tuple(self._losses.tolist())  # the one look at the buffer in an epoch
        self._check_finite(losses)
        model, held = self._fold(), self._rows.held
        test = judge(model, self._rows.test)
        epoch = Epoch(
            index=self._epoch,
            epochs=self._configuration.epochs,
            losses=losses,
            loss=_mean_over_rows(losses, self._rows.n_rows, self._task.batch_size),
            test_loss=test.loss,
            accuracy=test.accuracy,
            learning_rate=self._rate(),
            validation=judge(model, held) if held else None,
            best=self._epoch,
            patience=self._configuration.patience,
            rows=self._rows.n_rows,
        )
        self._check_finite((test.loss, epoch.validation.loss if epoch.validation else 0.0))
        return self._choose_best(epoch)

    def _choose_best(self, epoch: Epoch) -> Epoch:
        """Keep the weights of an epoch that is better, and say in each which was the best."""
        if epoch.validation is None:
            return epoch
        best = self._best and self._best.epoch
        if best and best.validation and epoch.validation.loss >= best.validation.loss:
            return replace(epoch, best=best.index)
        weights = self._state.views(self._state.values)
        self._best = Best(epoch, {name: weight.clone() for name, weight in weights.items()})
        return epoch

    def _is_out_of_patience(self) -> bool:
        patience = self._configuration.patience
        if patience is None or self._best is None:
            return False
        return self._epoch - 1 - self._best.epoch.index >= patience

    def _fold(self) -> SimpleNet:
        """Make a network of raw features out of the state; the same one every time."""
        folded, scale = self._folded, self._rows.scale
        folded.values.copy_(self._state.values)
        if scale:
            fold_in_place(folded.network, scale.mean, scale.std)
        return folded.network

    def _snapshot(self) -> Snapshot:
        """Copy all that is needed to go on; a fit that has diverged is no place to go on from."""
        losses = self._losses[: self._step].cpu()
        self._check_finite(losses.tolist())
        self._check_finite([judge(self._fold(), self._rows.test).loss])  # what the last step made
        tensors = {name: part.cpu().clone() for name, part in self._state.tensors().items()}
        last = self._last and replace(self._last, losses=())
        return Snapshot(self._epoch, self._step, tensors, losses.clone(), last, self._best)

    def _take_up(self, snapshot: Snapshot) -> None:
        self._epoch, self._step = snapshot.epoch, snapshot.step
        self._last, self._best = snapshot.last, snapshot.best
        self._losses[: self._step] = snapshot.losses.to(self._losses.device)
        self._state.restore(snapshot.tensors)

    def _check_finite(self, losses: Sequence[float]) -> None:
        """Stop a fit that has diverged; ``losses`` are those of the epoch, or after it."""
        options = self._configuration
        better = "" if options.standardise else ", or --preset default"
        for step, loss in enumerate(losses, start=1):
            if not math.isfinite(loss):
                raise DataError(
                    f"the fit diverged: the loss is {loss} at epoch {self._epoch + 1}, "
                    f"step {min(step, self._step)}; use a lower --learning-rate "
                    f"(it was {options.learning_rate}){better}"
                )


def _mean_over_rows(losses: Sequence[float], rows: int, size: int) -> float:
    """Weigh each batch's mean by its rows; only the last batch may have fewer than ``size``."""
    tail = rows - size * (len(losses) - 1)
    return math.fsum((*(size * loss for loss in losses[:-1]), tail * losses[-1])) / rows
