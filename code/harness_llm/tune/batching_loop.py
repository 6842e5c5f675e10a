"""The compiled part of `batching`: replicas step after step, the router before them, and what a step does.

It is one file because numba keeps what it compiled until the file itself changes, whatever else it calls.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call"
from __future__ import annotations

import heapq
import math

import numpy as np
from numba import njit

KNOTS = (
    8.0, 16.0, 32.0, 64.0, 96.0, 128.0, 192.0, 256.0, 384.0, 512.0, 768.0, 1024.0, 1536.0, 2048.0, 3072.0,
    4096.0, 8192.0,
)  # fmt: skip
"""Tokens of a step at which what each further one costs may change, up or down."""
TERMS = 6 + len(KNOTS)
"""Of a step's time: 1, running answers, prompt tokens, prompts, context, prompt attention, and tokens from
each knot to the next."""

QUERY = np.dtype(
    [
        ("due", "<f8"),
        ("prompt", "<i8"),
        ("tokens", "<i8"),
        ("load", "<i8"),  # as the router takes it
        ("first", "<f8"),
        ("finish", "<f8"),
        ("replica", "<i8"),
        ("made", "<i8"),  # tokens of an answer that was computed before it was preempted
    ]
)
REPLICA = np.dtype(
    [
        ("slowness", "<f8"),
        ("ready", "<f8"),  # when the step that runs ends
        ("planned", "<f8"),  # until when prompts had to arrive to be in the next step
        ("step", "<i8"),
        ("context", "<f8"),  # tokens of the running answers
        ("cut", "<i8"),  # the prompt that the budget cut, and how much of it is done
        ("cut_done", "<i8"),
        ("drift", "<f8"),
        ("calm", "<f8"),  # until the next pause, in mean times between pauses
        ("dice", "<u8"),  # of pauses alone, so that a seed has the same ones whatever it is asked
        ("load", "<i8"),  # what the push router has in flight
        ("room", "<i8"),  # of the pull router: what more it may hold, holds, has completed
        ("held", "<i8"),
        ("done", "<i8"),
    ]
)
ENGINE = np.dtype(
    [
        ("requests", "<i8"),
        ("step_tokens", "<i8"),
        ("kv_tokens", "<f8"),
        ("kv_request", "<f8"),  # tokens of the cache that a request takes beyond its context
        ("noise", "<f8"),
        ("lasting", "<f8"),
        ("pauses_per_s", "<f8"),
        ("pause_s", "<f8"),
        ("ahead", "<i8"),  # whether a step is planned while the one before it runs
    ]
)

_KNOTS = np.array(KNOTS)
WIDTHS = np.diff(_KNOTS, append=np.inf)
_TIMES, _MORE, _SHIFT = np.uint64(6364136223846793005), np.uint64(1442695040888963407), np.uint64(11)
_PLACE = 1 << 32  # in the heap of running answers: last step * _PLACE + query
_compiled = njit(cache=True, nogil=True)


@_compiled
def _least_loaded(fleet, last):
    count = len(fleet)
    best = (last + 1) % count
    for step in range(2, count + 1):
        r = (last + step) % count
        if fleet[r].load < fleet[best].load:
            best = r
    return best


@_compiled
def _take(fleet, waits, queries, r, most, at):
    """Give a replica the next of the common queue; the place in the queue after that."""
    until = at + min(most, fleet[r].room, len(queries) - at)
    fleet[r].room -= until - at
    fleet[r].held += until - at
    for q in range(at, until):
        queries[q].replica = r
        heapq.heappush(waits[r], q)
    return until


@_compiled
def _fill(fleet, waits, queries, held):
    """Fill every replica from the common queue, evenly."""
    at, left, replicas = 0, len(queries), len(fleet)
    for r in range(replicas):
        fleet[r].room = held
        at = _take(fleet, waits, queries, r, (left + replicas - 1 - r) // replicas, at)
    return at


@_compiled
def _release(fleet, waits, queries, r, ended, at):
    """Hand out as much as is complete, or less near the end, so that all replicas end together."""
    fleet[r].room += ended
    fleet[r].held -= ended
    fleet[r].done += ended
    left, done, all_have = len(queries) - at, 0, True
    for one in range(len(fleet)):
        left += fleet[one].held
        done += fleet[one].done
        all_have &= fleet[one].done > 0
    share = math.ceil(left * fleet[r].done / done) - fleet[r].held if all_have else fleet[r].room
    return _take(fleet, waits, queries, r, max(0, share), at)


@_compiled
def _end_step(one, ends, begun, new, queries):
    """Each running answer has a token more; how many answers are complete."""
    one.step += 1
    one.context += len(ends)
    ended = 0
    while len(ends) > 0 and ends[0] // _PLACE <= one.step:
        q = heapq.heappop(ends) % _PLACE
        queries[q].finish = one.ready
        one.context -= queries[q].prompt + queries[q].tokens
        one.load -= queries[q].load
        ended += 1
    for q in new:
        queries[q].first = min(queries[q].first, one.ready)
        queries[q].made += 1
        left = queries[q].tokens - queries[q].made
        if left <= 0:
            queries[q].finish = one.ready
            one.load -= queries[q].load
            ended += 1
        else:
            heapq.heappush(ends, (one.step + left) * _PLACE + q)
            heapq.heappush(begun, -q)
            one.context += queries[q].prompt + queries[q].made
    new.clear()
    return ended


@_compiled
def _give_way(one, ends, waits, begun, queries, engine):
    """Take the newest answers out of a KV cache that is full; how many."""
    gave = 0
    while one.context + len(ends) * engine.kv_request > engine.kv_tokens and len(ends) > 1:
        q = -heapq.heappop(begun)
        for place in range(len(ends)):  # it is not there where it has ended
            if ends[place] % _PLACE == q:
                queries[q].made = queries[q].tokens - (ends[place] // _PLACE - one.step)
                one.context -= queries[q].prompt + queries[q].made
                ends[place] = ends[-1]
                ends.pop()
                heapq.heapify(ends)
                heapq.heappush(waits, q)
                gave += 1
                break
    return gave


@_compiled
def _begin_step(one, ends, waits, begun, new, queries, engine, costs, graphs, now):
    """Fill a step: the running answers, a prompt that was cut, waiting prompts in order; until it ends."""
    is_full = _give_way(one, ends, waits, begun, queries, engine) > 0
    running = len(ends)
    left, here, work, prompts, attention = engine.step_tokens - running, running, 0, 0, 0.0
    needed = one.context + running * engine.kv_request
    while left > 0:
        if one.cut >= 0:
            q, done = one.cut, one.cut_done
        elif len(waits) > 0 and here < engine.requests and not is_full:
            q, done = waits[0], 0
            if queries[q].due > one.planned and here > 0:
                break
            needed += queries[q].prompt + queries[q].made + engine.kv_request
            if needed > engine.kv_tokens and here > 0:
                break
            heapq.heappop(waits)
        else:
            break
        whole = queries[q].prompt + queries[q].made
        take = min(left, whole - done)
        here += 1
        prompts += 1
        work += take
        left -= take
        attention += take * (done + 0.5 * take)
        one.cut, one.cut_done = q, done + take
        if one.cut_done == whole:
            new.append(q)
            one.cut = -1
    one.planned = now if engine.ahead else np.inf
    if running + work == 0:
        one.ready, one.planned = np.inf, np.inf
        return
    did = np.zeros(TERMS)
    _add_step(did, 1.0, running, work, prompts, graphs)
    did[4], did[5] = one.context, attention
    one.ready = now + _varied(one, engine, np.dot(did, costs) * one.slowness)


@_compiled
def _add_step(terms, times, running, work, prompts, graphs):
    """Add the terms of a step to others, but for its context and attention."""
    padded = running + work
    for size in graphs:
        if size >= padded:
            padded = size
            break
    terms[0] += times
    terms[1] += times * (padded - work)
    terms[2] += times * work
    terms[3] += times * prompts
    for k in range(_KNOTS.size):
        terms[6 + k] += times * min(max(0.0, padded - _KNOTS[k]), WIDTHS[k])


@_compiled
def _varied(one, engine, seconds):
    if engine.noise > 0:
        fresh = math.sqrt(1 - engine.lasting * engine.lasting) * engine.noise * np.random.randn()  # noqa: NPY002
        one.drift = engine.lasting * one.drift + fresh
        seconds *= math.exp(one.drift)
    one.calm -= engine.pauses_per_s * seconds
    if one.calm < 0:
        seconds += engine.pause_s * _exponential(one)
        one.calm = _exponential(one)
    return seconds


@_compiled
def _exponential(one):
    """A draw of mean 1."""
    one.dice = one.dice * _TIMES + _MORE
    return -math.log1p(-float(one.dice >> _SHIFT) / 2.0**53)


@_compiled
def run(queries, fleet, engine, costs, graphs, pulled, seed, until):
    """Fill in `first`, `finish` and `replica` of the queries.

    Args:
        queries: As `QUERY`, in the order of arrival.
        fleet: As `REPLICA`.
        engine: The one row of `ENGINE`.
        costs: Seconds of a step by its terms.
        graphs: Tokens to which smaller steps are padded, ascending.
        pulled: Queries that a replica holds; 0 pushes each when it is due.
        seed: Of the noise.
        until: When to stop, s.
    """
    np.random.seed(seed)  # noqa: NPY002 - numba's own generator
    engine = engine[0]
    ends = [[0 for _ in range(0)] for _ in range(len(fleet))]
    waits = [[0 for _ in range(0)] for _ in range(len(fleet))]  # heaps of queries, in the order of arrival
    begun = [[0 for _ in range(0)] for _ in range(len(fleet))]  # likewise, negative; with some that ended
    new = [[0 for _ in range(0)] for _ in range(len(fleet))]  # whose prompts end in the step that runs
    at, last = 0, len(fleet) - 1
    if pulled > 0:
        at = _fill(fleet, waits, queries, pulled)
        for r in range(len(fleet)):
            _begin_step(fleet[r], ends[r], waits[r], begun[r], new[r], queries, engine, costs, graphs, 0.0)
    while True:
        r = 0
        for other in range(1, len(fleet)):
            if fleet[other].ready < fleet[r].ready:
                r = other
        if pulled == 0 and at < len(queries) and queries[at].due <= fleet[r].ready:
            r = last = _least_loaded(fleet, last)
            fleet[r].load += queries[at].load
            queries[at].replica = r
            heapq.heappush(waits[r], at)
            now = queries[at].due
            at += 1
            if fleet[r].ready != np.inf:
                continue
        else:
            now = fleet[r].ready
            if now == np.inf or now > until:
                break
            ended = _end_step(fleet[r], ends[r], begun[r], new[r], queries)
            if pulled > 0 and ended > 0:
                at = _release(fleet, waits, queries, r, ended, at)
        _begin_step(fleet[r], ends[r], waits[r], begun[r], new[r], queries, engine, costs, graphs, now)


@_compiled
def did(when, number, begun, prompts, due, running, context, budget, graphs, ahead):
    """What the steps of one replica did, a row for the steps between two moments at which tokens were seen.

    Prompts end at known moments. Where one waited already when the step before was planned, that step had
    what was left of its budget of it.

    Args:
        when: The moments, s.
        number: The number of the step that ended then.
        begun: Of each moment, where its prompts begin among all.
        prompts: Their tokens, in the order in which they end.
        due: When each arrived, s.
        running: Answers that ran before each moment.
        context: Tokens that these held.
        budget: Tokens of a step.
        graphs: Tokens to which smaller steps are padded, ascending.
        ahead: Whether a step is planned while the one before it runs.
    """
    found = np.zeros((len(when), TERMS))
    left = prompts.copy()
    lasted = 0.0  # the step before
    for i in range(len(when)):
        steps = max(1, number[i] - number[i - 1]) if i > 0 else 1
        step_s = (when[i] - when[i - 1]) / steps if i > 0 else 0.0
        room, work, parts, attention = max(1, budget - running[i]), 0, 0, 0.0
        for q in range(begun[i], begun[i + 1]):
            attention += left[q] * (prompts[q] - 0.5 * left[q])
            work += left[q]
            parts += 1
        plain = steps - 1
        while work > room and plain > 0:  # of a prompt longer than a step
            _add_step(found[i], 1.0, running[i], room, 1, graphs)
            work -= room
            plain -= 1
        planned = when[i] - step_s - (0.0 if not ahead else step_s if plain > 0 else lasted)
        q = begun[i + 1]
        is_next = i + 1 < len(when) and q < begun[i + 2] and number[i + 1] - number[i] <= 1
        if is_next and work < room and due[q] <= planned:
            take = min(room - work, left[q] - 1)
            attention += take * 0.5 * take
            left[q] -= take
            work += take
            parts += 1
        _add_step(found[i], plain, running[i], 0, 0, graphs)
        _add_step(found[i], 1.0, running[i], work, parts, graphs)
        found[i, 4], found[i, 5] = steps * context[i], attention
        lasted = step_s
    return found
