"""Hints in error messages for users of other libraries, and for misspelled names.

Hints do not change what is accepted: each is the end of the message of an error that would be raised anyway.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Any, TypeVar, cast

from fastmf import losses, optimizers, regularizers, samplers

__all__ = ["hinted", "hinted_methods", "of_events", "of_method", "of_value"]

_Class = TypeVar("_Class", bound=type)

# Names of implicit, LightFM, Surprise, scikit-learn, river, LIBMF and neural libraries, by their name in fastmf.
_MEANS = {
    name: ours
    for ours, names in {
        "factors": "n_factors num_factors no_components n_components num_components embedding_dim embedding_size "
        "latent_dim n_latent hidden_dim latent_factors dim rank n_dims",
        "epochs": "iterations n_iter n_iters num_iter n_iterations num_iterations max_iter n_epochs num_epochs "
        "nb_epochs epoch iters",
        "rate": "learning_rate lr lr_all eta eta0 learn_rate step_size alpha0",
        "regularizer": "regularization reg reg_all reg_param l2 l2_reg lambda_ reg_lambda weight_decay user_alpha "
        "item_alpha regularisation",
        "solver": "optimizer optim algorithm learning_schedule",
        "loss": "loss_function objective criterion",
        "biases": "bias use_bias use_biases biased fit_intercept",
        "seed": "random_state random_seed rng",
        "threads": "num_threads n_threads n_jobs num_workers n_workers nthreads",
        "memory": "max_memory memory_limit",
        "deterministic": "reproducible",
        "storage": "dtype precision",
        "device": "use_gpu gpu cuda",
        "confidence": "alpha confidence_weight implicit_prefs",
        "negatives": "n_negatives num_negatives num_neg neg_ratio negative_samples n_neg max_sampled",
        "validation": "validation_fraction validation_split val_split eval_set validation_data early_stopping",
        "batch_size": "batchsize minibatch_size mini_batch_size bs",
        "progress": "verbose show_progress progress_bar verbosity",
        "callbacks": "callback",
        "half_life": "halflife time_decay decay forgetting",
        "values": "y ratings rating targets labels value",
        "weights": "sample_weight sample_weights weight",
        "times": "timestamps timestamp time ts t",
        "events": "X interactions user_items trainset train data df ratings_df batch",
        "trainable": "freeze frozen train_users train_items",
        "user": "user_col col_user user_column",
        "item": "item_col col_item item_column",
        "value": "rating_col value_col col_rating rating_column",
        "time": "timestamp_col time_col col_timestamp",
        "users": "user_ids userid user_id userids uid uids user",
        "items": "item_ids itemid item_id itemids iid iids item",
        "k": "N n top_k topk top_n n_recommendations num_recommendations num",
        "exclude_seen": "filter_already_liked_items filter_seen remove_seen filter_already_liked exclude_known",
        "exclude": "filter_items exclude_items",
    }.items()
    for name in names.split()
}

# Which call has a parameter that another call lacks: the call, and the argument with {} for the value.
_HOMES = {
    "factors": ("MF", "factors={}"),
    "epochs": ("fit", "epochs={}"),
    "rate": ("MF", "solver=optimizers.AdaGrad(rate={})"),
    "regularizer": ("MF", "regularizer=regularizers.L2({})"),
    "solver": ("MF", "solver=optimizers.AdaGrad()"),
    "loss": ("MF", "loss=losses.Squared()"),
    "biases": ("MF", "biases={}"),
    "seed": ("MF", "seed={}"),
    "threads": ("MF", "options=fastmf.Options(threads={})"),
    "memory": ("MF", "options=fastmf.Options(memory={})"),
    "deterministic": ("MF", "options=fastmf.Options(deterministic={})"),
    "storage": ("MF", 'options=fastmf.Options(storage="float32")'),
    "device": ("MF", 'options=fastmf.Options(device="cpu")'),
    "confidence": ("MF", "loss=losses.Confidence(alpha={})"),
    "negatives": ("MF", "loss=losses.Logistic(negatives={})"),
    "sampler": ("MF", "loss=losses.BPR(sampler=samplers.Uniform())"),
    "validation": ("fit", "validation=0.1"),
    "batch_size": ("fit", "batch_size={}"),
    "progress": ("fit", "progress={}"),
    "callbacks": ("fit", "callbacks=[...]"),
    "half_life": ("fit", "half_life={}"),
    "values": ("fastmf.Interactions", "users, items, values=..."),
    "weights": ("fastmf.Interactions", "users, items, weights=..."),
    "times": ("fastmf.Interactions", "users, items, times=..."),
    "trainable": ("update", 'trainable="users"'),
    "k": ("recommend", "k={}"),
    "exclude_seen": ("recommend", "exclude_seen={}"),
    "exclude": ("recommend", "exclude={}"),
}
_CALLS = {"MF": "MF({})", "fit": "fit(events, {})", "update": "update(batch, {})", "recommend": "recommend(users, {})"}

# Values by their names in other libraries.
_VALUES = {
    "loss": (
        losses,
        {
            "mse rmse l2 squared_error squared_loss mean_squared_error least_squares explicit regression": "Squared()",
            "huber_loss smooth_l1 mae l1 absolute_error": "Huber()",
            "bce log_loss logloss cross_entropy cross-entropy binary_crossentropy log": "Logistic()",
            "als ials implicit wals implicit_als wrmf": "Confidence()",
            "bpr_loss pairwise": "BPR()",
            "warp-kos warp_kos hinge": "WARP()",
            "softmax_loss multinomial": "Softmax()",
            "sampled-softmax sampled_softmax infonce in_batch": "SampledSoftmax()",
        },
    ),
    "solver": (
        optimizers,
        {
            "adadelta adam adamw rmsprop": "AdaGrad()",
            "cg cholesky": "ALS()",
            "ccd eals": 'ALS(method="eals")',
            "gd": "SGD()",
        },
    ),
    "regularizer": (regularizers, {"ridge": "L2()", "none": "L2(0.0)"}),
    "sampler": (samplers, {"random": "Uniform()", "popularity pop": "Popular()", "in_batch in-batch": "InBatch()"}),
}
_OF_A_NUMBER = {"solver": "AdaGrad(rate={})", "regularizer": "L2({})"}


# --- keywords ---------------------------------------------------------------------------------------------------------


def hinted_methods(*names: str) -> Callable[[_Class], _Class]:
    """Decorate a class: apply `hinted` to these methods, which it must define itself."""

    def hint(kind: _Class) -> _Class:
        for name in names:
            setattr(kind, name, hinted(vars(kind)[name]))
        return kind

    return hint


def hinted(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a function so that its error for an unknown argument says what to write instead.

    The signature is preserved.
    """
    if isinstance(function, (classmethod, staticmethod)):
        return cast("Callable[..., Any]", type(function)(hinted(function.__func__)))
    name = next(part for part in reversed(function.__qualname__.split(".")) if not part.startswith("__"))
    taken = inspect.signature(function).parameters
    swallows = any(one.kind is one.VAR_KEYWORD for one in taken.values())
    positions = sum(one.kind is one.POSITIONAL_OR_KEYWORD for one in taken.values())

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if not (swallows or kwargs.keys() <= taken.keys()):
            unknown = next(one for one in kwargs if one not in taken)
            given = {*list(taken)[: len(args)], *kwargs}
            instead = _instead(name, unknown, kwargs[unknown], taken, given)
            raise TypeError(f"{name}() takes no {unknown!r}; {instead}")
        if len(args) > positions and not _EVENTS.isdisjoint(taken):
            raise TypeError(f"{name}() takes one value for all events; write fastmf.Interactions(users, items, values)")
        return function(*args, **kwargs)

    return call


