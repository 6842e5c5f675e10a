"""The reference of a benchmark of one's own, from the configuration of its runs."""

from harness_llm.accuracy import Reference, make_reference
from harness_llm.accuracy.metrics import Foreign, metric_of
from harness_llm.benchmark import resolve
from harness_llm.config.harness import RunConfig
from harness_llm.errors import UsageError
from harness_llm.run.inputs import check_fit, check_model
from harness_llm.run.samples import shared_table


def make_reference_of(config: RunConfig, *, made_by: str, dtype: str, batch: int) -> Reference:
    """Answer the samples of a run by plain transformers and score them.

    Args:
        config: How the benchmark is run; its model, data set, limits and metric count, its engine does not.
        made_by: The command line, for whoever reads the file.
        dtype: `float32` or `bfloat16`.
        batch: Samples at once.

    Raises:
        UsageError: The benchmark is judged by its rules, or something cannot be read.
    """
    harness = config.harness_config
    benchmark = resolve(harness.benchmark)
    metric = metric_of(benchmark, harness.metric)
    if benchmark.is_official or isinstance(metric, Foreign):
        raise UsageError(
            f"{benchmark.name} is judged by the rules of {benchmark.round}, not by a reference",
            "Make a reference for a benchmark of your own.",
        )
    if config.model_path is None:
        raise UsageError("llm_config.model is missing", "Name the checkpoint folder.")
    check_model(config)
    table = shared_table(config, benchmark)
    check_fit(config, table)
    return make_reference(
        benchmark.name, config.model_path, table, metric, made_by=made_by, dtype=dtype, batch=batch
    )
