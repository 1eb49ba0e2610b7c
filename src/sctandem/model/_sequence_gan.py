"""SequenceGAN: an adversarially trained generator of regulatory sequences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from sctandem._checks import check_positive, check_type
from sctandem._compat import ModelLayout
from sctandem._plain import from_plain, to_plain
from sctandem._random import RNG, as_generator
from sctandem._whole import whole_folder
from sctandem.kernels._sequence_grammar import Grammar
from sctandem.model._sequence_data import read_codes
from sctandem.model._sequence_fit import Fitted, fit_sequences, importance, keep, score
from sctandem.model.base._files import check_target, made_by, model_folder, read_model_file
from sctandem.module._sequence_gan import SequenceCritic, SequenceGANConfig
from sctandem.nn._threads import torch_on_one_thread

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from typing import Self

_LETTERS = np.array(list("ACGT"))
_GRAMMAR = ("chain", "order", "length", "motifs", "starts", "strands")
_FIELDS = ("model", "config", "scale", "told", *_GRAMMAR)


class SequenceGAN:
    """Learn to write regulatory sequences like those given, against a critic that tells the two apart.

    Parameters
    ----------
    data
        Sequences of one length, as texts; or an AnnData of peaks, or a MuData with such a modality, together with `fasta`.
    fasta
        The genome of the peaks, FASTA, may be compressed.
    width
        Bases around the middle of each sequence or peak that are taken, at least 40; `None` for all, which then have to be of one length.
    modalities
        From the role ``"atac"`` to the name of the modality, when `data` is a MuData. By default the same.
    config
        Settings; `None` for the defaults.

    Raises
    ------
    ValueError
        For sequences that are none, of different lengths without a `width`, or fewer than 100 without unknown bases; and as
        :func:`sctandem.pp.nucleotide_spectrum` for peaks that do not fit the genome.
    TypeError
        When `data` are neither sequences nor an object with peaks, or `config` is of another kind.
    KeyError
        When the modality is missing.

    Notes
    -----
    The generator writes a Markov chain with sites of motifs in it. It starts with the chain alone. A convolutional critic learns to
    tell its sequences from those of the data; what its filters find that sets them apart, and words that the data have more often, are fitted as motifs (expectation-maximisation,
    sites on either strand), and the best is added if it raises the likelihood of held-out sequences. Then the sites of all motifs are drawn anew in each
    sequence given the others, with what they have in common: which lie together, how far apart, on which strands, each as all sequences but a tenth with this one
    have it. This goes on until the critic points at nothing that held-out sequences confirm. New sequences take the arrangement of sites of one of the data, moved
    together by up to 10 bases, and new letters throughout: none is copied. A last critic, which reads arrangements too, weighs what is written by how much likelier it is in the data, as far as
    held-out sequences say that it is right, and one in four goes through.

    *What it does not learn*: a motif has one site a sequence at most, and repeats, periods and everything that is not a motif only as far as a chain of
    at most six bases goes. A sequence that it makes has the statistics of the data; whether it works in a cell is not known.
    Runs on the processor; a minute or two for 3,000 sequences of 150 bases.

    References
    ----------
    Goodfellow et al., Generative adversarial nets, NeurIPS (2014); Lawrence et al., Detecting subtle sequence signals, Science (1993); Tolstikhin et al., AdaGAN: boosting generative models, NeurIPS (2017);
    Azadi et al., Discriminator rejection sampling, ICLR (2019).

    Examples
    --------
    >>> import numpy as np
    >>> import sctandem as td
    >>> from sctandem.module import SequenceGANConfig
    >>> letters = np.random.default_rng(0).choice(list("ACGT"), (120, 50))
    >>> letters[::2, 20:28] = list("TGACGTCA")
    >>> config = SequenceGANConfig(max_motifs=1, critic_epochs=2, n_sweeps=2)
    >>> model = td.model.SequenceGAN(["".join(row) for row in letters], config=config)
    >>> model.train(rng=0, progress=False)
    >>> new = model.generate(3, rng=0)
    >>> len(new), len(new[0])
    (3, 50)
    """

    def __init__(
        self,
        data: Any,
        fasta: str | os.PathLike[str] | None = None,
        *,
        width: int | None = None,
        modalities: Mapping[str, str] | None = None,
        config: SequenceGANConfig | None = None,
    ) -> None:
        self.config = SequenceGANConfig() if config is None else config
        check_type(self.config, SequenceGANConfig, "config")
        self._codes: np.ndarray | None = read_codes(data, fasta, width=width, modalities=modalities)  # type: ignore[arg-type]
        self._fitted: Fitted | None = None

    def __repr__(self) -> str:
        trained = "not trained" if self._fitted is None else f"{len(self.motifs)} motifs"
        return f"SequenceGAN of {self.length} bases, {trained}"

    @property
    def length(self) -> int:
        """Bases of a sequence."""
        return self._codes.shape[1] if self._codes is not None else self._trained().grammar.length

    @property
    def is_trained(self) -> bool:
        """Whether it is trained."""
        return self._fitted is not None

    @property
    def motifs(self) -> dict[str, np.ndarray]:
        """Motifs that were learned, width x ACGT, by name; :func:`sctandem.pp.nucleotide_spectrum` takes them."""
        return {f"motif{i}": motif.copy() for i, motif in enumerate(self._trained().grammar.motifs)}

    @property
    def sites(self) -> pd.DataFrame:
        """Part of the sequences in which each motif lies: ``share`` by motif."""
        starts = self._trained().grammar.starts
        return pd.DataFrame({"share": (starts >= 0).mean(0)}, index=pd.Index(list(self.motifs), name="motif"))

    @property
    def history(self) -> pd.DataFrame:
        """A row a round: ``motifs`` of the generator, ``auc`` of the critic on held-out sequences against made ones, and in the last row ``auc_kept``, against those that it lets through."""
        return pd.DataFrame(self._trained().told).rename_axis("round")

    def train(self, *, rng: RNG = None, progress: bool | None = None) -> None:
        """Train generator and critic in turns.

        Parameters
        ----------
        rng
            Seed of all that is random in the training. The same seed gives the same model on the same machine; `None` draws one.
        progress
            Whether to show a bar; `None` for in a terminal or notebook.

        Returns
        -------
        None. A call after the first begins anew.

        Raises
        ------
        RuntimeError
            For a model that was loaded: sequences of the data are not in its file.

        Notes
        -----
        An interruption (Ctrl-C) ends the training and leaves what was learned by then: a generator with as many motifs as there were, and without a critic that
        chooses among what it writes; before the first round is over it leaves the model as it was. There are no checkpoints, as it takes a minute or two.
        """
        if self._codes is None:
            msg = "a SequenceGAN that was loaded has no sequences to train on; make one from the data."
            raise RuntimeError(msg)
        self._fitted = fit_sequences(self._codes, self.config, rng=as_generator(rng), progress=progress)

    @torch_on_one_thread()
    def generate(self, n: int, *, rng: RNG = None, critic: bool = True) -> list[str]:
        """Write new sequences.

        Parameters
        ----------
        n
            How many.
        rng
            Seed.
        critic
            Whether the critic, if the training came that far, chooses among more than `n`.

        Returns
        -------
        `n` texts of A, C, G and T.

        Raises
        ------
        RuntimeError
            When the model is not trained.
        ValueError
            When `n` is not a whole number above 0.
        """
        fitted = self._trained()
        check_positive(n, "n", whole=True)
        check_type(critic, bool, "critic")
        generator = as_generator(rng)
        chooses = fitted.critic if critic and fitted.scale > 0 else None
        codes = fitted.grammar.draw(n * (1 if chooses is None else self.config.oversample), generator)
        if chooses is not None:
            weights = importance(score(chooses, codes.astype(np.int64)), fitted.scale)
            codes = codes[keep(weights, n, generator)]
        return ["".join(row) for row in _LETTERS[codes]]

    def save(self, dir_path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the model to a folder, whole or not at all.

        Parameters
        ----------
        dir_path
            The folder; it is made when it does not exist.
        overwrite
            Whether a model in it may be replaced.

        Returns
        -------
        None. The folder holds `model.pt`: plain data, and no sequence of the data.

        Raises
        ------
        RuntimeError
            When the model is not trained.
        ValueError
            When the folder exists and `overwrite` is `False`.
        OSError
            When the disk does not take the file; names the folder, which is as it was.
        """
        fitted, target, layout = self._trained(), check_target(dir_path, overwrite=overwrite), ModelLayout()
        grammar = fitted.grammar
        held = {
            "model": "SequenceGAN",
            "config": self.config,
            "scale": fitted.scale,
            "told": fitted.told,
            **{name: getattr(grammar, name) for name in _GRAMMAR},
            **made_by(),
        }
        content = {
            layout.state: {} if fitted.critic is None else fitted.critic.state_dict(),
            layout.features: [],
            layout.attributes: to_plain(held, "the model"),
        }
        with whole_folder(target, last=layout.model_file) as folder:
            torch.save(content, folder / layout.model_file)

    @classmethod
    def load(cls, dir_path: str | os.PathLike[str]) -> Self:
        """Read a model from a folder, without running anything that its file holds.

        Parameters
        ----------
        dir_path
            The folder that `save` has written.

        Returns
        -------
        The model, which writes the same sequences from the same seed.

        Raises
        ------
        FileNotFoundError
            When the folder does not hold a model.
        ValueError
            When the file is damaged, made by a newer version, holds more than plain data, or is of another class.
        """
        layout = ModelLayout()
        path = model_folder(dir_path) / layout.model_file
        raw = read_model_file(path)
        try:
            held = from_plain(raw[layout.attributes], (SequenceGANConfig,))
            missing = [name for name in _FIELDS if name not in held]
            if missing or held["model"] != "SequenceGAN":
                msg = f"it is of another class, or lacks {missing}"
                raise ValueError(msg)
            config, scale = held["config"], float(held["scale"])
            grammar = Grammar(
                held["chain"],
                held["order"],
                held["length"],
                config.both_strands,
                held["motifs"],
                held["starts"],
                held["strands"],
            )
            grammar.check()
            if not 0 <= scale < 100:
                msg = f"its scale is {scale}"
                raise ValueError(msg)
            critic = None
            if raw[layout.state]:
                critic = SequenceCritic(config).eval()
                critic.load_state_dict(raw[layout.state])
        except (RuntimeError, ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
            msg = f"{path} is no file of a SequenceGAN, or damaged: {error}."
            raise ValueError(msg) from error
        model = cls.__new__(cls)
        model.config, model._codes = config, None
        model._fitted = Fitted(grammar, critic, scale, held["told"])
        return model

    def _trained(self) -> Fitted:
        if self._fitted is None:
            msg = "this SequenceGAN is not trained; call `model.train()` first."
            raise RuntimeError(msg)
        return self._fitted
