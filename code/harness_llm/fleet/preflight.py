"""A few real samples through the whole path, of every replica, before the first test is measured on it.

Router, ledger, SUT, links, replica and engine are those of a test; only LoadGen is not there. What it is
told in a test is looked at here token for token.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import zmq

from harness_llm.core import counted
from harness_llm.datasets.table import SampleTable
from harness_llm.errors import EngineError, HarnessError, named
from harness_llm.loadgen.ledger import Ledger
from harness_llm.loadgen.links import ReplicaLink
from harness_llm.loadgen.router import Assignment
from harness_llm.loadgen.sut import Sut
from harness_llm.results.observed import PreflightRecord
from harness_llm.transport.keys import Keys

_SAMPLES = 3
_MOST_TOKENS = 32
_TELLING_TOKENS, _TELLING_ANSWERS = 4, 4  # each so long, and so many of them, say something by their likeness
COLD_S = 60.0
"""How long a cold engine may take for its first answer, seconds: kernels may be compiled for it."""


@dataclass(frozen=True)
class Question:
    """A few samples of a data set, with answers cut short.

    Attributes:
        samples: Their indices in the data set.
        table: The samples.
        end_tokens: Tokens that end an answer; empty where nobody says.
        may_repeat: As of the fleet's plan.
    """

    samples: tuple[int, ...]
    table: SampleTable
    end_tokens: Collection[int]
    may_repeat: bool = False

    @classmethod
    def of(cls, table: SampleTable, end_tokens: Collection[int], *, may_repeat: bool = False) -> Question:
        """Samples from all over a table; first the one whose answer is likely to end soonest."""
        spread = np.linspace(0, len(table) - 1, _SAMPLES).astype(int).tolist()
        if table.references is not None:
            spread.insert(0, min(range(len(table)), key=lambda index: len(table.references[index])))  # type: ignore[index]
        samples = tuple(dict.fromkeys(spread))[:_SAMPLES]
        few = SampleTable.from_prompts(
            table.name,
            [table.prompt(sample).tolist() for sample in samples],
            max_tokens=[min(int(table.max_tokens[sample]), _MOST_TOKENS) for sample in samples],
            min_tokens=[min(int(table.min_tokens[sample]), _MOST_TOKENS) for sample in samples],
        )
        return cls(samples, few, end_tokens, may_repeat)

    def fault(self, place: int, first_token: int, answer: bytes) -> str:
        """What is wrong with the answer to one of the samples; empty if nothing is."""
        if len(answer) % 4:
            return f"its answer has {len(answer)} bytes, which are no whole tokens"
        tokens: npt.NDArray[np.int32] = np.frombuffer(answer, "<i4")
        least, most = int(self.table.min_tokens[place]), int(self.table.max_tokens[place])
        if not max(2, least) <= len(tokens) <= most:
            return f"its answer has {counted(len(tokens), 'token')}, {max(2, least)} to {most} were asked for"
        if tokens[0] != first_token:
            return f"token {first_token} was reported as its first, but its answer begins with {tokens[0]}"
        ends = np.flatnonzero(np.isin(tokens, list(self.end_tokens))).tolist()
        if ends and ends != [len(tokens) - 1]:
            shown = ", ".join(f"{tokens[end]} at {end + 1}" for end in ends[:4])
            return f"its answer of {len(tokens)} tokens has an end token before its end: {shown}"
        if int(tokens.min()) < 0:
            return f"its answer holds {tokens.min()}, which is no token id"
        return ""


class _Dealer:
    """A Router that gives each replica the queries that are its own."""

    def __init__(self, replicas: int) -> None:
        self._replicas = replicas

    def assign(self, ordinals: Sequence[int], costs: Sequence[int]) -> list[Assignment]:
        del costs
        return [(n, [o for o in ordinals if o % self._replicas == n]) for n in range(self._replicas)]

    def release(self, replica: int, ordinals: Sequence[int]) -> list[Assignment]:
        del replica, ordinals
        return []

    def lose(self, replica: int, ordinals: Sequence[int]) -> list[Assignment]:
        raise AssertionError(f"a sample that replica {replica} is to answer is no other's: {ordinals}")


class _Asker:
    """LoadGen's side of the SUT: asks, and keeps what it is told. Ids are ordinals."""

    def __init__(self) -> None:
        self.first: dict[int, int] = {}
        self.answers: dict[int, bytes] = {}
        self.error: BaseException | None = None
        self.news = threading.Event()

    def report_first_tokens(self, loadgen_ids: Sequence[int], tokens: Sequence[int]) -> None:
        self.first.update(zip(loadgen_ids, tokens, strict=True))
        self.news.set()

    def complete_samples(self, loadgen_ids: Sequence[int], answers: Sequence[bytes]) -> None:
        self.answers.update(zip(loadgen_ids, answers, strict=True))
        self.news.set()

    def fail(self, error: BaseException) -> None:
        self.error = self.error or error
        self.news.set()