def _instead(call: str, unknown: str, value: Any, taken: Iterable[str], given: set[str]) -> str:
    """Return what to write in place of an unknown keyword of a call with these arguments."""
    ours = [name for name in taken if name not in ("self", "cls", "_cls")]
    meant = _meaning(unknown, ours)
    if meant is None:
        return f"it takes {', '.join(ours)}"
    if meant in _EVENTS:
        return of_events(value).removeprefix("; ")
    plain = isinstance(value, str) or (isinstance(value, (bool, int, float)) and value >= 0)  # n_jobs=-1 is no number
    shown = repr(value) if plain and len(repr(value)) < 30 else "..."
    home, argument = _HOMES.get(meant, ("", ""))
    if meant in ours:
        written = argument if argument.startswith(f"{meant}=") else f"{meant}={{}}"
    elif home == call:
        written = argument
    else:
        written = _CALLS.get(home, f"{home}({{}})").replace("{}", argument)
    if call == "MF" and meant == "regularizer" and given.isdisjoint({"loss", "solver"}):  # the default solver has none
        written = f"solver=optimizers.AdaGrad(), {written}"
    return f"write {written.replace('{}', shown)}"


def _meaning(unknown: str, ours: list[str]) -> str | None:
    """Return the name in fastmf that is meant, of the parameters of the call or of another one; None if unknown."""
    known = {name.lower(): meant for name, meant in _MEANS.items() if meant in _HOMES or meant in ours}
    known |= {name: name for name in [*_HOMES, *ours]}
    return known.get(_closest(unknown, known))


