"""The training loop: fits SimpleNet to a dataset, with the same bits for the same seed.

Nothing is printed or written; torch's global random state and settings are restored.
"""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import torch

from runtime.errors import UsageError
from runtime.surfaces import option
from trainer.checkpoint.state import (
    BestEpoch,
    Epoch,
    EpochCallback,
    FitResult,
    NoCallback,
    TrainingCallback,
    TrainingState,
    ignore_epoch,
)
from trainer.data.training_data import place_dataset, prepare_training_data
from trainer.device import reproducible
from trainer.distributed.launch import current_group, on_main_process
from trainer.divergence import check_losses, check_rows
from trainer.engines import EngineName, create_engine
from trainer.engines.deployment import Deployment
from trainer.engines.state import TrainingTask, flatten_parameters
from trainer.ensemble import Ensemble, deployed_widths
from trainer.evaluation.metrics import evaluate
from trainer.evaluation.out_of_fold import OutOfFoldRows
from trainer.model import SimpleNet
from trainer.schedule import Position, evenly_spaced, grows_by_a_fifth, learning_rates
from trainer.seeds import derive_seed, shuffle_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainer.config import Configuration, DeviceName
    from trainer.data.dataset import Dataset
    from trainer.engines.state import Engine
    from trainer.evaluation.metrics import Scores

# Evaluations of training rows in a fit: a curve for 1 % of the time. So many, and one more for each
# so many steps of an epoch.
_MIN_EVALUATIONS, _MAX_EVALUATIONS, _STEPS_PER_EVALUATION = 5, 50, 30
# Between two calls of the callback, which checks the clock and signals: milliseconds.
_ROWS_AT_ONCE: dict[DeviceName, int] = {"cpu": 2**14, "cuda": 2**18}
_NUMBERS_AT_ONCE = 2**20
_STEPS_PER_VALIDATION = 25  # out of fold, which then takes a tenth of the time
_MAX_WEIGHTS = 2**28  # 1 GiB, of which training needs several: more is a typo


def fit(
    dataset: Dataset,
    configuration: Configuration,
    *,
    device: DeviceName = "cpu",
    on_epoch_end: EpochCallback = ignore_epoch,
    callback: TrainingCallback | None = None,
    engine: EngineName = "fast",
) -> FitResult:
    """Fit by gradient descent on cross-entropy.

    Args:
        dataset: rows on the CPU.
        configuration: the options.
        device: an available device, see ``select_device``.
        on_epoch_end: called after every epoch; True ends training there.
        callback: restores a state, and is called between steps; None starts from the beginning.
        engine: computes the steps; eager is the slow reference.

    Returns:
        The network with standardisation, members and temperature folded in, and the epoch that
        it is from.

    Raises:
        DataError: when the loss diverges, or no training row is left.
        UsageError: when the network would be too large.
    """
    with reproducible(device):
        loop = _TrainingLoop(dataset, configuration, device, engine)
        return loop.run(on_epoch_end, callback or NoCallback())


def init_network(dataset: Dataset, configuration: Configuration) -> SimpleNet | Ensemble:
    """Draw the initial network on the CPU, without touching torch's global random state.

    The first member of an ensemble is the network that a single one would be.
    """
    schema, members = dataset.schema, configuration.members
    hidden = deployed_widths(configuration.hidden, members)
    widths = (schema.n_inputs, *hidden, schema.n_classes)
    weights = sum(fan_in * fan_out for fan_in, fan_out in pairwise(widths))
    if weights > _MAX_WEIGHTS:
        raise UsageError(
            f"a network of {weights:,} weights is too large, the maximum is {_MAX_WEIGHTS:,}: use "
            f"narrower layers with {option('hidden')} "
            f"(it was {','.join(map(str, configuration.hidden))})"
            + (f" or fewer {option('members')} (it was {members})" if members > 1 else "")
        )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive_seed(configuration.seed, "weights"))
        networks = [
            SimpleNet(schema.n_inputs, schema.n_classes, configuration.hidden)
            for _ in range(members)
        ]
    return networks[0] if members == 1 else Ensemble(networks)


