"""A database in memory for queries over rows. A query reaches no file, network, extension or setting.

Beside DuckDB's functions it has `t95(n)`: mean ± t95(n) * standard error is the 95 % interval of a mean.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from benchmark.errors import ConfigError, LibraryMissing

if TYPE_CHECKING:
    import duckdb

_CLOSED: Final = {
    "enable_external_access": False,  # to variables of this program neither
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
}


def connected(missing: str) -> duckdb.DuckDBPyConnection:
    """Open such a database.

    Raises:
        LibraryMissing: duckdb isn't installed, with the message `missing`.
    """
    try:
        import duckdb
    except ImportError:
        raise LibraryMissing(missing) from None
    connection = duckdb.connect(config=_CLOSED)  # type: ignore[arg-type]
    connection.create_function("t95", _t95, ["BIGINT"], "DOUBLE")
    connection.execute("set lock_configuration = true")
    return connection


def _t95(count: int) -> float:
    """Half width of the 95 % interval of a mean of so many values, in standard errors; NaN for one."""
    from scipy.stats import t

    return float(t.ppf(0.975, count - 1)) if count > 1 else math.nan


def execute(connection: duckdb.DuckDBPyConnection, query: str, key: str, more: str = "") -> Any:
    """Relation that a query makes; None where it makes none.

    Raises:
        ConfigError: in one line, with `key` before and `more` behind what DuckDB says.
    """
    import duckdb

    try:
        return connection.sql(query)
    except duckdb.Error as error:
        reason = " ".join(str(error).split())
        if isinstance(error, duckdb.PermissionException) or "configuration has been locked" in reason:
            reason = f"a query reads stored rows only, no files, settings or extensions: {reason}"
        raise ConfigError(f"{key}: {reason}{more}") from error
