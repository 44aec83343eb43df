"""One sentence of advice from the outcomes of strategies, with its numbers."""

from __future__ import annotations

from collections.abc import Callable

from fastmf.comparison.results import Advice, StrategyOutcome
from fastmf.comparison.strategies import which_of
from fastmf.evaluation import METRIC_NAMES, Metric, sign

__all__ = ["advise"]

ENOUGH = 0.95  # share of the best strategy's gain that a cheaper one has to keep
ALIKE = 0.002  # relative difference of two values that are called as good as each other


Clear = Callable[[str, str], bool]


def advise(
    found: dict[str, StrategyOutcome], metric: Metric, clear: Clear, spelled: dict[str, str] | None = None
) -> Advice:
    """Advise on what to do.

    Parameters
    ----------
    found : dict of str to StrategyOutcome
    metric : str
    clear : callable
        ``clear(one, other)`` says whether the 95 % interval of the difference of two strategies leaves out zero.
    spelled : dict of str to str, optional
        Names of the cadences in the sentence.

    Returns
    -------
    Advice
    """
    better = sign(metric)

    def quality(name: str) -> float:
        return better * found[name].value

    kept = [name for name, one in found.items() if one.kind != "popularity"]
    best = max((name for name in kept if not found[name].sampled), key=quality)
    unsure = [name for name in kept if found[name].sampled and quality(name) > quality(best) and clear(name, best)]
    best = max([best, *unsure], key=quality)
    retrain = max((name for name in kept if found[name].kind == "full"), key=quality)
    never = max((name for name in kept if found[name].kind == "frozen"), key=quality)
    gain = quality(best) - quality(never)
    title, first, which = METRIC_NAMES[metric], found[never].value, _which(found[never])
    if gain <= 0 or not clear(best, never):
        sentence = f"Leave the model{which} alone: nothing is clearly better than never updating ({title} {first:.4f})."
        return Advice(sentence, never, best, retrain)
    sure = [name for name in kept if not found[name].sampled or name in unsure]
    enough = [name for name in sure if quality(name) - quality(never) >= ENOUGH * gain]
    alike = [name for name in sure if clear(name, never) and not clear(name, best) and quality(name) > quality(never)]
    chosen = min({*enough, *alike}, key=lambda name: (found[name].cpu_seconds, name))
    one, other = found[chosen], found[retrain]
    start = f"{_spelled(one, spelled or {})}: {title} {one.value:.4f}, {first:.4f} if{which} never updated"
    if chosen == retrain:
        return Advice(f"{start}, for {one.cpu_seconds:.3g} CPU seconds.", chosen, best, retrain)
    judged = _judged(better * (one.value - other.value) / abs(other.value), clear(chosen, retrain))
    reach = f" ± {(other.interval[1] - other.interval[0]) / 2:.4f}" if other.sampled else ""
    against = f"the best retraining (every {other.every}{_which(other)}: {other.value:.4f}{reach})"
    return Advice(f"{start}; {judged} {against}, {_cost(other, one)}.", chosen, best, retrain)


def _spelled(one: StrategyOutcome, spelled: dict[str, str]) -> str:
    """The imperative of a strategy."""
    verb = {"full": "Retrain", "warm": "Warm-start"}.get(one.kind, "Update")
    again = one.retrain_every and f" and retrain every {spelled.get(one.retrain_every, one.retrain_every)}"
    return f"{verb}{_which(one)} every {spelled.get(one.every or '', one.every)}{again or ''}"


def _which(one: StrategyOutcome) -> str:
    """The names of a model and a recipe that are not the first ones."""
    return which_of(one.model, one.preset)


def _judged(gap: float, clear: bool) -> str:
    if not clear or abs(gap) <= ALIKE:
        return "as good as"
    return "better than" if gap > 0 else f"{-gap:.1%} worse than"


def _cost(dear: StrategyOutcome, cheap: StrategyOutcome) -> str:
    ratio = dear.cpu_seconds / cheap.cpu_seconds if cheap.cpu_seconds else float("inf")
    if ratio < 1:
        return f"{1 / ratio:.1f} times the CPU"
    return f"{ratio:,.0f} times cheaper" if ratio >= 10 else f"{ratio:.1f} times cheaper"
