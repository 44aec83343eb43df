"""The compiled part of the log generator (see data.py): draws items, ratings and times."""

# ruff: noqa: NPY002 - compiled code draws from Numba's own generator, whose numbers stay the same

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

MEAN, NOISE = 3.35, 0.74
DRIFT = 0.9  # rotation of a user's preferences over the whole period, in radians
GAIN, THRESHOLD = 4.0, 0.35  # of the logistic probability that an item is rated, given its score
PATIENCE, TRIES = 40, 400  # rejections until any item is accepted; repeats until an unpopular one is


@njit(cache=True)
def draw_events(seed: int, counts: Any, presence: Any, catalogue: Any, vectors: Any, biases: Any) -> Any:
    """Generate the columns users, items, values and times, user by user."""
    np.random.seed(seed)
    arrival, stay = presence
    accepted, alias, birth = catalogue
    taste, turned, traits = vectors
    user_biases, item_biases = biases
    total, n_items, rank = counts.sum(), accepted.shape[0], traits.shape[1]
    users, items = np.empty(total, np.int32), np.empty(total, np.int32)
    values, times = np.empty(total, np.float32), np.empty(total, np.float64)
    rated_by = np.full(n_items, -1, np.int32)
    now = np.empty(rank)
    event = 0
    for user in range(counts.shape[0]):
        for _ in range(counts[user]):
            time = arrival[user] + stay[user] * np.random.random()
            angle = DRIFT * (time - arrival[user])
            cosine, sine = np.cos(angle), np.sin(angle)
            for d in range(rank):
                now[d] = cosine * taste[user, d] + sine * turned[user, d]
            chosen, liking = -1, 0.0
            for tries in range(TRIES):
                item = np.random.randint(n_items)
                if np.random.random() >= accepted[item]:
                    item = alias[item]
                if rated_by[item] == user or birth[item] > time:
                    continue
                liking = 0.0
                for d in range(rank):
                    liking += now[d] * traits[item, d]
                chosen = item
                if tries > PATIENCE or np.random.random() < 1.0 / (1.0 + math.exp(-GAIN * (liking - THRESHOLD))):
                    break
            if chosen < 0:
                chosen = np.random.randint(n_items)
                while rated_by[chosen] == user:
                    chosen = np.random.randint(n_items)
                liking = 0.0
                for d in range(rank):
                    liking += now[d] * traits[chosen, d]
            rated_by[chosen] = user
            value = MEAN + user_biases[user] + item_biases[chosen] + liking + NOISE * np.random.standard_normal()
            users[event], items[event], times[event] = user, chosen, time
            values[event] = min(5.0, max(0.5, np.round(2.0 * value) / 2.0))
            event += 1
    return users, items, values, times
