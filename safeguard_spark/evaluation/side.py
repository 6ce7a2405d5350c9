"""Side: what is evaluated, and what it is compared with: policies and the configuration that labels by them."""

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from safeguard_spark.config.load import with_settings
from safeguard_spark.config.model import RunConfig
from safeguard_spark.errors import ConfigError
from safeguard_spark.labelling.labeler import Labeler
from safeguard_spark.policy.document import Policy
from safeguard_spark.tracking.registry import resolve

EVALUATION_ID = re.compile(r"e\d{8}T\d{6}-[0-9a-f]{8}")


@dataclass(frozen=True)
class Side:
    """Policies, and the configuration that labels by them. `setting`: what differs, if the labeler's name does not."""

    config: RunConfig
    policies: tuple[Policy, ...]
    setting: str = ""

    @property
    def name(self) -> str:
        """For people: the versions and the labeler."""
        labelers = dict.fromkeys(Labeler.of(self.config, policy).name for policy in self.policies)
        name = f"{', '.join(policy.ref for policy in self.policies)} by {', '.join(labelers)}"
        return f"{name}, {self.setting}" if self.setting else name

    def of_policies(self, names: Collection[str]) -> "Side":
        """The same with some of the policies alone, in this order."""
        by_name = {policy.name: policy for policy in self.policies}
        return replace(self, policies=tuple(by_name[name] for name in names))

    def versus(self, text: str) -> "Side":
        """The side that `text` makes of this one: a version of one of its policies, or a setting as for --set.

        Raises ConfigError, PolicyError.
        """
        if "=" in text and not Path(text).exists():
            other = replace(self, config=with_settings(self.config, [text]))
            same = [Labeler.of(self.config, p) == Labeler.of(other.config, p) for p in self.policies]
            if all(same):
                raise ConfigError(f"--versus {text} changes nothing about the labeler. Name a setting that does.")
            return replace(other, setting=text) if other.name == self.name else other
        policy = resolve(text, self.config)
        if policy.name not in [own.name for own in self.policies]:
            names = ", ".join(own.name for own in self.policies)
            raise ConfigError(f"--versus {text} is a version of {policy.name}. Name one of {names}.")
        if policy in self.policies:
            raise ConfigError(f"--versus {text} is what is evaluated. Name another version of it.")
        return replace(self, policies=tuple(policy if own.name == policy.name else own for own in self.policies))