def _closest(name: str, known: Iterable[str]) -> str:
    """Return the closest known name, or an empty str. Short names must match exactly: many differ by one letter."""
    names, name = list(known), name.lower()
    return name if name in names else next(iter(get_close_matches(name, names, 1, 0.8) if len(name) > 4 else ()), "")


# --- values -----------------------------------------------------------------------------------------------------------


def of_value(role: str, given: Any) -> str:
    """Return how to write a value that was given as a name, a number or a class; an empty str if unknown."""
    room, aliases = _VALUES[role]
    home = room.__name__.rpartition(".")[2]
    if isinstance(given, type):
        return f"; write {home}.{given.__name__}()" if given.__name__ in room.__all__ else f"; write {given.__name__}()"
    if isinstance(given, (int, float)) and not isinstance(given, bool) and role in _OF_A_NUMBER:
        return f"; write {home}.{_OF_A_NUMBER[role].format(given)}"
    if not isinstance(given, str):
        return ""
    known = {alias: value for names, value in aliases.items() for alias in names.split()}
    known |= {name.lower(): f"{name}()" for name in room.__all__}
    close = _closest(given, known)
    written = [known[close]] if close else [f"{name}()" for name in room.__all__]
    return f"; write {' or '.join(f'{home}.{one}' for one in written)}"


_FORMERLY = {"inverse_link": "link", "gradient": "pull", "acceptance": "keep", "loss_and_gradient": "grade"}  # in 0.1


def of_method(kind: type, missing: str) -> str:
    """Return a hint if a class has the missing method under the name that it had in an earlier version."""
    old = _FORMERLY.get(missing, missing)
    return f"; rename {old}, as it was called once" if old != missing and hasattr(kind, old) else ""


# --- events -----------------------------------------------------------------------------------------------------------

_EVENTS = {"events", "batch"}  # parameters that take Interactions
_FRAMES = {"cudf", "dask", "duckdb", "ibis", "modin", "narwhals", "pandas", "polars", "pyarrow", "pyspark"}


def of_events(given: Any) -> str:
    """Return how to make Interactions of the object that was given instead."""
    kind = type(given)
    tabular = any(word in kind.__name__.lower() for word in ("frame", "table", "relation", "recordbatch"))
    if hasattr(given, "tocsr"):
        return "; write fastmf.Interactions.from_sparse(matrix)"
    if isinstance(given, dict) or (tabular and kind.__module__.partition(".")[0] in _FRAMES):
        return '; write fastmf.Interactions.from_frame(df, user="...", item="...", value="...")'
    if kind.__name__ == "Delta":
        return "; write apply(delta)"
    if isinstance(given, (str, os.PathLike)):
        reader = "from_parquet" if str(given).endswith((".parquet", ".pq")) else "from_csv"
        return f"; write fastmf.Interactions.{reader}(path)"
    shape = getattr(given, "shape", None)
    if isinstance(shape, tuple) and len(shape) == 2:
        return _of_matrix(int(shape[1]))
    if isinstance(given, (list, tuple)) and given and isinstance(given[0], (list, tuple)):
        return "; write fastmf.Interactions(*zip(*events)), of tuples (user, item, value, time)"
    return "; write fastmf.Interactions(users, items, values)"


def _of_matrix(width: int) -> str:
    """Return the call for a matrix: a few columns are those of Interactions, otherwise it has a cell per pair."""
    if 2 <= width <= 4:
        columns = ("users", "items", "values", "times")[:width]
        return f"; write fastmf.Interactions({', '.join(f'{one}=x[:, {n}]' for n, one in enumerate(columns))})"
    return "; write fastmf.Interactions.from_sparse(scipy.sparse.csr_array(x))"
