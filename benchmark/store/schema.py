"""The row as one arrow schema: every column's name, type, unit and meaning stand here and nowhere else.

Promises to readers: a column keeps its name and type for ever; a new column is nullable, and rows
written before it read as null. Each addition raises `SCHEMA_VERSION`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pyarrow as pa

from benchmark.records import frozen

SCHEMA_VERSION: Final = 6
"""Raised whenever a column is added."""

_TEXT, _INT, _REAL, _BOOL = pa.string(), pa.int64(), pa.float64(), pa.bool_()
_TIME, _TEXTS, _INTS = pa.timestamp("us", tz="UTC"), pa.list_(pa.string()), pa.list_(pa.int64())
_TEXT_MAP, _REAL_MAP = pa.map_(pa.string(), pa.string()), pa.map_(pa.string(), pa.float64())

TYPE_WORDS = {
    _TEXT: "string",
    _INT: "int64",
    _REAL: "double",
    _BOOL: "bool",
    _TIME: "timestamp[us, UTC]",
    _TEXTS: "list<string>",
    _INTS: "list<int64>",
    _TEXT_MAP: "map<string, string>",
    _REAL_MAP: "map<string, double>",
}
"""How `schema.md` spells a type: arrow's own spelling differs between its versions."""

_STATISTICS = {
    "min": "least",
    "mean": "mean",
    "std": "standard deviation of the",
    "p50": "median",
    "p90": "90th percentile of the",
    "p95": "95th percentile of the",
    "p99": "99th percentile of the",
    "max": "greatest",
}
_BOUNDED = ("mean", "p50", "p90", "p95", "p99")
"""Latency statistics that come with a confidence interval."""

_AS_PRINTED = (
    "the imported line, every column under its own header with its own text; besides, under `printed` and "
    "the name of a column of this schema what was printed of it, under `raw` what the document's files say"
)

REQUIRED: Final = (
    "schema_version",
    "run_id",
    "campaign",
    "cell_id",
    "environment_id",
    "started_at",
    "finished_at",
    "status",
)
"""Columns that no row may leave null. Their arrow fields are nullable all the same: readers agree on that."""


@frozen
class Column:
    """One column of the row."""

    section: str
    name: str
    type: pa.DataType
    unit: str
    """Empty where the value has none."""
    meaning: str

    @property
    def field(self) -> pa.Field:
        """The column as arrow knows it, with unit and meaning as metadata."""
        return pa.field(self.name, self.type, metadata={"unit": self.unit, "meaning": self.meaning})


def _section(name: str, *columns: tuple[str, pa.DataType, str, str]) -> tuple[Column, ...]:
    return tuple(
        Column(section=name, name=column, type=kind, unit=unit, meaning=meaning)
        for column, kind, unit, meaning in columns
    )


def _bounds(name: str, unit: str) -> Iterator[tuple[str, pa.DataType, str, str]]:
    yield f"{name}_lo", _REAL, unit, f"lower bound of the confidence interval of `{name}`"
    yield f"{name}_hi", _REAL, unit, f"upper bound of the confidence interval of `{name}`"


def _latencies() -> Iterator[tuple[str, pa.DataType, str, str]]:
    for statistic, words in _STATISTICS.items():
        name = f"latency_{statistic}_ms"
        yield name, _REAL, "ms", f"{words} latency of one call"
        if statistic in _BOUNDED:
            yield from _bounds(name, "ms")


