"""YAML without surprises: a field that stands in a mapping twice is an error, where PyYAML silently takes the last."""

from typing import Any

import yaml


class _OnceEach(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value]
        for key, _ in node.value:
            if names.count(key.value) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} is there twice", key.start_mark)
        return super().construct_mapping(node, deep)


def loads(text: str) -> Any:
    """Plain values. Raises yaml.YAMLError."""
    return _OnceEach(text).get_single_data()
