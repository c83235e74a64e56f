"""Arguments of `train` in scvi-tools that have another name, or no meaning, here."""

import difflib
from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

_CONFIG = (
    "settings of networks go into the constructor, {name}(adata, preset={config}({of}=...)), "
    "with {config} of scbig.model"
)
_CONDITIONS = (
    "conditions are held out, and not cells: validation=['A', 'B'], or a share of them by "
    "scbig.splits"
)
_STEPS = "write max_steps=... for fewer steps, or early_stopping=False for all of them"
_RATES = "flow_lr, bridge_lr or learning_rate"

#: What to write instead, by the name that scvi-tools has for it.
INSTEAD = {
    "enable_progress_bar": "write use_progress_bar=...",
    "progress_bar_refresh_rate": "write use_progress_bar=False for no bar",
    "simple_progress_bar": "write use_progress_bar=False for no bar",
    "use_gpu": "write accelerator='gpu' or accelerator='cpu'",
    "n_epochs": "write max_epochs=... or max_steps=...",
    "batch_size": "batches are of conditions: " + _CONFIG.replace("{of}", "groups_per_step"),
    "lr": _CONFIG.replace("{of}", "..._lr"),
    "plan_kwargs": _CONFIG.replace("{of}", "...")
    + f"; the learning rate is {_RATES}, the decay of weights weight_decay",
    "plan_config": _CONFIG.replace("{of}", "..."),
    "gradient_clip_val": _CONFIG.replace("{of}", "clip_norm"),
    "accumulate_grad_batches": _CONFIG.replace("{of}", "flow_accumulation"),
    "train_size": _CONDITIONS,
    "validation_size": _CONDITIONS,
    "shuffle_set_split": _CONDITIONS,
    "external_indexing": _CONDITIONS,
    "datasplitter_kwargs": _CONDITIONS,
    "early_stopping_monitor": "training stops on the held-out conditions, by Pearson delta",
    "early_stopping_patience": _STEPS,
    "early_stopping_min_delta": _STEPS,
    "early_stopping_mode": "training stops on the held-out conditions, by Pearson delta",
    "early_stopping_warmup_epochs": "write early_stopping=False for all steps",
    "n_epochs_kl_warmup": "nothing is warmed up; leave it out",
    "n_steps_kl_warmup": "nothing is warmed up; leave it out",
    "strategy": "networks are trained on one device; leave it out",
    "precision": "networks are trained in single precision; leave it out",
    "logger": "what is logged is in history; leave it out",
    "callbacks": "the recipe has callbacks of its own; leave it out",
    "datamodule": "screens are read from the AnnData of setup_anndata; leave it out",
    "load_sparse_tensor": "sparse screens are read as they are; leave it out",
    "trainer_config": "give what the trainer takes by name, such as accelerator='cpu'",
    "trainer_kwargs": "give what the trainer takes by name, such as accelerator='cpu'",
}
#: Of networks, for classes that have none.
OF_NETWORKS = (
    "max_epochs", "max_steps", "accelerator", "devices", "batch_size", "early_stopping",
    "check_val_every_n_epoch", "plan_kwargs", "lr", "n_epochs",
)  # fmt: skip


def takes_scvi_arguments(train: Callable[P, R]) -> Callable[P, R]:
    """Have a `train` say what to write in place of arguments that it does not take.

    Parameters
    ----------
    train
        The method.

    Returns
    -------
    The same, which raises a `TypeError` that names the argument and says what to write.
    """
    taken = [name for name in signature(train).parameters if name != "self"]

    @wraps(train)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        if args[1:]:
            raise TypeError(
                f"train() takes its arguments by name, and was given {args[1]!r} by position. "
                f"Write train({taken[0]}={args[1]!r}), or another of {taken}."
            )
        for name in kwargs:
            if name not in taken:
                raise TypeError(_explain(type(args[0]).__name__, name, taken))
        return train(*args, **kwargs)

    return wrapped


def _explain(model: str, name: str, taken: list[str]) -> str:
    """Say what to write in place of an argument of that name."""
    found = f"{model}.train() takes no {name}"
    if name in OF_NETWORKS and "accelerator" not in taken:
        return f"{found}: it has no networks to train. Leave it out."
    if name == "max_epochs":
        return f"{found}: its networks are trained by steps. Write max_steps=..."
    if name in INSTEAD:
        # The class of the streams is called after them, its settings are not.
        config = f"{model.removesuffix('Mamba')}Config"
        return f"{found}: {INSTEAD[name].format(name=model, config=config)}."
    near = difflib.get_close_matches(name, taken, n=1)
    meant = f" Did you mean {near[0]}=...?" if near else ""
    return f"{found}.{meant} It takes {taken}."