class _TrainingLoop:
    """Gradient descent with everything that it allocates once."""

    def __init__(
        self, dataset: Dataset, configuration: Configuration, device: DeviceName, name: EngineName
    ) -> None:
        self._configuration, self._schema = configuration, dataset.schema
        self._placement = place_dataset(dataset, device, configuration.validation)
        evaluation_device: DeviceName = device if self._placement.evaluation else "cpu"
        self._rows = rows = prepare_training_data(
            dataset, configuration, device, evaluation_device=evaluation_device
        )
        network = init_network(dataset, configuration).to(device)
        self._state = flatten_parameters(network, configuration.optimiser)
        size = min(configuration.batch_size, rows.n_rows)
        at_once = min(_ROWS_AT_ONCE[device], _NUMBERS_AT_ONCE // dataset.schema.n_inputs)
        self._task = TrainingTask(
            batch_size=size,
            rows_per_call=max(1, at_once // size) * size,
            weight_decay=configuration.weight_decay,
            class_weights=rows.class_weights,
            membership=rows.membership,
        )
        self._out_of_fold = None if rows.folds is None else OutOfFoldRows(rows, rows.folds)
        self._engine = self._create_engine(name)
        self._losses = torch.zeros(math.ceil(rows.n_rows / size), device=device)  # (steps,)
        self._deployment = Deployment(self._state, rows.scale)
        self._epoch, self._step = 0, 0  # of the next step
        self._next_order: dict[int, torch.Tensor] = {}  # by epoch: that of the next one
        self._last: Epoch | None = None
        self._best: BestEpoch | None = None

    def run(self, on_epoch_end: EpochCallback, callback: TrainingCallback) -> FitResult:
        """Train from the restored state to the last epoch."""
        if saved := on_main_process(callback.restore):
            self._restore(saved)
        while self._epoch < self._configuration.epochs and not self._is_out_of_patience():
            self._run_steps(callback)
            self._last = self._end_epoch()
            callback.on_epoch_end(self._last, self._state)
            is_ended = on_epoch_end(self._last)
            self._epoch, self._step = self._epoch + 1, 0
            callback.on_step(self._capture)
            if is_ended:
                break
        network = self._state.network
        if self._best:
            network.load_state_dict(self._best.weights)
        last = self._best.epoch if self._best else self._last
        assert last is not None, "a configuration has at least one epoch"  # noqa: S101
        scores = last.validation
        model = self._deployment.update(scores.temperature if scores else 1.0)
        model = copy.deepcopy(model).cpu()  # its own tensors, no views of the state
        return FitResult(model.eval(), last, self._epoch, self._placement.reason)

    def _create_engine(self, name: EngineName) -> Engine:
        """Create the engine; of several processes each computes a part of every step."""
        task, state, scale = self._task, self._state, self._rows.scale
        rows = self._rows.features, self._rows.strata
        if group := current_group():
            from trainer.distributed.shard import ShardedEngine

            return ShardedEngine(group, task, state, rows, scale)
        return create_engine(name, task, state, rows, scale, streams=not self._placement.training)

    def _run_steps(self, callback: TrainingCallback) -> None:
        """Run the remaining steps of an epoch."""
        size = self._task.batch_size
        order = self._next_order.pop(self._epoch, None)
        if order is None:
            order = self._order(self._epoch)
        for part in torch.split(order[self._step * size :], self._task.rows_per_call):
            losses = self._losses[self._step :][: math.ceil(len(part) / size)]
            done = self._epoch * len(self._losses) + self._step
            rates = self._learning_rates(self._step, len(losses))
            self._engine.run(part, losses, learning_rates=rates, done=done)
            self._step += len(losses)
            if self._step < len(self._losses):
                callback.on_step(self._capture)
        if self._state.values.is_cuda:  # shuffle on the host while the device works
            self._next_order = {self._epoch + 1: self._order(self._epoch + 1)}

    def _order(self, epoch: int) -> torch.Tensor:
        """Shuffle the positions of the training rows, ``(rows,)``."""
        order = shuffle_rows(self._configuration.seed, epoch, self._rows.n_rows)
        return order if self._rows.train is None else self._rows.train[order]

    def _learning_rates(self, step: int, count: int) -> list[float]:
        """Compute the learning rates of steps of this epoch, from ``step`` on."""
        options = self._configuration
        first = Position(self._epoch, step, options.epochs, len(self._losses))
        return learning_rates(options.learning_rate, options.schedule, first, count)

    def _end_epoch(self) -> Epoch:
        """Evaluate the network at the end of an epoch."""
        losses = tuple(self._losses.tolist())  # the only device sync of an epoch's steps
        self._check_losses(losses)
        validated = on_main_process(self._validate)
        scores = validated or (self._last.validation if self._last else None)
        model = self._deployment.update(scores.temperature if scores else 1.0)
        test = on_main_process(lambda: evaluate(model, self._rows.test))
        epoch = Epoch(
            index=self._epoch,
            epochs=self._configuration.epochs,
            losses=losses,
            loss=_mean_over_rows(losses, self._rows.n_rows, self._task.batch_size),
            test_loss=test.loss,
            accuracy=test.accuracy,
            train=self._evaluate_training(model),
            learning_rate=self._learning_rates(len(losses) - 1, 1)[0],
            validation=scores,
            best=self._epoch,
            patience=self._configuration.patience,
            rows=self._rows.n_rows,
            is_validated=validated is not None or scores is None,
            is_out_of_fold=self._rows.folds is not None,
        ).after(self._last)
        self._check_evaluation(model, test.loss, scores.loss if scores else 0.0)
        return self._update_best(epoch)

    def _validate(self) -> Scores | None:
        """Evaluate on the rows that select the best epoch; None where it is not this epoch's turn.

        Out of fold every row of training is evaluated: short epochs are taken together.
        """
        options, rows = self._configuration, self._rows
        calibrate, network = options.calibrate, self._state.network
        if self._out_of_fold and isinstance(network, Ensemble):
            every = math.ceil(_STEPS_PER_VALIDATION / len(self._losses))
            every = min(every, options.patience or every)
            done = self._epoch + 1
            if done % every and done < options.epochs:
                return None
            return self._out_of_fold.evaluate(network, calibrate=calibrate)
        if rows.validation is None:
            return None
        return evaluate(self._deployment.update(), rows.validation, calibrate=calibrate)

    def _evaluate_training(self, model: SimpleNet) -> Scores | None:
        """Evaluate on training rows, in the epochs that are enough for a curve."""
        options = self._configuration
        if options.patience is None:
            count = _MIN_EVALUATIONS + len(self._losses) // _STEPS_PER_EVALUATION
            count = min(count, _MAX_EVALUATIONS)
            is_due = self._epoch in evenly_spaced(options.epochs, count)
        else:  # it may end at any time
            is_due = grows_by_a_fifth(self._epoch)
        if not is_due:
            return None
        return on_main_process(lambda: evaluate(model, self._rows.sample))

    def _update_best(self, epoch: Epoch) -> Epoch:
        """Store the weights of a new best epoch; set the best one's index in the epoch."""
        if epoch.validation is None:
            return epoch
        best = self._best and self._best.epoch
        if best and best.validation:
            is_better = epoch.is_validated and epoch.validation.loss < best.validation.loss
            if not is_better:
                return replace(epoch, best=best.index)
        weights = self._state.views(self._state.values)
        self._best = BestEpoch(epoch, {name: weight.clone() for name, weight in weights.items()})
        return epoch

    def _is_out_of_patience(self) -> bool:
        patience = self._configuration.patience
        if patience is None or self._best is None:
            return False
        return self._epoch - 1 - self._best.epoch.index >= patience

    def _capture(self) -> TrainingState:
        """Copy the training state, unless it has diverged."""
        losses = self._losses[: self._step].cpu()
        self._check_losses(losses.tolist())
        model = self._deployment.update()
        self._check_evaluation(model, evaluate(model, self._rows.test).loss)  # after the last step
        tensors = {name: part.cpu().clone() for name, part in self._state.tensors().items()}
        last = self._last and replace(self._last, losses=())
        return TrainingState(self._epoch, self._step, tensors, losses.clone(), last, self._best)

    def _restore(self, saved: TrainingState) -> None:
        self._epoch, self._step = saved.epoch, saved.step
        self._last, self._best = saved.last, saved.best
        self._losses[: self._step] = saved.losses.to(self._losses.device)
        self._state.restore(saved.tensors)

    def _check_losses(self, losses: Sequence[float]) -> None:
        """Raise when training has diverged; ``losses`` are those of the epoch, or after it."""
        check_losses(losses, self._configuration, epoch=self._epoch, step=self._step)

    def _check_evaluation(self, model: SimpleNet, test: float, validation: float = 0.0) -> None:
        """Raise when an evaluation is not finite: by the rows evaluated on, or by training."""
        rows = {"test": (test, self._rows.test), "validation": (validation, self._rows.validation)}
        for kind, (loss, evaluated) in rows.items():
            if evaluated and not math.isfinite(loss):
                check_rows(model, evaluated, self._schema, kind)
        self._check_losses((test, validation))


def _mean_over_rows(losses: Sequence[float], rows: int, size: int) -> float:
    """Weight each batch's mean by its rows; only the last batch may have fewer than ``size``."""
    tail = rows - size * (len(losses) - 1)
    return math.fsum((*(size * loss for loss in losses[:-1]), tail * losses[-1])) / rows
