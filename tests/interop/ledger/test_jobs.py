"""Jobs: one per lane, in order, under lease and fence; on SQLite and PostgreSQL alike."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, event

from interop.errors import LostLease
from interop.ledger import jobs
from interop.ledger.engine import reading, writing
from interop.ledger.jobs import LEASE, MOST_ATTEMPTS, Claim, NewJob

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
LATER = NOW + LEASE + timedelta(seconds=1)


def add(ledger: Engine, *lanes: str, stage: str = "ingest", first: int = 1) -> None:
    """Jobs of these lanes, with ids in order."""
    with writing(ledger) as connection:
        new = [
            (first + n, NewJob(stage=stage, lane=lane, key=f"{stage}/{first + n}", refs={"n": n}))
            for n, lane in enumerate(lanes)
        ]
        jobs.add(connection, new, now=NOW)


def claim(ledger: Engine, now: datetime = NOW, limit: int = 10) -> list[Claim]:
    """Claim from the stage ingest."""
    return jobs.claim(ledger, "ingest", now=now, limit=limit)


def finish(ledger: Engine, held: Claim) -> None:
    """Finish a job in a transaction of its own."""
    with writing(ledger) as connection:
        jobs.finish(connection, held, now=NOW)


def test_one_job_of_each_lane_is_claimed_in_order(ledger: Engine):
    """The heads of lanes, oldest first."""
    add(ledger, "a", "a", "b", "a", "c")
    assert [(1, "a"), (3, "b"), (5, "c")] == [(c.id, c.lane) for c in claim(ledger)]
    assert [] == claim(ledger)


def test_a_lane_goes_on_when_its_head_is_done(ledger: Engine):
    """Order of receipt within a lane."""
    add(ledger, "a", "a", "a")
    order = []
    while held := claim(ledger):
        order += [c.id for c in held]
        finish(ledger, held[0])
    assert [1, 2, 3] == order


def test_stages_have_lanes_of_their_own(ledger: Engine):
    """Ingest never waits for assess of the same patient (site rule 4)."""
    add(ledger, "a", stage="assess")
    add(ledger, "a", first=2)
    assert [2] == [c.id for c in claim(ledger)]


def test_the_limit_holds(ledger: Engine):
    """A worker takes no more than it asked for."""
    add(ledger, *"abcdef")
    assert [2, 4] == [len(claim(ledger, limit=2)), len(claim(ledger))]


def test_a_parked_job_lets_its_lane_go_on(ledger: Engine):
    """Poison parks itself, not its patient."""
    add(ledger, "a", "a")
    [held] = claim(ledger)
    with writing(ledger) as connection:
        jobs.park(connection, held, now=NOW, reason="bad")
    assert [2] == [c.id for c in claim(ledger)]
    assert [(1, "bad")] == [(p["id"], p["reason"]) for p in jobs.parked(ledger)]


def test_a_postponed_job_keeps_its_place(ledger: Engine):
    """Nothing of the lane overtakes what waits for a retry."""
    add(ledger, "a", "a")
    [held] = claim(ledger)
    with writing(ledger) as connection:
        jobs.postpone(connection, held, until=NOW + timedelta(seconds=30), reason="busy")
    assert [] == claim(ledger)
    assert [1] == [c.id for c in claim(ledger, NOW + timedelta(seconds=31))]


def test_a_lease_that_runs_out_is_claimed_again_alone(ledger: Engine):
    """A presumed dead worker's job is taken by itself, before the batch (site rule 21)."""
    add(ledger, "a", "b")
    [first] = claim(ledger, limit=1)
    assert [first.id] == [c.id for c in claim(ledger, LATER)]


def test_the_presumed_dead_cannot_finish(ledger: Engine):
    """The fence moved on: LostLease, and the other's work stands."""
    add(ledger, "a")
    [dead] = claim(ledger)
    [alive] = claim(ledger, LATER)
    for act in (jobs.finish, lambda c, h, now: jobs.park(c, h, now=now, reason="x")):
        with pytest.raises(LostLease), writing(ledger) as connection:
            act(connection, dead, now=LATER)
    assert alive.fence == dead.fence + 1
    finish(ledger, alive)


def test_a_lost_lease_rolls_its_transaction_back(ledger: Engine):
    """What the presumed dead wrote beside its finish is not there."""
    add(ledger, "a")
    [dead] = claim(ledger)
    claim(ledger, LATER)
    with pytest.raises(LostLease), writing(ledger) as connection:
        jobs.add(connection, [(9, NewJob(stage="assess", lane="a", key="k", refs={}))], now=NOW)
        jobs.finish(connection, dead, now=LATER)
    assert {("ingest", "leased"): 1} == jobs.counts(ledger)


def test_a_renewed_lease_is_not_taken(ledger: Engine):
    """The heartbeat keeps a long job."""
    add(ledger, "a")
    held = claim(ledger)
    jobs.renew(ledger, held, now=LATER)
    assert [] == claim(ledger, LATER + timedelta(seconds=1))


