"""The row as one arrow schema: name, type, unit and meaning of each column. `schema_page` writes `schema.md`.

Promises to readers: a column keeps its name and type for ever; a new column is nullable, and rows
written before it read as null. Each addition raises `SCHEMA_VERSION`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pyarrow as pa

from benchmark.errors import Status
from benchmark.records import frozen
from benchmark.store.figure_columns import accuracies, bounds, generations, latencies, loads

SCHEMA_VERSION: Final = 15
"""Raised whenever a column is added."""

_TEXT, _INT, _REAL, _BOOL = pa.string(), pa.int64(), pa.float64(), pa.bool_()
_TIME, _TEXTS, _INTS = pa.timestamp("us", tz="UTC"), pa.list_(pa.string()), pa.list_(pa.int64())
_REALS = pa.list_(pa.float64())
_TEXT_MAP, _REAL_MAP = pa.map_(pa.string(), pa.string()), pa.map_(pa.string(), pa.float64())

_AS_PRINTED = (
    "texts of the imported line, by column header; `printed` and a column of this schema: the text that the "
    "document prints for it; `raw` and a column: the text in the document's files"
)

STATUSES: Mapping[Status, str] = {
    "ok": "measured, and the outputs agree with the reference",
    "compile_error": "the compiler failed",
    "unsupported_op": "the compiler does not know an operator of the model",
    "fallback": "ran, but not on the requested device",
    "oom_host": "the host's memory or the process's limit was too small",
    "oom_device": "the device's memory was too small",
    "timeout": "a process exceeded its time limit and was stopped",
    "crashed": "a process raised an exception, aborted or was killed",
    "accuracy_fail": "the outputs differ too much from the fp32 reference",
    "saturated": "under load: requests came faster than they were answered, or no rate keeps the limit",
    "incompatible": "this combination can't work anywhere",
    "unavailable": "this host lacks the device, the library, the weights or the data",
    "dominated": "skipped: a smaller batch or length of the same cell ran out of memory",
    "interrupted": "stopped by the user, a signal or a fault of the host, such as a full disk; `run=missing` "
    "measures it again",
}


NOISE_FLAGS: Mapping[str, str] = {
    "contended": "threads waited for a core: less than `sampling.least_on_cpu` of the requested CPU time",
    "preempted": "more than 100 involuntary context switches a second",
    "stolen": "other virtual machines took more than 1 % of the host's CPU time",
    "busy_host": "other processes used more than a quarter of a core",
    "quota": "the CPU quota of the control group was exhausted",
    "throttled": "heat or power reduced the device's clock",
    "slowed": "the device's clock fell by more than 5 %",
    "shared_device": "other processes used the device",
    "device_errors": "the driver reported device errors, see `device_errors`",
    "generator_late": "requests were issued too late (p99 of the delay above 5 % of the limit, or less than "
    "99 % of the rate): so the row has no latency",
}

VERIFY_FLAGS: Mapping[str, str] = {
    "untellable": "the reference answers different inputs alike: a wrong model can have a `cosine` of 1",
    "one_input": "the answers to one input only were compared, so there is no `relative_error`",
}

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
                "hash of the cell's configuration without batch and length: "
                "the prediction of what fits in memory compares its cells"
            ),
        ),
        ("repeat", _INT, "", "number of the repetition, from 0"),
        ("started_at", _TIME, "", "start of the run; its preparation may have started before"),
        ("finished_at", _TIME, "", "end of the run, by the clock of its host"),
        (
            "sequence",
            _INT,
            "",
            (
                "order in which the store's rows were written: of several rows of a run the highest counts; "
                "null for rows of older versions, which are in the order of `finished_at`"
            ),
        ),
        ("status", _TEXT, "", "outcome of the run, see above"),
        ("stage", _TEXT, "", "stage that failed; null when ok"),
        ("error", _TEXT, "", "first lines of the reason; null when ok"),
        ("error_class", _TEXT, "", "class of the exception, as its library names it"),
        ("picture_path", _TEXT, "", "file with the first image that the model generated"),
        ("log_path", _TEXT, "", "file with the output of the run"),
        (
            "simulated",
            _BOOL,
            "",
            "not measured: a simulated device, or a stand-in for a real library",
        ),
        ("source", _TEXT, "", "`published` for a row of a document; null for a row of this program"),
    ),
    *_section(
        "published",
        ("document", _TEXT, "", "document that the row was imported from, as people cite it"),
        ("document_commit", _TEXT, "", "commit of the document"),
        ("document_date", _TEXT, "", "date of that commit, as YYYY-MM-DD"),
        ("document_licence", _TEXT, "", "licence of the document, or the reason why there is none"),
        ("as_printed", _TEXT_MAP, "", _AS_PRINTED),
        ("graph", _TEXT, "", "`patched`: the authors replaced parts of the network, such as its attention"),
        ("outlier", _TEXT, "", "why no ratio may be made of the row's figures; null: nothing is wrong"),
    ),
    *_section(
        "model",
        ("model", _TEXT, "", "name of the model's configuration"),
        ("model_id", _TEXT, "", "name of the model on the hub"),
        ("revision", _TEXT, "", "commit of the hub repository"),
        ("weights", _TEXT, "", "`random`, `pretrained` or a path"),
        ("task", _TEXT, "", "kind of model: how it is loaded and fed"),
        ("parameters", _INT, "", "parameters of the model"),
        (
            "parameters_checked",
            _BOOL,
            "",
            "whether the YAML of the model states their number, which is checked",
        ),
        (
            "untrained_weights",
            _TEXTS,
            "",
            "tensors that published weights lack, such as those of a head: their values are random",
        ),
    ),
    *_section(
        "axes",
        ("hardware", _TEXT, "", "name of the hardware's configuration"),
        ("instance_type", _TEXT, "", "cloud instance type"),
        ("compiler", _TEXT, "", "name of the compiler"),
        ("fast_math", _TEXT, "", "operations that may leave fp32: `none`, `matmult` or `all`"),
        (
            "quantization",
            _TEXT,
            "",
            "how weights are quantised, such as `int8` or `gptq 4 bits`; null: not at all",
        ),
        ("batch_size", _INT, "items", "items in one call: texts, images or generations"),
        ("sequence_length", _INT, "tokens", "tokens in one item; null for models without tokens"),
        ("image_size", _INT, "pixels", "height and width of one image"),
        ("input_length", _INT, "tokens", "prompt tokens of a generation"),
        ("output_length", _INT, "tokens", "generated tokens of a generation"),
        ("steps", _INT, "", "denoising steps of a diffusion"),
        ("input_source", _TEXT, "", "`random` values, or `real` texts and images"),
        (
            "padding_share",
            _REAL,
            "0…1",
            (
                "share of the tokens that are padding, of `scenario=server` of those of prompts; null "
                "without tokens"
            ),
        ),
        ("scenario", _TEXT, "", "how the model was called, such as `latency` or `throughput`"),
        ("replicas", _INT, "", "loaded copies of the model"),
        ("workers", _INT, "", "threads that call each copy"),
        (
            "threads",
            _INT,
            "",
            "threads that compute one operator: `hardware.threads`, else OMP_NUM_THREADS, else the cores",
        ),
        ("pipeline_cores", _INT, "", "device cores that share one model, a part of the layers each"),
        (
            "placement",
            _TEXT_MAP,
            "",
            (
                "device cores, numbered as on the host, by copy and part, such as `1/unet`; null where "
                "models have no core of their own"
            ),
        ),
        (
            "kv_cache",
            _TEXT,
            "",
            (
                "where keys and values are between the tokens of a generation: `device`; `host`: each token "
                "moves them to the device and back; null for models without them"
            ),
        ),
        ("tensor_parallel", _INT, "", "devices that share one tensor"),
        ("data_parallel", _INT, "", "devices that share one batch; of a training its ranks"),
        ("seed", _INT, "", "seed of random weights and inputs; of a training also of its data and dropout"),
    ),
    *_section(
        "arithmetic",
        ("model_dtype", _TEXT, "", "type of the weights; of parts that differ, each with a comma"),
        (
            "matmul_dtype",
            _TEXT,
            "",
            "effective type of matrix products, which may differ from the requested one",
        ),
        (
            "matmul_precision",
            _TEXT,
            "",
            (
                "torch's setting of this name in effect: `highest`, `high` or `medium`; "
                "null for compilers that don't multiply by torch"
            ),
        ),
        ("other_dtype", _TEXT, "", "effective type of everything else"),
        ("autocast", _TEXT, "", "library that casts types, and the target type; `none` without casts"),
    ),
    *_section(
        "compile",
        (
            "artifact_key",
            _TEXT,
            "",
            "key of the artefact in the compile cache; null where a compiler writes none",
        ),
        ("cache_hit", _BOOL, "", "the artefact came from the cache"),
        (
            "compile_s",
            _REAL,
            "s",
            (
                "compile time of the artefact; on a cache hit that of the original compilation; "
                "of a training its first step less the median step"
            ),
        ),
        (
            "compile_workers",
            _INT,
            "",
            "compilations that ran at the same time: they slow each other down",
        ),
        ("part_compile_s", _REAL_MAP, "s", "`compile_s` by part, for a model in parts"),
        ("artifact_bytes", _INT, "bytes", "size of the artefact"),
        ("load_s", _REAL, "s", "time to load the artefact for timing"),
        ("subgraphs", _INT, "", "compiled subgraphs of the model"),
        ("graph_breaks", _INT, "", "places where execution returns to Python"),
        ("ops_on_device_fraction", _REAL, "0…1", "share of the operators that the device runs"),
        ("unsupported_ops", _TEXTS, "", "operators that the compiler does not know"),
        (
            "compiler_flags",
            _TEXTS,
            "",
            "flags in effect, as given to the compiler; of parts that differ, a line each",
        ),
        (
            "narrowed_types",
            _TEXTS,
            "",
            "types that the device computes in fewer bits than the model has, such as `int64 to int32`",
        ),
        ("script_modules", _INT, "", "modules of the compiled program, on the device or on the CPU"),
        ("neff_bytes", _INT, "bytes", "part of the artefact that is loaded to a Neuron device"),
    ),
    *_section(
        "latency",
        ("samples", _INT, "calls", "timed calls"),
        *latencies(),
        ("latency_ns", _INTS, "ns", "every sample in order; warm-up calls are excluded"),
        ("first_call_ms", _REAL, "ms", "first call after loading"),
        ("warmup_calls", _INT, "calls", "calls before the first sample"),
        (
            "steady",
            _BOOL,
            "",
            "whether the medians of the quarters differ by 5 % at most, or by `sampling.repeat_precision`",
        ),
        ("noise_flags", _TEXTS, "", "disturbances during the measurement, see above"),
        (
            "effective_samples",
            _REAL,
            "calls",
            "independent samples that would give the median the same precision",
        ),
        (
            "stop_reason",
            _TEXT,
            "",
            "stopping rule that ended the sampling: `enough`, `precision`, `max_calls` or `max_s`",
        ),
        ("attempts", _INT, "", "measurements made: a noisy one is repeated, and the quietest counts"),
        ("device_time_p50_ms", _REAL, "ms", "median time of one call by the device's own clock"),
    ),
    *_section("generation", *generations()),
    *_section(
        "harness",
        ("timer_ns", _INT, "ns", "time that the timing loop measures for an empty call; not subtracted"),
        ("inputs", _TEXT, "", "`fixed`: the same values in every call; `varied`: shuffled before each block"),
        ("affinity", _INTS, "", "logical CPUs that the process could use"),
        ("allocator", _TEXT, "", "memory allocator"),
        ("denormals", _TEXT, "", "numbers below 1e-38: `kept`, or `flushed` to zero"),
    ),
    *_section(
        "noise",
        ("on_cpu", _REAL, "0…1", "share of the requested CPU time that the process's threads got"),
        ("involuntary_switches_per_s", _REAL, "1/s", "involuntary context switches of the process's threads"),
        ("steal", _REAL, "0…1", "share of the host's CPU time that other virtual machines took"),
        ("others_cores", _REAL, "cores", "cores in use by other processes"),
        ("load_average", _REAL, "", "runnable tasks, average over the minute before"),
        ("governor", _TEXT, "", "frequency governor of the CPUs"),
        ("boost", _BOOL, "", "whether clocks could rise above their nominal rate"),
        ("clock_mhz", _REAL, "MHz", "clock of the device at the end of the calls"),
        ("temperature_c", _REAL, "°C", "temperature of the device at the end of the calls"),
        ("throttle_reasons", _TEXTS, "", "reasons for a reduced device clock, as the driver names them"),
        ("device_processes", _INT, "", "other processes on the device"),
        ("device_errors", _TEXTS, "", "device errors during the calls, as the driver names them"),
    ),
    *_section(
        "throughput",
        ("throughput_per_s", _REAL, "`throughput_unit`/s", "units completed in a second"),
        *bounds("throughput_per_s", "`throughput_unit`/s"),
        ("throughput_peak_per_s", _REAL, "`throughput_unit`/s", "units completed in the best second"),
        (
            "throughput_unit",
            _TEXT,
            "",
            "unit that is counted: items, images, or tokens (prompt and generated ones together)",
        ),
        ("output_tokens_per_s", _REAL, "tokens/s", "tokens generated in a second"),
        ("qps_under_slo", _REAL, "calls/s", "highest rate within the limits of the server scenario"),
        *bounds("qps_under_slo", "calls/s"),
        ("slo_ms", _REAL, "ms", "latency objective of the server scenario"),
        ("speedup_lo", _REAL, "", "speedup over `speedup_against`: lower bound"),
        ("speedup_hi", _REAL, "", "speedup over `speedup_against`: upper bound"),
        ("speedup_of", _TEXT, "", "`throughput`: without the compile time; `end_to_end`: with it"),
        ("speedup_against", _TEXT, "", "baseline of the speedup, as the document names it"),
    ),
    *_section("server", *loads()),
    *_section(
        "quality",
        ("cosine", _REAL, "-1…1", "similarity to the fp32 reference: lowest over items and outputs"),
        (
            "relative_error",
            _REAL,
            "",
            (
                "distance to the fp32 reference, divided by the distance between its answers to different "
                "inputs: largest over items and outputs"
            ),
        ),
        (
            "difference_cosine",
            _REAL,
            "-1…1",
            (
                "similarity of the difference between the answers to two inputs to that of the fp32 "
                "reference's: lowest over items and outputs"
            ),
        ),
        ("max_abs_error", _REAL, "", "largest difference from the fp32 reference"),
        (
            "top1_agreement",
            _REAL,
            "0…1",
            "share of items whose highest output is that of the reference; null where there is one output",
        ),
        ("verify_flags", _TEXTS, "", "why the comparison with the reference says little; see above"),
        *accuracies(),
    ),
    *_section(
        "training",
        ("global_batch_size", _INT, "items", "items of one step over all ranks; a call is one step"),
        ("strategy", _TEXT, "", "how ranks share the model: `ddp` or `fsdp2`; null for one rank"),
        (
            "scaling",
            _TEXT,
            "",
            "`weak`: `batch_size` is that of a rank, `strong`: that of a whole step; null for one rank",
        ),
        ("accumulation", _INT, "", "backward passes of a rank for each step"),
        ("checkpointing", _BOOL, "", "activations are computed again in the backward pass"),
        ("optimizer", _TEXT, "", "optimizer of the training"),
        ("learning_rate", _REAL, "", "its learning rate"),
        ("losses", _REALS, "", "mean loss of each step over all ranks, from the first step on"),
        ("training_s", _REAL, "s", "time of all steps; the first one, which compiles, is included"),
        ("tokens_per_s", _REAL, "tokens/s", "tokens trained on in a second, padding included"),
        ("data_loading_share", _REAL, "0…1", "share of the timed steps that waited for data"),
        (
            "mfu",
            _REAL,
            "0…1",
            "operations in a second, without those of recomputed activations, divided by `peak_flops_per_s`",
        ),
        (
            "replica_error",
            _REAL,
            "",
            "largest relative difference between the parameters of two ranks after the last step",
        ),
        ("checkpoint_path", _TEXT, "", "folder of the trained model, for `weights=`"),
    ),
    *_section(
        "resources",
        ("peak_host_bytes", _INT, "bytes", "peak host memory of the measuring process"),
        ("peak_device_bytes", _INT, "bytes", "peak device memory"),
        ("device_utilisation", _REAL, "0…1", "share of the time in which the device was busy"),
        ("energy_j_per_inference", _REAL, "J", "energy of one call, divided by its batch"),
        ("flops_per_call", _REAL, "FLOP", "floating-point operations of one call"),
        ("weight_bytes", _INT, "bytes", "fp32 parameters that one call reads"),
        ("peak_flops_per_s", _REAL, "FLOP/s", "measured peak rate of matrix products in `matmul_dtype`"),
        (
            "roofline_fraction",
            _REAL,
            "0…1",
            "shortest time that peak arithmetic and memory bandwidth allow, divided by the median latency",
        ),
        ("cpu_percent", _REAL, "%", "CPU use of the whole host while timing; 100 is every core"),
        ("cpu_share", _REAL, "cores", "CPU seconds of the measuring process in a second of timing"),
        (
            "stage_seconds",
            _REAL_MAP,
            "s",
            (
                "wall time by stage; `measure.*` are parts of `measure`: `start` of its process, `retries` "
                "that don't count; `wait` is waiting for the host, `rest` belongs to no stage; build, "
                "compile and their wait may lie before `started_at`"
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
        ("cores", _INT, "", "device cores that the run could use"),
        ("memory_gib", _REAL, "GiB", "memory of the host"),
        ("device_name", _TEXT, "", "name of the device"),
        ("driver_version", _TEXT, "", "version of the device's driver"),
        ("framework_versions", _TEXT_MAP, "", "version of each library that the run uses"),
        (
            "environment_variables",
            _TEXT_MAP,
            "",
            "environment variables that can change speed, such as OMP_WAIT_POLICY",
        ),
        ("os", _TEXT, "", "operating system and its version"),
        ("overrides", _TEXTS, "", "overrides of the command line and of the sweep"),
        ("config", _TEXT, "", "resolved configuration, as JSON"),
    ),
)
"""Every column in order, grouped by section."""

SCHEMA: Final = pa.schema(
    [column.field for column in COLUMNS], metadata={"schema_version": str(SCHEMA_VERSION)}
)
