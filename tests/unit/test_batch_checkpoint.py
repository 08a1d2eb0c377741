"""What of a slice has ended: kept line by line, by one run at a time."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from batches import part_writer, results
from batches.checkpoint import Checkpoint
from contracts.errors import DependencyUnavailable, Overtaken
from stores.batches import BatchStore
from tests.unit.fakes import MemoryContainer

OUT, ERR, LEFT = (f"default/slices/b/00000.{kind}" for kind in ("out", "err", "left"))


def out(custom_id: str, tokens: int = 1, size: int = 0) -> results.Kept:
    body = {"usage": {"prompt_tokens": tokens}, "text": "x" * size}
    return results.answered("b", custom_id, "r", body)


def err(custom_id: str) -> results.Kept:
    return results.not_run("b", custom_id, "batch_expired", "")


class Slice:
    """A slice's blobs, and runs of it."""

    def __init__(self) -> None:
        self.blobs = MemoryContainer()
        self.store = BatchStore(cast(Any, self.blobs))

    def checkpoint(self) -> Checkpoint:
        return Checkpoint(self.store, OUT, ERR, LEFT)

    async def run(self, *lines: results.Kept) -> Checkpoint:
        """One whole run that keeps these lines."""
        checkpoint = self.checkpoint()
        await checkpoint.read()
        checkpoint.add(lines)
        await checkpoint.flush()
        await checkpoint.put_note()
        return checkpoint

    def ids(self, name: str) -> list[str]:
        return [json.loads(line)["custom_id"] for line in self.blobs.blobs[name].splitlines()]


@pytest.fixture
def piece() -> Slice:
    return Slice()


async def test_a_later_run_reads_what_an_earlier_one_kept(piece):
    await piece.run(out("a", 3), err("b"), results.left("c", results.Left(tries=2)))
    checkpoint = piece.checkpoint()
    assert await checkpoint.read() == {"a", "b"}
    assert (checkpoint.ended, checkpoint.failed) == (2, 1)
    assert checkpoint.left == {"c": results.Left(tries=2)}


async def test_notes_tell_counts_and_tokens_over_all_runs(piece):
    await piece.run(out("a", 3), err("b"))
    await piece.run(out("c", 4), out("d", 5))
    progress = await piece.store.progress("default", "b")
    assert (progress.counts.completed, progress.counts.failed) == (3, 1)
    assert progress.tokens.input == 12


async def test_a_new_run_does_not_take_back_the_progress_that_was_shown(piece):
    await piece.run(out("a"), out("b"))
    checkpoint = piece.checkpoint()
    await checkpoint.read()
    assert (await piece.store.progress("default", "b")).counts.completed == 2


async def test_of_what_is_known_of_a_line_the_last_holds_and_ended_lines_need_none(piece):
    await piece.run(*(results.left("a", results.Left(tries=n)) for n in (1, 2)))
    await piece.run(results.left("b", results.Left(tries=1)), out("b"))
    checkpoint = piece.checkpoint()
    await checkpoint.read()
    assert checkpoint.left == {"a": results.Left(tries=2)}


async def test_lines_that_are_not_left_need_no_third_blob(piece):
    await piece.run(out("a"), err("b"))
    assert set(piece.blobs.blobs) == {OUT, ERR}


async def test_a_block_holds_whole_lines_and_a_long_line_alone_may_exceed_it(piece, monkeypatch):
    monkeypatch.setattr(part_writer, "MOST_BLOCK_BYTES", 1000)
    await piece.run(*(out(f"r{n}", size=n % 3 * 600) for n in range(20)))
    assert piece.ids(OUT) == [f"r{n}" for n in range(20)]
    assert piece.blobs.calls["append_as"] > 10


async def test_a_result_longer_than_any_input_line_is_read_again(piece):
    await piece.run(out("a", size=20_000_000), out("b"))
    assert await piece.checkpoint().read() == {"a", "b"}


# Two runs.


async def test_the_run_that_began_last_has_the_blobs(piece):
    first, second = piece.checkpoint(), piece.checkpoint()
    await first.read()
    await second.read()
    for checkpoint in (second, first):
        checkpoint.add([out("a")])
    await second.flush()
    with pytest.raises(Overtaken):
        await first.flush()
    assert piece.ids(OUT) == ["a"]


async def test_also_where_the_two_write_different_files(piece):
    """The line failed in the one run, and was answered in the other."""
    first, second = piece.checkpoint(), piece.checkpoint()
    await first.read()
    await second.read()
    second.add([err("a")])
    await second.flush()
    first.add([out("a")])
    with pytest.raises(Overtaken):
        await first.flush()
    assert (piece.ids(OUT), piece.ids(ERR)) == ([], ["a"])


async def test_an_overtaken_run_cannot_even_note(piece):
    first = piece.checkpoint()
    await first.read()
    first.add([err("b")])
    await first.flush()
    await piece.run(out("a"))
    with pytest.raises(Overtaken):
        await first.put_note()
    assert (await piece.store.progress("default", "b")).counts.completed == 1


