"""The results of a run as Markdown tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.peers.found import ENOUGH, Found, disturbed, label, number, share, table, times
from benchmarks.peers.memory import PER_EVENT
from benchmarks.peers.plan import RANKING, SLOW_FACTORS, SLOW_PEERS

OURS = ("fastmf", "fastmf SGD", "fastmf float16")


def report(found: dict[str, Any]) -> str:
    """All tables, with the machine and the versions above them."""
    sections = [f"{title}\n\n{body}" for title, body in _sections(found["results"]) if body]
    parts = [machine(found), quiet(found["results"]), *sections, *absent(found)]
    return "\n\n".join(filter(None, parts))


def machine(found: dict[str, Any]) -> str:
    """The machine and the versions that the measurements depend on."""
    described = found["machine"]
    versions = found["versions"] | {"numba": described["numba"]}
    libraries = ", ".join(f"{label(name) if name == 'libmf' else name} {versions[name]}".strip() for name in versions)
    return f"{described['processor']}, {described['cores']} cores; {described['system']}; {libraries}."


def quiet(results: list[dict[str, Any]]) -> str:
    """The share of the machine that contestants had, as a sentence."""
    timed = [row for row in results if "cores" in row]
    rest = sum(disturbed(row) for row in timed)
    if not rest:
        return ""
    return (
        f"Other work took part of the machine: {rest} of {len(timed)} measurements held less than {ENOUGH:.0%} of the "
        "cores that they asked for, and count only where no round was quiet."
    )


def threads_of(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def _sections(results: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    suites: dict[str, tuple[str, Callable[[Found], str]]] = {
        "explicit": ("**Training**: million ratings times epochs in a second, set-up taken out", explicit),
        "ceiling": ("**Ceiling**: the same work in C, million ratings in a second", ceiling),
        "quality": ("**Quality**: until the test RMSE is within 1 % of LIBMF's best, set-up included", quality),
        "rating_quality": ("**Ratings**: the error of models fitted alike", rating_quality),
        "online": ("**Online**: single events and batches of 10,000, p50 / p99 / max in µs", online),
        "topk": ("**Top 10** of all items, seen ones removed", topk),
        "memory": ("**Memory** of a fit, beyond the caller's arrays", memory),
        "ranking": ("**Training for ranking**: million positives times epochs in a second, set-up taken out", ranking),
        "ranking_quality": ("**Ranking**: the whole catalogue, items of the training set left out", ranking_quality),
        "incremental": ("**Kept current**: one event, both rows solved anew, p50 / p99 / max in µs", incremental),
    }
    for suite, (title, body) in suites.items():
        found = Found(results, suite)
        if found.rows:
            yield title, body(found)


def absent(found: dict[str, Any]) -> Iterator[str]:
    """What was not measured, and why."""
    if found["missing"]:
        yield "Not installed: " + ", ".join(found["missing"]) + "."
    for failure in found["failures"]:
        settings = {name: value for name, value in failure.items() if name not in ("suite", "contestant", "error")}
        yield f"Failed: {failure['suite']}, {failure['contestant']}, {settings}: {failure['error']}"


def explicit(found: Found) -> str:
    head = ["log", "factors", "threads", "LIBMF", *(f"{label(who)} (to LIBMF)" for who in OURS), "cores held"]
    rows = []
    for shape, factors, threads in found.keys("shape", "factors", "threads", contestant="fastmf"):
        where = {"shape": shape, "factors": factors, "threads": threads}
        cells = [_rate(found, who, "libmf", where) for who in OURS]
        cores = " / ".join(number(found.value(who, "cores", **where)) for who in ("libmf", "fastmf"))
        rows.append([shape, str(factors), str(threads), number(found.value("libmf", "rate", **where)), *cells, cores])
    return table(head, rows) + _slow(found)


def _rate(found: Found, contestant: str, rival: str, where: dict[str, Any]) -> str:
    rate, ratio = found.value(contestant, "rate", **where), found.ratio(contestant, rival, "rate", **where)
    return "–" if rate is None else f"{number(rate)} ({times(ratio)})"


def _slow(found: Found) -> str:
    rows = []
    for peer in SLOW_PEERS:
        for (shape,) in found.keys("shape", contestant=peer):
            where = {"shape": shape, "factors": SLOW_FACTORS, "threads": 1}
            rate, ratio = found.value(peer, "rate", **where), found.ratio("fastmf", peer, "rate", **where)
            rows.append([label(peer), f"{shape}, {SLOW_FACTORS} factors, 1 thread", number(rate), times(ratio)])
    return "\n\n" + table(["peer", "log", "rate", "fastmf, AdaGrad, to it"], rows) if rows else ""


def ceiling(found: Found) -> str:
    named = ["fastmf", "C, same order", "share", "C, best order", "in flight", "share", "cores held"]
    rows = []
    for cell, one in [(row, one) for row in found.rows for one in row["rows"]]:
        same, best = one["same"], one["best"]
        cells = [
            number(same["rate"]),
            share(same["share"]),
            number(best["rate"]),
            str(best["flight"]),
            share(best["share"]),
        ]
        start = [cell["shape"], str(cell["threads"]), str(one["factors"]), one["solver"], number(one["rate"])]
        rows.append([*start, *cells, number(one["cores"])])
    return table(["log", "threads", "factors", "solver", *named], rows)


def quality(found: Found) -> str:
    names = [
        "LIBMF's best RMSE",
        "fastmf's RMSE",
        "epochs, LIBMF",
        "epochs, fastmf",
        "LIBMF",
        "fastmf",
        "LIBMF / fastmf",
    ]
    head = ["log", "threads", *names]
    rows = []
    for shape, threads in found.keys("shape", "threads", contestant="libmf errors"):
        where = {"shape": shape, "threads": threads}
        best, ours = (found.one(f"{who} errors", **where) or {} for who in ("libmf", "fastmf"))
        seconds = [number(found.value(who, "seconds", **where)) + " s" for who in ("libmf", "fastmf")]
        errors = [f"{best['best']:.4f}", f"{ours.get('best', float('nan')):.4f}"]
        epochs = [str(best["epochs"]), str(ours.get("epochs") or "never")]
        ratio = times(found.ratio("libmf", "fastmf", "seconds", **where))
        rows.append([shape, str(threads), *errors, *epochs, *seconds, ratio])
    return table(head, rows)


def online(found: Found) -> str:
    head = ["log", "library", "learn one", "predict one", "events/s in batches"]
    rows = []
    for (shape,) in found.keys("shape"):
        for who in found.contestants(shape=shape):
            calls = [
                " / ".join(number(found.value(who, f"{call}.{part}", shape=shape)) for part in ("p50", "p99", "max"))
                for call in ("learn", "predict")
            ]
            name = "fastmf" if who == "fastmf" else label(who)
            rows.append([shape, name, *calls, number(found.value(who, "batch", shape=shape))])
    return table(head, rows)


def topk(found: Found) -> str:
    head = ["log", "threads", "library", "users/s", "of the bare product", "fastmf to it", "one user, p50", "cores"]
    rows = []
    for shape, threads in found.keys("shape", "threads"):
        where = {"shape": shape, "threads": threads}
        for who in found.contestants(**where):
            ratios = [
                share(found.ratio(who, "numpy matmul", "rate", **where)),
                times(found.ratio("fastmf", who, "rate", **where)),
            ]
            alone, cores = (number(found.value(who, field, **where)) for field in ("alone.p50", "cores"))
            name = "fastmf" if who == "fastmf" else label(who)
            rate = number(found.value(who, "rate", **where))
            rows.append([shape, str(threads), name, rate, *ratios, f"{alone} µs", cores])
    return table(head, rows)


def memory(found: Found) -> str:
    limit = f"of {PER_EVENT} bytes an event and twice the factors"
    head = ["log", "factors", "library", "growth", "bytes an event", "times the factors", limit]
    rows = []
    for row in found.rows:
        allowed = PER_EVENT * row["events"] + 2 * row["tables"]
        cells = [number(row["grown"] / 1e6) + " MB", number(row["grown"] / row["events"])]
        name = "fastmf" if row["contestant"] == "fastmf" else label(row["contestant"])
        ratios = [number(row["grown"] / row["tables"]), share(row["grown"] / allowed)]
        rows.append([row["shape"], str(row["factors"]), name, *cells, *ratios])
    return table(head, rows)


def ranking(found: Found) -> str:
    """A line per contestant, with the fastmf model that uses the same method."""
    head = ["log", "threads", "factors", "library", "rate", "fastmf to it", "set-up", "cores held"]
    rows = []
    for shape, threads, factors in found.keys("shape", "threads", "factors"):
        where = {"shape": shape, "threads": threads, "factors": factors}
        for who in found.contestants(**where):
            ratio = times(found.ratio(ours_for(who), who, "rate", **where))
            rate, setup, cores = (number(found.value(who, field, **where)) for field in ("rate", "setup", "cores"))
            rows.append([shape, str(threads), str(factors), label(who), rate, ratio, f"{setup} s", cores])
    return table(head, rows)


def ours_for(contestant: str) -> str:
    """The fastmf contestant with the same method."""
    return next((f"fastmf {method}" for method in RANKING if contestant.endswith(method)), "")


def rating_quality(found: Found) -> str:
    head = ["log", "factors", "library", "test RMSE", "settings tried", "fit, one thread"]
    rows = []
    for row in found.rows:
        cells = [f"{row['rmse']:.4f}", str(row["tried"]), f"{number(row['seconds'])} s"]
        rows.append([row["shape"], str(row["factors"]), label(row["contestant"]), *cells])
    return table(head, rows)


def ranking_quality(found: Found) -> str:
    head = ["log", "factors", "library", "NDCG@10", "fastmf to it", "Recall@20", "epochs", "fit"]
    rows = []
    for shape, factors in found.keys("shape", "factors"):
        where = {"shape": shape, "factors": factors}
        for who in found.contestants(**where):
            ndcg, recall = (f"{found.value(who, field, **where):.4f}" for field in ("ndcg", "recall"))
            ratio = times(found.ratio(ours_for(who), who, "ndcg", **where))
            epochs, seconds = (number(found.value(who, field, **where)) for field in ("epochs", "seconds"))
            rows.append([shape, str(factors), label(who), ndcg, ratio, recall, epochs, f"{seconds} s"])
    return table(head, rows)


def incremental(found: Found) -> str:
    head = ["log", "library", "rows of at most 1,000 events", "fastmf to it", "a longer row", "fastmf to it"]
    rows = []
    for shape, who in [cell for cell in found.keys("shape", "contestant") if not cell[1].endswith("block")]:
        cells = []
        for kind in ("short", "long"):
            parts = (number(found.value(who, f"{kind}.{part}", shape=shape)) for part in ("p50", "p99", "max"))
            cells += [" / ".join(parts), times(found.ratio(who, ours_for(who), f"{kind}.p50", shape=shape))]
        rows.append([shape, label(who), *cells])
    return "\n\n".join(filter(None, [table(head, rows) if rows else "", _blocks(found)]))


def _blocks(found: Found) -> str:
    """Updates with a block of events against retraining."""
    measured = ["NDCG@10 before", "updated", "retrained", "updated to retrained", "update, CPU", "retrain, CPU", "less"]
    rows = []
    for row in [row for row in found.rows if row["contestant"].endswith("block")]:
        ranked = [f"{row[stage]:.4f}" for stage in ("before", "updated", "retrained")]
        cost = [f"{number(row['update'])} s", f"{number(row['retrain'])} s", times(row["less"])]
        name = label(row["contestant"].removesuffix(" block"))
        rows.append([row["shape"], name, number(row["events"]), *ranked, f"{row['quality']:.1%}", *cost])
    return table(["log", "library", "events", *measured], rows) if rows else ""
