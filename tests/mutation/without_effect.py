"""Edits that no check refuses, each with its reason.

`WITHOUT_EFFECT`: nothing that counts follows from what was edited. Three kinds: what LoadGen logs beside the
run, texts that only the submitter can know, and figures that decide nothing while they stay between their
neighbours. `BOUNDED`: figures that a tree cannot prove to the last digit; the reason says how far one can go.
"""

from __future__ import annotations

import re

_PERFORMANCE = r"(TEST06/)?performance/run_1/"
_DETAIL = r"(accuracy|(TEST06/)?performance/run_1)/mlperf_log_detail\.txt"
_LOG = r"performance/run_1/mlperf_log_detail\.txt"
_SUMMARY = rf"{_PERFORMANCE}mlperf_log_summary\.txt"
_SHORT_SUMMARY = r"accuracy/mlperf_log_summary\.txt"
_NO_ANSWERS = r"performance/run_1/mlperf_log_accuracy\.json"
_ANSWERS = r"(TEST06/)?accuracy/mlperf_log_accuracy\.json"
_TWICE = "(repeat a line|swap lines)"
_UNUSED = r"requested_server_(coalesce_queries|find_peak_qps\w+|num_issue_query_threads)"
_DATES = r"(loadgen_build_date_local|loadgen_build_date_utc|loadgen_git_commit_date)"

WITHOUT_EFFECT = {
    # Beside the run.
    rf"{_DETAIL}:(tid|line_no)": "the thread, and the line of LoadGen's source, that wrote a line",
    rf"{_DETAIL}:time_ms": "when a line was written; the order, and the run's own times, are checked",
    rf"{_DETAIL}:(is_warning|warning_generic_message)": "a warning of which LoadGen's summary has the count",
    rf"{_DETAIL}:(get_sut_name_duration_ns|logger_\w+)": "counters of LoadGen's own log writer",
    rf"{_DETAIL}:{_DATES}": (
        "the commit and its files tell which LoadGen it was; one built after the test is refused"
    ),
    rf"{_DETAIL}:loadgen_git_log_message": "commits that are older than the one that was built",
    rf"{_DETAIL}:(test_datetime|power_begin|power_end)": (
        "whole time zones, or the seconds by which a clock is set; the log's own clock is checked"
    ),
    rf"{_DETAIL}:{_UNUSED}": "read in FindPeakPerformance mode, by several issuing threads, or by nobody",
    rf"drop a line:{_DETAIL}:generic_message": "one of two sentences that say how the run began and ended",
    rf"drop a line:{_DETAIL}:warning_generic_message": "a warning of which LoadGen's summary has the count",
    rf"{_TWICE}:{_DETAIL}:.*": "the same lines of the same time: each still says what it said",
    rf"TEST06/{_LOG}:early_stopping_(ttft|tpot)_result": "a hint in words on a verdict that does not count",
    rf"{_DETAIL}:generated_query_duration": "digits beyond those of the rate in the log",
    rf"{_DETAIL}:qsl_reported_performance_count": "mlperf.conf sets how many samples are loaded",
    rf"{_DETAIL}:requested_performance_sample_count_override": "0, for the whole data set, which it is",
    # The summary repeats the detail log.
    rf"{_SUMMARY}:WARNING": "a sentence about a setting, which the detail log has",
    rf"{_SUMMARY}:(ttft|tpot)_latency \(ns\)": "in Offline, which has no such limit",
    rf"{_SUMMARY}:(Completed |Scheduled )?[Ss]amples per second": "digits beyond those of the detail log",
    rf"{_SUMMARY}:(Completed )?[Tt]okens per second": (
        "digits beyond those of the detail log, whose figure counts"
    ),
    rf"{_TWICE}:({_SUMMARY}|{_SHORT_SUMMARY}):.*": "the same lines in another order",
    rf"drop a line:({_SUMMARY}|{_SHORT_SUMMARY}):[^\d]*": "sentences and rulers; every figure must be there",
    rf"(cut|copy|swap):{_SHORT_SUMMARY}.*": "two counts, of warnings and of errors, that the detail log has",
    # Figures between their neighbours, in both files.
    rf"both:{_DETAIL}:result_(first_token_|time_per_output_token_)?[\d.]+_percentile_(latency_)?ns": (
        "a percentile between its neighbours that does not cross a limit"
    ),
    rf"both:{_DETAIL}:result_(first_token_)?(min|max|mean)_latency_ns": "within the run, and in their order",
    rf"both:{_DETAIL}:result_time_to_output_token_(min|max|mean)": "within the run, and in their order",
    rf"{_DETAIL}:result_token_throughput_with_loadgen_overhead": (
        "no metric, and between the times that bound it"
    ),
    # user.conf: LoadGen's log has the settings that count; a file that does not fit is a note.
    r"(.*:)?user\.conf.*": "the settings that count are in LoadGen's log; one that does not fit is a note",
    # Texts.
    r"([a-z ]+:)?((README|calibration|bandwidth)\.md|run\.py).*": (
        "words that only the submitter can answer for"
    ),
    r"(8xTest_GPU|measurements)\.json:.*": (
        "a description; a count that the system's name contradicts is a note"
    ),
    rf"{_TWICE}:TEST06/verify_accuracy\.txt.*": "the same lines in another order",
    r"(copy|swap|cut):TEST06/verify_accuracy\.txt.*": (
        "the same verdict, which is made again from the answers"
    ),
    # Answers.
    rf"(\w+|\w+ \w+|\w+ a \w+):{_NO_ANSWERS}.*": "a performance run logs no answers",
    rf"{_ANSWERS}:half \w+": "an entry of which the cut left half",
    rf"(drop a line|repeat a line|swap lines|cut):{_ANSWERS}.*": (
        "a blank, the cut, or half an entry beside it"
    ),
}

BOUNDED = {
    rf"{_ANSWERS}:(data|token_data)": (
        "tokens of a cut log, which has the hash of the whole one: as many as before"
    ),
    r"accuracy/accuracy\.txt:(rouge1|rouge2|rougeL)": "between the gate and 100, rouge1 the highest",
    r"accuracy/accuracy\.txt:hash": "names the whole log, which a tree does not hold",
    r"accuracy/accuracy\.txt:tokens_per_sample": "within the length window, and 2.5 % of the performance run",
    r"(repeat a line|swap lines|cut|copy|swap):accuracy/accuracy\.txt.*": (
        "scores above the gates, with one hash"
    ),
    rf"(copy|swap):{_ANSWERS}:{_ANSWERS}": (
        "answers to the same samples, which is a note where they are equal"
    ),
    rf"TEST06/{_LOG}:result_(completed|scheduled)_samples_per_sec": "the last of six digits, and no metric",
    rf"{_LOG}:result_scheduled_samples_per_sec": (
        "the last of six digits: the rate and the seed that it follows from say no more"
    ),
    rf"both:{_DETAIL}:result_tokens_per_second": (
        "Offline logs no count of tokens: within 2.5 % of the scored length"
    ),
}


def reason(key: str) -> str | None:
    """Why an edit of this key may pass; None where it may not."""
    found = [why for pattern, why in (WITHOUT_EFFECT | BOUNDED).items() if re.fullmatch(pattern, key)]
    return found[0] if found else None