def test_renewing_a_lost_lease_does_nothing(ledger: Engine):
    """A lost job stays lost."""
    add(ledger, "a")
    dead = claim(ledger)
    [alive] = claim(ledger, LATER)
    jobs.renew(ledger, dead, now=LATER + LEASE)
    assert [alive.id] == [c.id for c in claim(ledger, LATER + LEASE + timedelta(seconds=1))]


def test_a_job_that_takes_workers_down_is_set_aside(ledger: Engine):
    """After the most attempts it is parked, and its lane goes on."""
    add(ledger, "a", "a")
    now = NOW
    for _ in range(MOST_ATTEMPTS):
        assert [1] == [c.id for c in claim(ledger, now)]
        now += LEASE + timedelta(seconds=1)
    assert [2] == [c.id for c in claim(ledger, now)] or [2] == [c.id for c in claim(ledger, now)]
    assert [1] == [p["id"] for p in jobs.parked(ledger)]


def test_a_postponed_job_has_its_attempt_back(ledger: Engine):
    """A peer that is down for a day, then one lost worker: nothing is quarantined."""
    add(ledger, "a")
    now = NOW
    for _ in range(MOST_ATTEMPTS + 1):
        [held] = claim(ledger, now)
        now += timedelta(seconds=30)
        with writing(ledger) as connection:
            jobs.postpone(connection, held, until=now, reason="busy")
    [lost] = claim(ledger, now)
    [again] = claim(ledger, now + LEASE + timedelta(seconds=1))
    assert (1, 2, MOST_ATTEMPTS + 3) == (lost.attempts, again.attempts, again.fence)
    assert [] == jobs.parked(ledger)


def test_a_lost_batch_counts_against_none_of_its_jobs(ledger: Engine):
    """Only a single run is an attempt (site rule 21): the innocent are not quarantined."""
    add(ledger, "a", "b")
    now = NOW
    for _ in range(MOST_ATTEMPTS + 1):
        assert [0, 0] == [c.attempts for c in claim(ledger, now)]
        now += LEASE + timedelta(seconds=1)
        alone = [*claim(ledger, now), *claim(ledger, now)]
        assert [1, 1] == [c.attempts for c in alone]
        with writing(ledger) as connection:
            for held in alone:
                jobs.postpone(connection, held, until=now, reason="busy")
    assert [] == jobs.parked(ledger)


def test_an_unparked_job_has_fresh_attempts(ledger: Engine):
    """An operator's second chance is a whole one."""
    add(ledger, "a")
    [held] = claim(ledger)
    with writing(ledger) as connection:
        jobs.park(connection, held, now=NOW, reason="x")
    with writing(ledger) as connection:
        assert jobs.unpark(connection, held.id, now=NOW)
    assert [1] == [c.attempts for c in claim(ledger)]


def test_a_follow_on_job_of_a_known_key_is_not_made_again(ledger: Engine):
    """Work follows once, however often what causes it is repeated."""
    with writing(ledger) as connection:
        for number in (1, 2):
            new = NewJob(stage="ingest", lane="a", key="same", refs={"n": number})
            jobs.add(connection, [(number, new)], now=NOW)
    assert [(1, {"n": 1})] == [(c.id, c.refs) for c in claim(ledger)]


def test_a_waiting_job_is_brought_forward_and_delayed(ledger: Engine):
    """Evidence starts it, further instances hold it."""
    with writing(ledger) as connection:
        new = NewJob(
            stage="ingest", lane="a", key="k", refs={}, not_before=NOW + timedelta(seconds=9)
        )
        jobs.add(connection, [(1, new)], now=NOW)
        assert jobs.delay(connection, "k", until=NOW + timedelta(seconds=60))
    assert [] == claim(ledger, NOW + timedelta(seconds=20))
    with writing(ledger) as connection:
        assert jobs.bring_forward(connection, "k", now=NOW)
        assert not jobs.bring_forward(connection, "k", now=NOW)
    assert [1] == [c.id for c in claim(ledger)]


def test_overdue_counts_ready_and_abandoned_jobs(ledger: Engine):
    """What the sweeper rings for."""
    add(ledger, "a", "b")
    claim(ledger, limit=1)
    assert {"ingest": 1} == jobs.overdue(ledger, now=NOW)
    assert {"ingest": 2} == jobs.overdue(ledger, now=LATER)


def take_both(ledger: Engine, held: Claim, prior: str) -> None:
    """Give a merge back to wait for its second lane."""
    with writing(ledger) as connection:
        jobs.take_both(connection, held, prior, now=NOW)


