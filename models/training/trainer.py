"""The Hugging Face `Trainer` with two heads, a moving average, layer-wise rates and our batches.

A checkpoint holds the weights and their average (safetensors), and the optimiser's, scheduler's and
generators' states in torch's format, which are read with `weights_only`. Nothing else is pickled.
"""

import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, cast

import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import Sampler
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import EvalPrediction

from models.network import WEIGHTS, Opinion
from models.training.config import RunConfig
from models.training.ema import MovingAverage
from models.training.examples import Collate, Examples, SimilarLengths
from models.training.loss import opinion_loss
from models.training.modes import parameter_groups
from models.training.scores import mean_f1, scores

CHECKPOINTS: Final = "checkpoints"
_STATE: Final = "trainer_state.json"
_LABELS: Final = ("sentiment", "topic")
_Pair = tuple[NDArray[Any], NDArray[Any]]


def training_arguments(config: RunConfig, run: Path) -> TrainingArguments:
    """Return the `Trainer`'s settings for a run; on a GPU if torch sees one, else on the CPU."""
    options = config.optimiser
    return TrainingArguments(
        output_dir=str(run / CHECKPOINTS),
        num_train_epochs=options.epochs,
        per_device_train_batch_size=options.batch,
        per_device_eval_batch_size=config.validation.batch,
        gradient_accumulation_steps=options.accumulation,
        learning_rate=options.learning_rate,
        lr_scheduler_type=options.schedule,
        warmup_steps=options.warm_up,
        weight_decay=options.weight_decay,
        max_grad_norm=options.clip,
        bf16=config.precision == "bf16",
        use_cpu=not torch.cuda.is_available(),
        seed=config.seed,
        data_seed=config.seed,
        eval_strategy="no",  # `Rhythm` says when
        metric_for_best_model="score",
        greater_is_better=True,
        save_strategy="steps",
        save_steps=config.checkpoint_steps,
        save_total_limit=2,  # one whole checkpoint is left if a stop cuts the next one short
        logging_strategy="steps",
        logging_steps=config.log_steps,
        logging_nan_inf_filter=False,
        remove_unused_columns=False,
        label_names=list(_LABELS),
        dataloader_pin_memory=torch.cuda.is_available(),
        report_to="none",
        disable_tqdm=True,
    )


