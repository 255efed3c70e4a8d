"""The schema as a page for people: `schema.md`."""

from __future__ import annotations

from benchmark import meanings, schema


def markdown() -> str:
    """Text of `schema.md`: every status and flag, then every column, by section."""
    required = ", ".join(f"`{name}`" for name in schema.REQUIRED)
    lines = [
        "<!-- Generated: make schema -->",
        "# The row",
        "",
        f"Version {schema.SCHEMA_VERSION}. A column keeps its name and type for ever; a new column is",
        f"nullable, and rows written before it read as null. Never null: {required}.",
        "",
        "| `status` | meaning |",
        "| --- | --- |",
        *(f"| `{status}` | {meaning} |" for status, meaning in meanings.STATUSES.items()),
    ]
    lines += ["", "| entry of `noise_flags` | meaning |", "| --- | --- |"]
    lines += [f"| `{flag}` | {meaning} |" for flag, meaning in meanings.NOISE_FLAGS.items()]
    for section in dict.fromkeys(column.section for column in schema.COLUMNS):
        lines += ["", f"## {section}", "", "| column | type | unit | meaning |", "| --- | --- | --- | --- |"]
        lines += [
            f"| `{column.name}` | `{schema.TYPE_WORDS[column.type]}` | {column.unit} | {column.meaning} |"
            for column in schema.COLUMNS
            if column.section == section
        ]
    return "\n".join(lines) + "\n"