def test_a_merge_waits_until_it_is_the_head_of_both_its_lanes(ledger: Engine):
    """Site rule 5: what came before it in either lane is worked first, what came later waits."""
    add(ledger, "b", "a", "b", "a", "c")
    done = []
    merge, prior = 2, "b"
    while held := claim(ledger, limit=1):
        [one] = held
        if one.id == merge and one.prior is None:
            take_both(ledger, one, prior)
            continue
        done.append(one.id)
        finish(ledger, one)
    assert [1, merge, 3, 4, 5] == done


def test_a_merge_waits_for_who_is_at_work_in_its_second_lane(ledger: Engine):
    """Also for a later job, which was taken before anybody knew of the merge."""
    add(ledger, "a", "b")
    merge, later = claim(ledger)
    take_both(ledger, merge, "b")
    assert [] == claim(ledger)
    finish(ledger, later)
    assert [(1, "b")] == [(c.id, c.prior) for c in claim(ledger)]


@pytest.mark.parametrize("priors", ["ba", "cc"])
def test_two_merges_of_one_lane_follow_each_other(ledger: Engine, priors: str):
    """Whichever way round they are written, and into whomever."""
    add(ledger, "a", "b")
    for held, prior in zip(claim(ledger), priors, strict=True):
        take_both(ledger, held, prior)
    [first] = claim(ledger)
    finish(ledger, first)
    assert [1, 2] == [first.id, *(c.id for c in claim(ledger))]


def test_what_came_after_a_merge_waits_for_it_in_both_lanes(ledger: Engine):
    """Also another merge into a third patient."""
    add(ledger, "a", "b", "c")
    first, second, third = claim(ledger)
    take_both(ledger, first, "b")
    take_both(ledger, third, "b")
    with writing(ledger) as connection:
        jobs.postpone(connection, second, until=NOW, reason="busy")
    order = []
    while held := claim(ledger):
        order.append([c.id for c in held])
        for one in held:
            finish(ledger, one)
    assert [[1], [2], [3]] == order


def test_no_merge_is_worked_beside_either_of_its_lanes(ledger: Engine):
    """Two workers; every fifth job is in two lanes."""
    lanes = "abcd"
    add(ledger, *(lanes[n % 4] for n in range(120)))
    priors = {n + 1: lanes[(n + 1 + n // 5) % 4] for n in range(0, 120, 5)}
    at_work: list[set[str]] = []
    done: list[int] = []
    lock, clashes = threading.Lock(), []

    def work() -> None:
        while len(done) < 120:
            batch = []
            for one in claim(ledger, limit=3):
                prior = priors.get(one.id, one.lane)
                if prior != one.lane and one.prior is None:
                    take_both(ledger, one, prior)
                    continue
                batch.append((one, {one.lane, prior}))
                with lock:
                    mine = batch[-1][1]
                    clashes.extend(mine & other for other in at_work if mine & other)
                    at_work.append(mine)
            time.sleep(0.001)
            for one, mine in batch:
                with lock:
                    at_work.remove(mine)
                    done.append(one.id)
                finish(ledger, one)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    assert ([], list(range(1, 121))) == (clashes, sorted(done))


def test_concurrent_claimers_never_share_a_job_or_a_lane(ledger: Engine):
    """Two workers drain 40 lanes of 3 at once: each job once, each lane in order."""
    add(ledger, *(f"lane-{n % 40}" for n in range(120)))
    done: list[tuple[str, int]] = []
    lock = threading.Lock()

    def work() -> None:
        while held := claim(ledger, limit=7):
            # Told before it is finished: after that another thread may take the lane's next.
            with lock:
                done.extend((c.lane, c.id) for c in held)
            for one in held:
                finish(ledger, one)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    while rest := claim(ledger):
        for one in rest:
            finish(ledger, one)
            done.append((one.lane, one.id))
    assert list(range(1, 121)) == sorted(number for _, number in done)
    for lane in {lane for lane, _ in done}:
        mine = [number for name, number in done if name == lane]
        assert sorted(mine) == mine


def test_a_claim_looks_each_job_up_before_anybody_counted_the_rows(ledger: Engine):
    """PostgreSQL knows nothing of a burst for a minute; a join of all with all took as long."""
    add(ledger, *(f"lane {n % 50}" for n in range(2000)))
    asked: list[tuple[str, object]] = []
    event.listen(ledger, "before_cursor_execute", lambda *a: asked.append((a[2], a[3])))
    assert 50 == len(claim(ledger, limit=64))
    searched, values = next((sql, v) for sql, v in asked if sql.startswith("SELECT job.id"))
    explain = "EXPLAIN" if ledger.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN"
    with reading(ledger) as connection:
        rows = connection.exec_driver_sql(f"{explain} {searched}", values).all()
    plan = "\n".join(str(row[-1]) for row in rows)
    assert "job_open" in plan
    assert "job_prior" in plan
    for bad in ("Join", "Nested Loop", "SCAN job_", "Seq Scan on job job_"):
        assert bad not in plan