COLUMNS: Final[tuple[Column, ...]] = (
    *_section(
        "identity",
        ("schema_version", _INT, "", "version of this schema that the row was written in"),
        ("run_id", _TEXT, "", "hash of campaign, cell, environment and repeat: one row for each"),
        ("campaign", _TEXT, "", "name of the group of runs"),
        ("cell_id", _TEXT, "", "hash of the resolved configuration: what was measured"),
        ("environment_id", _TEXT, "", "hash of hardware identity and versions: where it was measured"),
        (
            "family_id",
            _TEXT,
            "",
            (
                "hash of the cell's configuration less batch and length: "
                "what fits in memory is judged along them"
            ),
        ),
        ("repeat", _INT, "", "number of the repetition, from 0"),
        ("started_at", _TIME, "", "when the run's turn came; what it needs was prepared before"),
        ("finished_at", _TIME, "", "when the run ended; the newest row of a run counts"),
        ("status", _TEXT, "", "what became of the cell, see above"),
        ("stage", _TEXT, "", "stage that failed; null when ok"),
        ("error", _TEXT, "", "first lines of the reason; null when ok"),
        ("error_class", _TEXT, "", "class of what was raised, as its library names it"),
        ("picture_path", _TEXT, "", "file with the first picture that the model drew"),
        ("log_path", _TEXT, "", "file with everything the run printed"),
        (
            "simulated",
            _BOOL,
            "",
            "nothing was measured: a simulated device, or a library that stands in for a real one",
        ),
        ("source", _TEXT, "", "`published` for a row from a document; null for a measurement of one's own"),
    ),
    *_section(
        "published",
        ("document", _TEXT, "", "what the row was imported from, as people cite it"),
        ("document_commit", _TEXT, "", "commit of the document that was read"),
        ("document_date", _TEXT, "", "day of that version, as YYYY-MM-DD"),
        ("document_licence", _TEXT, "", "licence of the document, or why there is none"),
        ("as_printed", _TEXT_MAP, "", _AS_PRINTED),
    ),
    *_section(
        "model",
        ("model", _TEXT, "", "name of the model's configuration"),
        ("model_id", _TEXT, "", "name of the model on the hub"),
        ("revision", _TEXT, "", "commit of the hub repository"),
        ("weights", _TEXT, "", "`random`, `pretrained` or a path"),
        ("task", _TEXT, "", "kind of model: how it is loaded and fed"),
        ("parameters", _INT, "", "parameters of the model"),
    ),
    *_section(
        "axes",
        ("hardware", _TEXT, "", "name of the hardware's configuration"),
        ("instance_type", _TEXT, "", "cloud instance type"),
        ("compiler", _TEXT, "", "name of the compiler"),
        ("fast_math", _TEXT, "", "how much may leave fp32: `none`, `matmult` or `all`"),
        ("batch_size", _INT, "items", "items in one call"),
        ("sequence_length", _INT, "tokens", "tokens in one item; null for models without"),
        ("image_size", _INT, "pixels", "height and width of one image"),
        ("input_length", _INT, "tokens", "tokens given to a generation"),
        ("output_length", _INT, "tokens", "tokens made by a generation"),
        ("steps", _INT, "", "denoising steps of a diffusion"),
        ("input_source", _TEXT, "", "`random` values, or `real` text and pictures"),
        ("padding_share", _REAL, "0…1", "share of the tokens that are padding; null without tokens"),
        ("scenario", _TEXT, "", "how the model was called"),
        ("replicas", _INT, "", "copies of the model that were loaded"),
        ("workers", _INT, "", "callers at a time"),
        ("threads", _INT, "", "threads within one operator"),
        ("pipeline_cores", _INT, "", "device cores that one model is cut over"),
        ("tensor_parallel", _INT, "", "devices that one tensor is cut over"),
        ("data_parallel", _INT, "", "devices that one batch is cut over"),
    ),
    *_section(
        "arithmetic",
        ("model_dtype", _TEXT, "", "type of the weights"),
        ("matmul_dtype", _TEXT, "", "effective type of matrix products, whatever was asked for"),
        ("other_dtype", _TEXT, "", "effective type of everything else"),
        ("autocast", _TEXT, "", "who casts, and to what; `none` where nobody does"),
    ),
    *_section(
        "compile",
        ("cache_hit", _BOOL, "", "the artefact came from the cache"),
        ("compile_s", _REAL, "s", "time the compiler took when the artefact was made, also on a cache hit"),
        (
            "compile_workers",
            _INT,
            "",
            "compilations that ran at a time when the artefact was made: they slow each other down",
        ),
        ("part_compile_s", _REAL_MAP, "s", "`compile_s` by network, for a model of several"),
        ("artifact_bytes", _INT, "bytes", "size of the artefact"),
        ("load_s", _REAL, "s", "time to load the artefact for timing"),
        ("subgraphs", _INT, "", "pieces that the compiler cut the model into"),
        ("graph_breaks", _INT, "", "places where the compiler gave back to Python"),
        ("ops_on_device_fraction", _REAL, "0…1", "share of the operators that the device runs"),
        ("unsupported_ops", _TEXTS, "", "operators that the compiler does not know"),
        ("compiler_flags", _TEXTS, "", "flags in effect, as given to the compiler"),
        ("script_modules", _INT, "", "modules that the compiled program was cut into, on the device or not"),
        ("neff_bytes", _INT, "bytes", "of the artefact what is loaded to a Neuron device"),
    ),
    *_section(
        "latency",
        ("samples", _INT, "calls", "timed calls"),
        *_latencies(),
        ("latency_ns", _INTS, "ns", "every sample, in order, without warm-up"),
        ("first_call_ms", _REAL, "ms", "the very first call after loading"),
        ("warmup_calls", _INT, "calls", "calls before the first sample"),
        ("steady", _BOOL, "", "the samples show neither trend nor step"),
        ("noise_flags", _TEXTS, "", "reasons to doubt the samples, see above"),
        ("effective_samples", _REAL, "calls", "independent samples that would tell as much of the median"),
        ("stop_reason", _TEXT, "", "what ended the sampling: `enough`, `precision`, `max_calls`, `max_s`"),
        ("attempts", _INT, "", "how often the calls were timed: again while noisy, the quietest counts"),
        ("device_time_p50_ms", _REAL, "ms", "median time of one call by the device's own clock"),
        ("first_token_p50_ms", _REAL, "ms", "median time from the start of a generation to its first token"),
        ("first_token_p95_ms", _REAL, "ms", "95th percentile of it"),
        ("first_token_p99_ms", _REAL, "ms", "99th percentile of it"),
        ("token_latency_p50_ms", _REAL, "ms", "median time from one token to the next"),
        ("token_latency_p99_ms", _REAL, "ms", "99th percentile of it"),
    ),
    *_section(
        "harness",
        ("timer_ns", _INT, "ns", "what the timing loop reads for a call that does nothing; not subtracted"),
        ("inputs", _TEXT, "", "`fixed`: the same values in every call; `varied`: shuffled before each block"),
        ("affinity", _INTS, "", "logical CPUs that the process might use"),
        ("allocator", _TEXT, "", "library that hands out memory"),
        ("denormals", _TEXT, "", "numbers below 1e-38: `kept`, or `flushed` to zero"),
    ),
    *_section(
        "noise",
        ("on_cpu", _REAL, "0…1", "share of the CPU time that the process's threads wanted and had"),
        ("involuntary_switches_per_s", _REAL, "1/s", "how often a thread had to leave its core"),
        ("steal", _REAL, "0…1", "share of the host's CPU time that other virtual machines took"),
        ("others_cores", _REAL, "cores", "cores in use by other processes"),
        ("load_average", _REAL, "", "tasks that ran or wanted to, in the minute before"),
        ("governor", _TEXT, "", "frequency governor of the CPUs"),
        ("boost", _BOOL, "", "clocks might rise above their nominal rate"),
        ("clock_mhz", _REAL, "MHz", "clock of the device as the calls ended"),
        ("temperature_c", _REAL, "°C", "temperature of the device as the calls ended"),
        ("throttle_reasons", _TEXTS, "", "what kept the device's clock down, by its driver's names"),
        ("device_processes", _INT, "", "other processes on the device"),
        ("device_errors", _TEXTS, "", "what went wrong on the device meanwhile, by its driver's names"),
    ),
    *_section(
        "throughput",
        ("throughput_per_s", _REAL, "`throughput_unit`/s", "units finished in a second"),
        *_bounds("throughput_per_s", "`throughput_unit`/s"),
        ("throughput_peak_per_s", _REAL, "`throughput_unit`/s", "units finished in the best second"),
        ("throughput_unit", _TEXT, "", "what is counted: items, images, or tokens given and made together"),
        ("output_tokens_per_s", _REAL, "tokens/s", "tokens made in a second"),
        ("qps_under_slo", _REAL, "calls/s", "highest rate of calls that keeps `slo_ms`"),
        ("slo_ms", _REAL, "ms", "latency objective of the server scenario"),
        ("speedup_lo", _REAL, "", "how many times as fast as `speedup_against` at least"),
        ("speedup_hi", _REAL, "", "how many times as fast at most"),
        ("speedup_of", _TEXT, "", "`throughput`: without the time to compile; `end_to_end`: with it"),
        ("speedup_against", _TEXT, "", "the baseline, by the document's name for it"),
    ),
    *_section(
        "quality",
        ("cosine", _REAL, "-1…1", "similarity to the fp32 reference: least over items and outputs"),
        ("max_abs_error", _REAL, "", "greatest difference from the fp32 reference"),
        ("top1_agreement", _REAL, "0…1", "share of items with the same greatest entry as the reference"),
        ("accuracy", _REAL, "0…1", "share of right answers on `dataset`"),
        ("accuracy_lo", _REAL, "0…1", "lower bound of the confidence interval of `accuracy`"),
        ("accuracy_hi", _REAL, "0…1", "upper bound of the confidence interval of `accuracy`"),
        ("accuracy_n", _INT, "items", "items of `dataset` that were answered"),
        ("accuracy_s", _REAL, "s", "time to answer them"),
        ("dataset", _TEXT, "", "name of the labelled data"),
    ),
    *_section(
        "resources",
        ("peak_host_bytes", _INT, "bytes", "most host memory of the measuring child"),
        ("peak_device_bytes", _INT, "bytes", "most device memory"),
        ("device_utilisation", _REAL, "0…1", "share of the time in which the device's cores computed"),
        ("energy_j_per_inference", _REAL, "J", "energy of one call, divided by its batch"),
        ("flops_per_call", _REAL, "FLOP", "floating-point operations of one call"),
        ("weight_bytes", _INT, "bytes", "fp32 parameters that one call reads"),
        ("peak_flops_per_s", _REAL, "FLOP/s", "matrix products in `matmul_dtype` at best, measured here"),
        ("roofline_fraction", _REAL, "0…1", "least time that arithmetic and memory allow / median latency"),
        ("cpu_percent", _REAL, "%", "CPU use of the whole host while timing; 100 is every core"),
        ("cpu_share", _REAL, "cores", "CPU seconds of the measuring child in a second of timing"),
        (
            "stage_seconds",
            _REAL_MAP,
            "s",
            (
                "wall time by stage: `measure.*` are parts of `measure`, `wait` is for the host, "
                "build and compile may have been before `started_at`"
            ),
        ),
    ),
    *_section(
        "provenance",
        ("git_commit", _TEXT, "", "commit of this program"),
        ("git_dirty", _BOOL, "", "the working tree differed from that commit"),
        ("command", _TEXT, "", "command line"),
        ("hostname", _TEXT, "", "name of the host"),
        ("cpu_model", _TEXT, "", "name of the CPU"),
        ("cores", _INT, "", "cores of the device that the run could use"),
        ("memory_gib", _REAL, "GiB", "memory of the host"),
        ("device_name", _TEXT, "", "name of the device"),
        ("driver_version", _TEXT, "", "version of the device's driver"),
        ("framework_versions", _TEXT_MAP, "", "version of each library that takes part"),
        ("environment_variables", _TEXT_MAP, "", "those that can change speed, such as OMP_WAIT_POLICY"),
        ("os", _TEXT, "", "operating system and its version"),
        ("overrides", _TEXTS, "", "overrides on the command line and of the sweep"),
        ("config", _TEXT, "", "resolved configuration, as JSON"),
    ),
)
"""Every column in order, grouped by section."""

SCHEMA: Final = pa.schema(
    [column.field for column in COLUMNS], metadata={"schema_version": str(SCHEMA_VERSION)}
)
