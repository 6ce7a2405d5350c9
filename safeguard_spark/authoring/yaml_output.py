"""YAML output: values written the way people write them, and unchanged when read back."""

import re
from typing import Any

import yaml

PLAIN = re.compile(r"[^\W_][^\x00-\x1f\x7f-\xa0\u2028\u2029\ufeff]*")  # anything else is quoted and escaped
BLOCK = re.compile(r"[^\x00-\x09\x0b-\x1f\x7f-\xa0\u2028\u2029\ufeff]*")


class _Dumper(yaml.SafeDumper):
    """Writes lists of strings on one line, and multi-line strings as blocks."""


def as_yaml(value: Any, *, on_one_line: bool = False) -> str:
    """A value as YAML, keys in their order, without the last newline."""
    width = 1000 if on_one_line else 110
    text = yaml.dump(
        value, Dumper=_Dumper, default_flow_style=on_one_line, sort_keys=False, allow_unicode=True, width=width
    )
    return str(text).removesuffix("\n")


def _string(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # A block does not show spaces at line ends; quotes do.
    trim = text == text.strip() and all(line == line.rstrip() for line in text.split("\n"))
    block = "\n" in text and trim and BLOCK.fullmatch(text)
    style = "|" if block else None if PLAIN.fullmatch(text) else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _list(dumper: yaml.SafeDumper, items: list[Any]) -> yaml.SequenceNode:
    plain = all(isinstance(item, str) for item in items)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=plain)


_Dumper.add_representer(str, _string)
_Dumper.add_representer(list, _list)
