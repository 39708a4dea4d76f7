"""YAML with the line of every key and item, so that a mistake can be named where it stands."""

from __future__ import annotations

from typing import Any

import yaml

__all__ = ["Lines", "read_yaml"]

Lines = dict[tuple[str | int, ...], int]


class _Loader(yaml.SafeLoader):
    """A key that occurs twice is an error: YAML would silently let the second one win."""


def _mapping(loader: _Loader, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
    loader.flatten_mapping(node)
    result: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        try:
            twice = key in result
        except TypeError:
            raise yaml.YAMLError(f"line {key_node.start_mark.line + 1}: a key must be a plain text") from None
        if twice:
            raise yaml.YAMLError(f"line {key_node.start_mark.line + 1}: key {key!r} occurs twice")
        result[key] = loader.construct_object(value_node, deep=True)
    return result


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read_yaml(text: str) -> tuple[Any, Lines]:
    """A document, and path -> line (from 1) of what stands in it. Raises yaml.YAMLError, RecursionError."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        lines: Lines = {}
        if node is None:
            return None, lines
        _places(node, (), lines, set())
        return loader.construct_document(node), lines
    finally:
        loader.dispose()


def _places(node: yaml.Node, path: tuple[str | int, ...], lines: Lines, seen: set[int]) -> None:
    """Each node once: what an alias repeats stands where its anchor is, and may refer to itself."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            lines[(*path, str(key.value))] = key.start_mark.line + 1
            _places(value, (*path, str(key.value)), lines, seen)
    elif isinstance(node, yaml.SequenceNode):
        for i, item in enumerate(node.value):
            lines[(*path, i)] = item.start_mark.line + 1
            _places(item, (*path, i), lines, seen)
