"""Other names of the same gene."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set

from scbig._annotations import checked

_VERSIONED_ENSEMBL = re.compile(r"(ENS[A-Z]*G\d+)\.\d+")


class GeneAliases(Mapping[str, str]):
    """Names of genes, each mapped to the approved symbol that it stands for.

    As a mapping it holds the names that stand for exactly one gene. A name that is an approved
    symbol always stands for its own gene, even where another gene has it as an alias. A name
    that several genes share as alias or previous symbol stands for none of them.

    Parameters
    ----------
    other_names
        For each approved symbol, the other names of the gene: previous symbols, aliases,
        Ensembl id.

    Examples
    --------
    >>> aliases = GeneAliases({"MAP3K21": ("KIAA1804", "MLK4")})
    >>> aliases["KIAA1804"]
    'MAP3K21'
    >>> aliases.resolve("MAP3K21", {"KIAA1804", "TP53"})
    'KIAA1804'
    """

    @checked
    def __init__(self, other_names: Mapping[str, Sequence[str]]) -> None:
        self._other_names = {
            symbol: tuple(dict.fromkeys(others)) for symbol, others in other_names.items()
        }
        n_owners = Counter(name for others in self._other_names.values() for name in others)
        self._symbols = {
            name: symbol
            for symbol, others in self._other_names.items()
            for name in others
            if n_owners[name] == 1
        }
        self._symbols.update({symbol: symbol for symbol in self._other_names})

    def __getitem__(self, name: str) -> str:
        return self._symbols[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._symbols)

    def __len__(self) -> int:
        return len(self._symbols)

    def __repr__(self) -> str:
        return f"GeneAliases({len(self._other_names)} genes, {len(self)} unambiguous names)"

    def to_dict(self) -> dict[str, tuple[str, ...]]:
        """Return the other names of each approved symbol, as the constructor takes them."""
        return dict(self._other_names)

    def resolve(self, name: str, known: Set[str]) -> str | None:
        """Find the known name of the gene that a name stands for.

        Parameters
        ----------
        name
            Approved symbol, previous symbol, alias or Ensembl id; a version at the end of an
            Ensembl id is ignored.
        known
            The names to choose from.

        Returns
        -------
        The name itself when it is known; else the one known name of the same gene, its approved
        symbol first; `None` when there is none, or when more than one reading is possible.
        """
        if name in known:
            return name
        versioned = _VERSIONED_ENSEMBL.fullmatch(name)
        symbol = self._symbols.get(versioned[1] if versioned else name)
        if symbol is None or symbol in known:
            return symbol
        others = [
            other
            for other in self._other_names[symbol]
            if other in known and self._symbols.get(other) == symbol
        ]
        return others[0] if len(others) == 1 else None
