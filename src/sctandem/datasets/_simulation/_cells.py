from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from sctandem.datasets._simulation._config import SimulationDesign

CONDITIONS = ("control", "treated")
SPREAD = 1.1
"""Standard deviation of the change of an activity from a type to its child."""


@dataclass(frozen=True, slots=True)
class Population:
    """Cells and their states.

    Attributes
    ----------
    lineage
        Edges of the tree: parent, child.
    obs
        cell_type, donor, batch, condition, pseudotime, a row for each cell.
    control
        Activities without treatment, cells x factors.
    shift
        Change of the activities on treatment, types x factors (in the order of the categories of cell_type).
    """

    lineage: pd.DataFrame
    obs: pd.DataFrame
    control: np.ndarray
    shift: np.ndarray

    def activity(self, dose: np.ndarray | float | None = None) -> np.ndarray:
        """Activities at a dose of the treatment between 0 and 1, by default at that which each cell was given."""
        given = self.treated if dose is None else dose
        each = np.broadcast_to(np.asarray(given, dtype=np.float64), len(self.obs))
        return self.control + each[:, None] * self.shift[self.obs["cell_type"].cat.codes]

    @property
    def treated(self) -> np.ndarray:
        """Which cells were treated."""
        return (self.obs["condition"] == CONDITIONS[1]).to_numpy()


def type_names(n_types: int) -> tuple[list[str], np.ndarray]:
    """Name the nodes of a binary tree filled from the root: stem, A, B, A1, A2, B1, ...; and list the parents."""
    names = ["stem", "A", "B"]
    for index in range(3, n_types):
        names.append(f"{names[(index - 1) // 2]}{2 - index % 2}")
    return names[:n_types], (np.arange(n_types) - 1) // 2


def draw_population(
    n_cells: int, roles: np.ndarray, *, design: SimulationDesign, rng: np.random.Generator
) -> Population:
    """Draw types along the lineage, donors, batches and conditions, and the factors' activities in each cell."""
    trait, cell = rng.spawn(2)
    names, parent = type_names(design.n_types)
    start = trait.normal(0, 0.3, (1, roles.size))
    nodes = np.zeros((design.n_types, roles.size))
    for index in range(design.n_types):
        origin = start[0] if index == 0 else nodes[parent[index]]
        nodes[index] = 0.7 * origin + trait.normal(0, SPREAD, roles.size)
    shift = _treatment(names, roles, design.condition_effect, rng=trait)
    composition = trait.dirichlet(10 * (1 + np.arange(design.n_types) % 3), design.n_donors)
    donors = trait.normal(0, design.donor_sd, (design.n_donors, roles.size))

    donor = cell.permutation(np.arange(n_cells) % design.n_donors)
    kind = (cell.random(n_cells)[:, None] > np.cumsum(composition, axis=1)[donor, :-1]).sum(1)
    treated = _halves(donor, rng=cell)
    along = cell.beta(2.0, 1.0, n_cells)
    origin = np.vstack([start, nodes])[np.where(kind == 0, 0, parent[kind] + 1)]
    smooth = (along**2 * (3 - 2 * along))[:, None]
    control = (1 - smooth) * origin + smooth * nodes[kind] + donors[donor]
    control += cell.normal(0, design.cell_sd, control.shape)
    depth = np.floor(np.log2(np.arange(design.n_types) + 1))
    obs = pd.DataFrame(
        {
            "cell_type": pd.Categorical.from_codes(kind, names),
            "donor": pd.Categorical.from_codes(donor, [f"donor_{i + 1}" for i in range(design.n_donors)]),
            "batch": pd.Categorical.from_codes(
                donor % design.n_batches, [f"batch_{i + 1}" for i in range(design.n_batches)]
            ),
            "condition": pd.Categorical(np.array(CONDITIONS)[treated.astype(np.int64)], CONDITIONS),
            "pseudotime": (depth[kind] + along) / (depth.max() + 1),
        }
    )
    lineage = pd.DataFrame({"parent": [names[i] for i in parent[1:]], "child": names[1:]})
    return Population(lineage, obs, control, shift)


def _treatment(names: list[str], roles: np.ndarray, effect: float, *, rng: np.random.Generator) -> np.ndarray:
    """Let an activator, a repressor and a decoy respond, in the types of one branch and to a different degree."""
    shift = np.zeros((len(names), roles.size))
    factors = [rng.choice(np.flatnonzero(roles == role)) for role in ("activator", "repressor", "decoy")]
    responding = [index for index, name in enumerate(names) if name.startswith("A")]
    strength = rng.uniform(0.6, 1.4, len(responding))
    shift[np.ix_(responding, factors)] = effect * SPREAD * strength[:, None] * np.array([1.0, -1.0, 1.0])
    return shift


def _halves(donor: np.ndarray, *, rng: np.random.Generator) -> np.ndarray:
    """Treat every other cell of each donor."""
    order = rng.permutation(donor.size)
    rank = pd.Series(donor[order]).groupby(donor[order]).cumcount().to_numpy()
    treated = np.empty(donor.size, dtype=bool)
    treated[order] = rank % 2 == 1
    return treated