class OpinionTrainer(Trainer):
    """Trains an `Opinion` on `Examples`; what is evaluated and kept is the moving average."""

    optimizer: torch.optim.Optimizer | None

    def __init__(
        self,
        config: RunConfig,
        run: Path,
        network: Opinion,
        train: Examples,
        valid: Examples,
        pad: int,
        keep_best: Callable[[dict[str, Any]], None],
    ) -> None:
        """Put a run together.

        Args:
            config: The run's description.
            run: Its folder.
            network: With only those weights trainable that the mode names.
            train: Training examples.
            valid: Validation examples.
            pad: Id of the padding token.
            keep_best: Called with the figures whenever an evaluation is the best so far, while the
                network holds the moving average.
        """
        self._config, self._network = config, network
        self._keep_best = keep_best
        self._sources = [one.source for one in valid.given]
        self._fit = train
        super().__init__(
            model=network,
            args=training_arguments(config, run),
            data_collator=Collate(pad),
            train_dataset=train,
            eval_dataset=valid,
            compute_metrics=self._figures,
        )
        self.average = MovingAverage(network, config.optimiser.average)
        self.add_callback(Rhythm(config, self.average))

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Return AdamW with the layers' own rates."""
        if self.optimizer is None:
            groups = parameter_groups(self._network, self._config.optimiser)
            self.optimizer = torch.optim.AdamW(groups, fused=True)
        return self.optimizer

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        fit, seed = self._fit, self._config.seed
        return SimilarLengths(fit.lengths(), self._train_batch_size, seed, fit.set_epoch)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: Mapping[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Return the batch's loss, and the logits if they are asked for."""
        logits = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"])
        loss = opinion_loss(logits, inputs, self._config)
        return (loss, logits) if return_outputs else loss

    def training_step(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """Collect the batch's gradient; with `adversarial` also that at moved embeddings."""
        loss = super().training_step(model, inputs, num_items_in_batch)
        if self._config.adversarial:
            table = cast(nn.Embedding, self._network.encoder.get_input_embeddings()).weight
            kept, slope = table.detach().clone(), cast(Tensor, table.grad)
            table.data.add_(self._config.adversarial * slope / slope.norm().clamp(min=1e-12))
            super().training_step(model, inputs, num_items_in_batch)
            table.data.copy_(kept)
        return loss

    def prediction_step(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[Tensor, Any, Any]:
        """Return loss, logits and labels of a batch."""
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad(), self.compute_loss_context_manager():
            loss, logits = self.compute_loss(model, inputs, return_outputs=True)
        labels = tuple(inputs[name] for name in _LABELS)
        return loss, tuple(part.float() for part in logits), labels

    def evaluate(
        self,
        eval_dataset: Any = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """Score the validation examples with the moving average."""
        with self.average.applied():
            return super().evaluate(eval_dataset, ignore_keys, metric_key_prefix)

    def _figures(self, answers: EvalPrediction) -> dict[str, Any]:
        guesses, labels = cast(_Pair, answers.predictions), cast(_Pair, answers.label_ids)
        figures = scores(guesses, labels, self._sources)
        return {"score": mean_f1(figures), "valid": figures}

    def _determine_best_metric(self, metrics: dict[str, Any], trial: Any) -> bool:
        best: bool = super()._determine_best_metric(metrics, trial)
        if best:
            report = {
                "epoch": round(self.state.epoch or 0.0, 4),
                "epochs": self._config.optimiser.epochs,
                "step": self.state.global_step,
                "seed": self._config.seed,
                "score": metrics["eval_score"],
                "valid_loss": metrics["eval_loss"],
                "valid": metrics["eval_valid"],
            }
            with self.average.applied():
                self._keep_best(report)
        return best

    def _save(
        self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None
    ) -> None:
        folder = Path(output_dir or str(self.args.output_dir))
        folder.mkdir(parents=True, exist_ok=True)
        weights = state_dict or self._network.state_dict()
        save_file({name: part.contiguous() for name, part in weights.items()}, folder / WEIGHTS)
        self.average.save(folder)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        self.average.load(Path(resume_from_checkpoint))


class Rhythm(TrainerCallback):
    """Averages after each step, evaluates `per_epoch` times an epoch, and stops when told to."""

    def __init__(self, config: RunConfig, average: MovingAverage) -> None:
        self._options = config.validation
        self._average = average

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **_: Any,
    ) -> None:
        """Average; evaluate at the ends of the epochs' equal parts and at the end."""
        self._average.update()
        per_part = state.max_steps / state.num_train_epochs / self._options.per_epoch
        ended = int(state.global_step / per_part) > int((state.global_step - 1) / per_part)
        control.should_evaluate = ended or state.global_step == state.max_steps

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **_: Any,
    ) -> None:
        """Stop where the last `patience` evaluations were not better than the best before them."""
        told = [entry["eval_score"] for entry in state.log_history if "eval_score" in entry]
        best = max(range(len(told)), key=lambda i: told[i])
        patience = self._options.patience
        if patience is not None and len(told) - 1 - best >= patience:
            control.should_training_stop = True
            control.should_save = True


def last_checkpoint(run: Path) -> Path | None:
    """Return the newest whole checkpoint of a run; what a stop cut short is removed."""
    whole: list[tuple[int, Path]] = []
    for folder in (run / CHECKPOINTS).glob("checkpoint-*"):
        number = re.fullmatch(r"checkpoint-(\d+)", folder.name)
        try:
            # The Trainer writes its state last, so a readable one means that all is there.
            json.loads((folder / _STATE).read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            shutil.rmtree(folder)
            continue
        if number:
            whole.append((int(number[1]), folder))
    return max(whole)[1] if whole else None
