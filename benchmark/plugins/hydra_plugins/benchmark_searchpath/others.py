"""Lets Hydra search the conf/ folders of other packages and of the working folder, after ours."""

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin

from benchmark.config import resolvers
from benchmark.config.others import folders


class Others(SearchPathPlugin):
    """Appends them: a YAML of ours is used before one of the same name."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append each folder, named for what announces it; make our resolvers known, as our YAMLs are."""
        resolvers.register()
        for name, folder in folders():
            search_path.append(provider=name, path=f"file://{folder}")
