"""Gate lines: which lines about golden sets an evaluation decides, and mistakes that would let one vanish."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from safeguard_spark.errors import ConfigError
from safeguard_spark.evaluation.sets import SetManifest, find_set
from safeguard_spark.policy.document import ALL, SetGate
from safeguard_spark.suggest import closest_match


def refuse_mistakes(
    lines: Iterable[SetGate], manifests: Sequence[SetManifest], slices: Sequence[str] = (), folder: Path | None = None
) -> None:
    """Raise ConfigError for a line that nothing can decide: its set, its policy or its slice is nowhere.

    `manifests` are evaluated, and sliced by `slices` too. Other sets are looked for below `folder`, if it is given.
    """
    for line in lines:
        try:
            about = [manifest for manifest in manifests if line.set in (manifest.name, manifest.ref)]
            others = [] if about or folder is None else [find_set(line.set, folder).manifest]
            for manifest in (*about, *others):
                manifest.answers_for([] if line.policy is None else [line.policy])
            for manifest in about:
                _require_slice(line, manifest, (*manifest.slices, *slices))
        except ConfigError as error:
            raise ConfigError(f"A line of the gate can never be decided ({_name(line)}). {error}") from error


def not_decided(lines: Iterable[SetGate], decided: Sequence[SetGate], manifests: Sequence[SetManifest]) -> list[str]:
    """A sentence for each line that this evaluation is not about."""
    refs = {name for manifest in manifests for name in (manifest.name, manifest.ref)}
    return [
        f"{_name(line)}: " + (f"policy {line.policy}" if line.set in refs else f"set {line.set}") + " is not evaluated"
        for line in lines
        if line not in decided
    ]


def _name(line: SetGate) -> str:
    where = (line.set, line.policy, None if line.slice == ALL else line.slice)
    return ", ".join((" ".join(filter(None, where)), *line.requirements))


def _require_slice(line: SetGate, manifest: SetManifest, columns: Sequence[str]) -> None:
    if line.slice == ALL:
        return
    column, equals, _ = line.slice.partition("=")
    if not equals:
        raise ConfigError(f"Its slice {line.slice} is not COLUMN=VALUE.")
    if not any(line.slice.startswith(f"{name}=") for name in columns):
        match = closest_match(column, columns)
        hint = f"Did you mean {match}?" if match else f"It is divided by {', '.join(columns) or 'none'}."
        raise ConfigError(
            f"{manifest.ref} is not divided by {column}: add it to `slices` of its manifest, or use --slice. {hint}"
        )