def preflight(
    endpoints: Sequence[str],
    names: Sequence[str],
    question: Question,
    events: Path,
    silence_s: float,
    patience_s: float = COLD_S,
    cold_s: float = COLD_S,
    keys: Keys | None = None,
) -> PreflightRecord:
    """Ask every replica the same samples, one by one and then all at once, and look at what comes back.

    Args:
        endpoints: The replicas' data endpoints.
        names: What people call them, in the same order.
        question: What is asked.
        events: The events file; one that is there is replaced.
        silence_s: A replica that sends nothing for longer is lost, seconds.
        patience_s: Longest time without any token or answer, seconds.
        cold_s: The same before each replica's first answer, if that is longer, seconds.
        keys: What is shown to the replicas; None on Unix sockets.

    Raises:
        EngineError: An answer is none that a test could count, or did not come; names replica and sample.
        RunBroken: The way to a replica is broken.
    """
    began, asker, session = time.monotonic(), _Asker(), f"preflight-{uuid.uuid4().hex}"
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()  # its own: the command may end before this thread
    links = [ReplicaLink(context, n, at, session, silence_s, keys=keys) for n, at in enumerate(endpoints)]
    events.unlink(missing_ok=True)
    ledger = Ledger(events)
    sut = Sut(
        table=question.table,
        links=links,
        router=_Dealer(len(links)),
        ledger=ledger,
        reporter=asker,
        reports_first_tokens=True,
        on_fatal=asker.fail,
    )
    try:
        for link in links:
            link.open()
        sut.start()
        try:
            rounds = _ask(sut, asker, question, names, (max(patience_s, cold_s), patience_s))
        finally:
            sut.stop()
    finally:
        for link in links:
            link.close()
        ledger.close()
        context.term()
    if not question.may_repeat:
        _refuse_one_token(rounds, names)
    differing = _differing(rounds, len(question.samples), len(links))
    return PreflightRecord(
        replicas=len(links),
        samples=question.samples,
        tokens=sum(len(answer) // 4 for answer in asker.answers.values()),
        seconds=round(time.monotonic() - began, 3),
        differ_in_a_batch=tuple(differing),
    )


def _ask(
    sut: Sut, asker: _Asker, question: Question, names: Sequence[str], patience_s: tuple[float, float]
) -> list[bytes]:
    """All answers in the order of asking: sample by sample, and in that replica by replica; twice.

    patience_s: for the first sample, which cold engines answer, and for every other.
    """
    count, replicas = len(question.samples), len(names)
    alone = [[place] * replicas for place in range(count)]
    together = [[place for place in range(count) for _ in range(replicas)]]
    asked: list[int] = []
    for places in (*alone, *together):
        first = len(asked)
        asked += places
        sut.issue(list(range(first, len(asked))), places)
        _wait(asker, asked, question, names, patience_s[1 if first else 0])
        for ordinal in range(first, len(asked)):
            fault = question.fault(asked[ordinal], asker.first[ordinal], asker.answers[ordinal])
            if fault:
                raise _refused(names[ordinal % replicas], question.samples[asked[ordinal]], fault)
    return [asker.answers[ordinal] for ordinal in range(len(asked))]


def _wait(
    asker: _Asker, asked: Sequence[int], question: Question, names: Sequence[str], patience_s: float
) -> None:
    while len(asker.answers) < len(asked):
        asker.news.clear()
        if asker.error is not None:
            raise _named(asker.error, names)
        if len(asker.answers) < len(asked) and not asker.news.wait(patience_s):
            late = next(ordinal for ordinal in range(len(asked)) if ordinal not in asker.answers)
            key = "" if late < len(names) else " (harness_config.stall_timeout_s)"
            fault = f"neither a token nor an answer came within {patience_s:g} s{key}"
            raise _refused(names[late % len(names)], question.samples[asked[late]], fault)


def _named(error: BaseException, names: Sequence[str]) -> BaseException:
    if isinstance(error, HarnessError):
        return type(error)(f"before the first test, a sample was asked: {error.message}", error.remedy)
    return EngineError(f"{', '.join(names)}: {named(error)}")


def _refused(name: str, sample: int, fault: str) -> EngineError:
    return EngineError(
        f"{name}: sample {sample} was asked before the first test: {fault}",
        "LoadGen would count it wrongly, so nothing was measured. Check the replica's log and the engine.",
    )


def _refuse_one_token(answers: Sequence[bytes], names: Sequence[str]) -> None:
    """Refuse a replica whose answers are all one token id: no test of it can be VALID (`results.verdict`)."""
    for number, name in enumerate(names):
        own = [np.frombuffer(answer, "<i4") for answer in answers[number :: len(names)]]
        ids = np.unique(np.concatenate(own))
        is_telling = len(own) >= _TELLING_ANSWERS and min(map(len, own)) >= _TELLING_TOKENS
        if is_telling and len(ids) == 1:
            raise EngineError(
                f"{name}: before the first test, each of {len(own)} answers repeated token {ids[0]} alone; "
                "this comes from weights or a KV cache that hold NaN",
                "Fetch or quantize the checkpoint again, or correct llm_config; nothing was measured.",
            )


def _differing(answers: Sequence[bytes], samples: int, replicas: int) -> list[int]:
    """Of each replica, how many samples have another answer in a batch than alone."""
    half = samples * replicas
    return [
        sum(answers[place] != answers[half + place] for place in range(replica, half, replicas))
        for replica in range(replicas)
    ]


def told(record: PreflightRecord) -> str:
    """A line for people."""
    samples, who = counted(len(record.samples), "sample"), counted(record.replicas, "replica")
    line = (
        f"before the first test: {samples} asked of {who}, alone and in a batch, "
        f"{counted(record.tokens, 'token')} as they should be, {record.seconds:.1f} s"
    )
    differ = [f"replica {n}: {k}" for n, k in enumerate(record.differ_in_a_batch) if k]
    if not differ:
        return line
    return (
        f"{line}; other tokens in a batch than alone for {', '.join(differ)} "
        f"of {samples}, as happens where kernels round by the size of a batch"
    )
