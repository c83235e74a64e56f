"""Where does a screen keep its labels, and how does it write them?"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import pandas as pd

from scbig.labels._doubts import check_target
from scbig.labels._guide_table import read_guides
from scbig.labels._reading import DEFAULT_SEPARATOR, list_targets, read_controls
from scbig.labels._two_readings import describe_readings, find_readings

Targets = tuple[str, ...]
Perturbations = Sequence[str | Sequence[str]]


@dataclass(frozen=True)
class ScreenSchema:
    """The columns and conventions of one screen.

    Attributes
    ----------
    perturbation_key
        Column of ``obs`` with the perturbation labels.
    control
        Label of the control cells.
    separator
        What stands between the targets of a combined label; ``None`` when no label is one.
    context_keys
        Columns of ``obs`` within which controls are matched to perturbed cells.
    layer
        Layer with log1p-normalised expression; ``None`` for ``X``.
    gene_key
        Column of ``var`` with the gene names; ``None`` for ``var_names``.
    other_controls
        Further labels of control cells, where they have several.
    guides
        Pairs of a guide and the label that it stands for, where labels name guides.
    lenders
        Contexts without control cells, each with those whose control cells serve it.
    names
        Genes that are measured and targets of the screen, as far as they are known. They are kept
        whole where they contain the separator, and what is none of them must not look like
        something else. No part of what is saved.
    """

    perturbation_key: str
    control: str
    separator: str | None = None
    context_keys: tuple[str, ...] = ()
    layer: str | None = None
    gene_key: str | None = None
    other_controls: tuple[str, ...] = ()
    guides: tuple[tuple[str, str], ...] = ()
    lenders: tuple[tuple[str, tuple[str, ...]], ...] = ()
    names: frozenset[str] = field(default=frozenset(), compare=False, repr=False)

    def parse(self, label: str) -> tuple[str, ...]:
        """Read one label.

        Parameters
        ----------
        label
            Label as the screen writes it.

        Returns
        -------
        Its targets, sorted; empty for controls.

        Raises
        ------
        ValueError
            When the label or a part of it is empty, or a target that is not known looks like a
            combination, a control, a guide or no label at all.
        """
        return tuple(sorted(set(self.list_targets(label))))

    def list_targets(self, label: str) -> list[str]:
        """Read one label, with its targets in the order in which it names them.

        Parameters
        ----------
        label
            Label as the screen writes it.

        Returns
        -------
        Its targets, each once; none for controls.

        Raises
        ------
        ValueError
            See :meth:`parse`.
        """
        targets = list_targets(
            label,
            controls=self._control_set,
            separator=self.separator,
            names=self.names,
            guides=self._guide_labels,
        )
        if self.names and self.separator:
            self._check_readings(label)
            for target in targets:
                if target not in self.names:
                    check_target(target, label.strip(), self.names, self.controls, self.separator)
        return list(dict.fromkeys(targets))

    def _check_readings(self, label: str) -> None:
        given: dict[str, Any] = {"controls": self.controls, "separator": self.separator}
        found = find_readings(label, names=self.names, guides=self._guide_labels, **given)
        if found:
            told = describe_readings({label: found}, repr(label), names=self.names, **given)
            raise ValueError(told)

    @cached_property
    def _control_set(self) -> frozenset[str]:
        return frozenset(label.strip() for label in self.controls)

    @cached_property
    def _guide_labels(self) -> dict[str, str]:
        return dict(self.guides)

    def read_labels(self, perturbations: Perturbations) -> dict[str, tuple[str, ...]]:
        """Read what a user asks for, each label once.

        Parameters
        ----------
        perturbations
            A label, labels such as ``["A", "A+B"]``, or sequences of targets.

        Returns
        -------
        Target sets by label, in the order given; that of the control is empty.

        Raises
        ------
        ValueError
            When something else than text stands in place of a label or target.
        """
        is_one = isinstance(perturbations, str) or not isinstance(perturbations, Iterable)
        wanted: Sequence[Any] = [perturbations] if is_one else perturbations
        return dict(self._read_one(one) for one in wanted)

    def _read_one(self, asked: str | Sequence[str]) -> tuple[str, tuple[str, ...]]:
        """Return the label of one condition, and its targets."""
        given = [asked] if isinstance(asked, str) else _list_named(asked)
        label = asked if isinstance(asked, str) else self.join(given)
        if len(given) > 1 and all(one in self.names for one in given):
            # Named one by one, they need not be told apart again; but what is written must be.
            targets = tuple(sorted(set(given)))
            if self.parse(label) != targets:
                raise ValueError(
                    f"{list(given)} would be written as {label!r}, which is read as "
                    f"{' and '.join(self.parse(label)) or 'control'}. Set the screen up with "
                    "another separator."
                )
            return label, targets
        targets = self.parse(label)
        # What is written has to be read without the table of guides.
        return self.join(targets) if self.guides else label, targets

    def join(self, targets: Sequence[str]) -> str:
        """Write targets as a label of this screen.

        Parameters
        ----------
        targets
            Names of the targets; none for control cells.

        Returns
        -------
        The label, which :meth:`parse` reads.

        Raises
        ------
        ValueError
            When there are several targets but the screen has no separator.
        """
        if len(targets) > 1 and self.separator is None:
            raise ValueError(
                f"{list(targets)} cannot be combined: this screen was set up without a separator. "
                f"Name one at setup: separator={DEFAULT_SEPARATOR!r}"
            )
        return (self.separator or "").join(targets) if targets else self.control

    @property
    def controls(self) -> tuple[str, ...]:
        """All labels of control cells, first the one under which they leave."""
        return self.control, *self.other_controls

    def unify_labels(self, labels: pd.Series) -> pd.Series:
        """Write labels so that they can be read without the other controls and the guides.

        Parameters
        ----------
        labels
            Labels as the screen writes them.

        Returns
        -------
        The same as text, with the first label of controls for all control cells, genes in place of
        guides, and one label for each condition.
        """
        texts = labels.astype(str)
        is_plain = not self.guides and not self.other_controls
        read = {text: self.list_targets(text) for text in texts.unique()}
        own = {k: k if found and is_plain else self.join(found) for k, found in read.items()}
        # A+B and B+A are one condition, under the label that comes first.
        first: dict[Targets, str] = {}
        for text, targets in read.items():
            first.setdefault(tuple(sorted(targets)), own[text])
        return texts.map({k: first[tuple(sorted(targets))] for k, targets in read.items()})

    @property
    def obs_keys(self) -> list[str]:
        """Columns of ``obs`` that are read."""
        return [self.perturbation_key, *self.context_keys]

    def without_places(self) -> "ScreenSchema":
        """Return the conventions of data with expression in ``X`` and genes as ``var_names``."""
        return replace(self, layer=None, gene_key=None)

    def with_names(self, names: Iterable[str], others: Iterable[str] = ()) -> "ScreenSchema":
        """Return the conventions with all names that are known.

        Parameters
        ----------
        names
            Measured genes and targets.
        others
            Further names, such as those of an embedding. Of these, combinations are left out:
            they are no names.

        Returns
        -------
        The schema.
        """
        known, join = frozenset(names), self.separator

        def is_name(name: str) -> bool:
            return not join or join not in name or not known.issuperset(name.split(join))

        return replace(self, names=known.union(filter(is_name, others)))

    def describe(self) -> str:
        """Say what was taken for what, for the log."""
        return (
            f"Took obs[{self.perturbation_key!r}] as perturbations "
            f"(control {_shorten(self.controls)}, "
            f"separator {self.separator!r}, contexts {list(self.context_keys) or 'none'})."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the schema as plain values, ready for JSON, as ``setup_anndata`` takes them."""
        given: dict[str, Any] = {
            "perturbation_key": self.perturbation_key,
            "control": list(self.controls) if self.other_controls else self.control,
            "separator": self.separator,
            "context_keys": list(self.context_keys),
            "layer": self.layer,
            "gene_key": self.gene_key,
        }
        if self.lenders:
            given["borrow_controls"] = {name: list(lending) for name, lending in self.lenders}
        return given | ({"guide_to_gene": list(map(list, self.guides))} if self.guides else {})

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ScreenSchema":
        """Rebuild a schema.

        Parameters
        ----------
        values
            What :meth:`to_dict` returned.

        Returns
        -------
        The schema.
        """
        first, *others = read_controls(values["control"])
        keys = tuple(values["context_keys"])
        given = {"control": first, "other_controls": tuple(others), "context_keys": keys}
        rest = dict(values)
        lending = rest.pop("borrow_controls", {})
        given["lenders"] = tuple((name, tuple(names)) for name, names in lending.items())
        guides = read_guides(rest.pop("guide_to_gene", None))
        return cls(**(rest | given), guides=guides)


def _shorten(labels: Sequence[str], n_shown: int = 4) -> str:
    shown = ", ".join(map(repr, labels[:n_shown]))
    return shown if len(labels) <= n_shown else f"{shown} and {len(labels) - n_shown} more"


def _list_named(given: Any) -> list[str]:
    """List the targets that stand in place of a label, or say what stands there."""
    listed = list(given) if isinstance(given, Iterable) else [given]
    if not isinstance(given, Iterable) or not all(isinstance(one, str) for one in listed):
        raise ValueError(
            f"{given!r} stands where a perturbation is named. Give labels, such as ['A', 'A+B'], "
            "or sequences of targets, such as [('A', 'B')]; all of them are text."
        )
    return listed