# Storage that fails.


class Flaky:
    """Makes some operations fail, before they were made or after."""

    def __init__(self, blobs: MemoryContainer, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fails: list[str] = []
        """For the changes to come: "before", "after" or ""."""
        for name in ("append_as", "describe_as", "take"):
            monkeypatch.setattr(blobs, name, self._wrapped(getattr(blobs, name)))

    def _wrapped(self, operation: Any) -> Any:
        async def call(*args: Any) -> Any:
            how = self.fails.pop(0) if self.fails else ""
            if how == "before":
                raise DependencyUnavailable("Lost.")
            result = await operation(*args)
            if how == "after":
                raise DependencyUnavailable("Lost on the way back.")
            return result

        return call


@pytest.mark.parametrize("how", ["before", "after"])
async def test_an_append_that_failed_is_made_once_when_it_is_tried_again(piece, monkeypatch, how):
    checkpoint = piece.checkpoint()
    await checkpoint.read()
    flaky = Flaky(piece.blobs, monkeypatch)
    checkpoint.add([out("a", 3), err("b")])
    for n, fails in enumerate(([how], ["", how]), start=1):
        flaky.fails = fails
        with pytest.raises(DependencyUnavailable) as failed:
            await checkpoint.flush()
        assert not isinstance(failed.value, Overtaken)
        checkpoint.add([out(f"later {n}", 1), err(f"worse {n}")])
    await checkpoint.flush()
    await checkpoint.put_note()
    assert piece.ids(OUT) == ["a", "later 1", "later 2"]
    assert piece.ids(ERR) == ["b", "worse 1", "worse 2"]
    assert (await piece.store.progress("default", "b")).tokens.input == 5


@pytest.mark.parametrize("how", ["before", "after"])
async def test_after_a_note_that_failed_lines_are_kept_as_before(piece, monkeypatch, how):
    checkpoint = piece.checkpoint()
    await checkpoint.read()
    checkpoint.add([out("a")])
    await checkpoint.flush()
    Flaky(piece.blobs, monkeypatch).fails = [how]
    with pytest.raises(DependencyUnavailable):
        await checkpoint.put_note()
    checkpoint.add([out("b")])
    await checkpoint.flush()
    await checkpoint.put_note()
    assert piece.ids(OUT) == ["a", "b"]
    assert (await piece.store.progress("default", "b")).counts.completed == 2


async def test_what_has_not_changed_is_not_noted_again(piece):
    checkpoint = await piece.run(out("a"))
    noted = piece.blobs.calls["describe_as"]
    await checkpoint.put_note()
    assert piece.blobs.calls["describe_as"] == noted


async def test_a_failed_append_of_an_overtaken_run_is_not_taken_for_made(piece, monkeypatch):
    """Though the other run has appended the very same bytes."""
    first = piece.checkpoint()
    await first.read()
    first.add([out("a")])
    Flaky(piece.blobs, monkeypatch).fails = ["before"]
    with pytest.raises(DependencyUnavailable):
        await first.flush()
    await piece.run(out("a"))
    with pytest.raises(Overtaken):
        await first.flush()
    assert piece.ids(OUT) == ["a"]


# Starts.


async def begun(piece: Slice, worker: str) -> Checkpoint:
    """A run that is begun, and of which no more is heard."""
    checkpoint = Checkpoint(piece.store, OUT, ERR, LEFT, worker=worker)
    await checkpoint.read()
    return checkpoint


async def test_starts_are_counted_while_workers_die_and_no_line_ends(piece):
    assert [(await begun(piece, f"w{n}")).starts for n in range(4)] == [1, 2, 3, 4]
    dying = await begun(piece, "w4")
    dying.add([out("a")])
    await dying.flush()
    assert [(await begun(piece, f"v{n}")).starts for n in range(3)] == [1, 2, 3]


async def test_a_worker_that_lives_has_not_died(piece):
    assert [(await begun(piece, "w")).starts for _ in range(4)] == [1, 1, 1, 1]


async def test_a_run_that_came_to_its_end_counts_no_more(piece):
    for n in range(4):
        checkpoint = await begun(piece, f"w{n}")
        assert checkpoint.starts == 1
        await checkpoint.close()


async def test_the_line_that_ran_alone_when_its_worker_died_is_known(piece):
    checkpoint = await begun(piece, "w1")
    await checkpoint.begin_alone("a")
    await checkpoint.begin_alone("b")
    for worker in ("w2", "w3"):
        checkpoint = await begun(piece, worker)
        assert checkpoint.ended_its_worker("b")
        assert not checkpoint.ended_its_worker("a")


@pytest.mark.parametrize("how", ["it lives", "it came to its end"])
async def test_no_line_is_blamed_for_what_was_no_death(piece, how):
    checkpoint = await begun(piece, "w1")
    await checkpoint.begin_alone("a")
    if how == "it came to its end":
        await checkpoint.close()
    checkpoint = await begun(piece, "w1" if how == "it lives" else "w2")
    assert not checkpoint.ended_its_worker("a")
