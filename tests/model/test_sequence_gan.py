"""A generator of sequences: planted motifs at their rate and spacing, nothing copied, files, wrong input."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData

import sctandem as td
from sctandem.kernels._sequence_grammar import Grammar, contexts, fit_chain
from sctandem.kernels._site_search import base_log_odds, fit_motif
from sctandem.model import SequenceGAN, _sequence_fit
from sctandem.module import SequenceGANConfig

MOTIF, PARTNER = "TGACGTAGCA", "CCATTGGAGT"
QUICK = SequenceGANConfig(max_motifs=2, critic_epochs=3, n_filters=12, n_sweeps=5)


def planted(n: int, rng: np.random.Generator) -> list[str]:
    """A motif in half of the sequences on either strand, and half of the time its partner 20 bases on."""
    out = []
    for _ in range(n):
        text = "".join(rng.choice(list("ACGT"), 100))
        if rng.random() < 0.5:
            at = rng.integers(60)
            text = text[:at] + MOTIF + text[at + 10 :]
            if rng.random() < 0.5:
                text = text[: at + 20] + PARTNER + text[at + 30 :]
            if rng.random() < 0.5:
                text = reverse(text)
        out.append(text)
    return out


def reverse(text: str) -> str:
    return text[::-1].translate(str.maketrans("ACGT", "TGCA"))


def share(sequences: list[str], word: str) -> float:
    """How many hold a word, on either strand, one letter being free."""
    near = {word[:i] + base + word[i + 1 :] for i in range(len(word)) for base in "ACGT"}
    near |= {reverse(one) for one in near}
    return np.mean(
        [any(text[i : i + len(word)] in near for i in range(len(text) - len(word) + 1)) for text in sequences]
    )


def paired(sequences: list[str]) -> float:
    """How many hold motif and partner exactly as planted."""
    whole = [(MOTIF, PARTNER), (reverse(PARTNER), reverse(MOTIF))]
    return np.mean(
        [any(a in text and text.find(b) - text.find(a) == 20 for a, b in whole if b in text) for text in sequences]
    )


@pytest.fixture(scope="module")
def data() -> list[str]:
    return planted(700, np.random.default_rng(0))


@pytest.fixture(scope="module")
def model(data: list[str]) -> SequenceGAN:
    model = SequenceGAN(data, config=QUICK)
    model.train(rng=0, progress=False)
    return model


def test_motifs_come_at_their_rate_and_are_arranged(model: SequenceGAN) -> None:
    """Against new sequences of the same kind, in which one of four has the pair."""
    new, made = planted(2000, np.random.default_rng(1)), model.generate(2000, rng=0)
    assert len(model.motifs) == 2
    for word in (MOTIF, PARTNER):
        assert share(made, word) == pytest.approx(share(new, word), rel=0.15)
    # independent sites give next to no pairs. Exact pairs are fewer than among new ones by what chance the 700 sequences are (0.223 of them
    # have one, 0.25 of new ones) and by single wrong letters; the rate of pairs of any strength is measured by the benchmark
    assert 0.7 * paired(new) < paired(made) < 1.1 * paired(new)
    assert sorted(model.sites["share"]) == pytest.approx([0.25, 0.5], abs=0.06)


def test_the_critic_finds_less_and_less(model: SequenceGAN) -> None:
    auc = model.history["auc"].to_numpy()
    assert auc[0] > 0.6
    assert auc[2] < auc[0] - 0.1


def test_nothing_is_copied(model: SequenceGAN, data: list[str]) -> None:
    """No run of 30 bases, which holds motif, gap and partner, is one of the data."""
    known = {text[i : i + 30] for one in data for text in (one, reverse(one)) for i in range(71)}
    made = model.generate(500, rng=1)
    assert not any(text[i : i + 30] in known for text in made for i in range(71))
    assert len(set(made)) == 500


def test_sequences_without_motifs_give_none() -> None:
    rng = np.random.default_rng(3)
    model = SequenceGAN(["".join(row) for row in rng.choice(list("ACGT"), (300, 80))], config=QUICK)
    model.train(rng=0, progress=False)
    assert model.motifs == {}
    assert len(model.generate(5, rng=0)) == 5


def test_a_saved_model_writes_the_same(model: SequenceGAN, data: list[str], tmp_path) -> None:
    model.save(tmp_path / "gan")
    loaded = SequenceGAN.load(tmp_path / "gan")
    for critic in (True, False):
        assert loaded.generate(20, rng=5, critic=critic) == model.generate(20, rng=5, critic=critic)
    assert model.generate(20, rng=5) != model.generate(20, rng=6)
    pd.testing.assert_frame_equal(loaded.history, model.history)
    raw = (tmp_path / "gan" / "model.pt").read_bytes()
    assert data[0].encode() not in raw
    with pytest.raises(RuntimeError, match="no sequences to train on"):
        loaded.train()
    with pytest.raises(ValueError, match="already exists"):
        model.save(tmp_path / "gan")
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="It is a file: name a folder"):
        model.save(tmp_path / "file", overwrite=True)


def test_a_file_of_a_newer_version_is_told(model: SequenceGAN, tmp_path) -> None:
    model.save(tmp_path / "gan")
    path = tmp_path / "gan" / "model.pt"
    content = torch.load(path, weights_only=True)
    content["attr_dict"]["sctandem_"]["format"] += 1
    torch.save(content, path)
    with pytest.raises(ValueError, match=r"model\.pt was made by a newer sctandem"):
        SequenceGAN.load(tmp_path / "gan")


@pytest.mark.parametrize("fault", ["code", "sites", "chain", "class", "cut"])
def test_a_crafted_file_is_refused(model: SequenceGAN, tmp_path, fault: str) -> None:
    model.save(tmp_path / "gan")
    path = tmp_path / "gan" / "model.pt"
    if fault == "cut":
        path.write_bytes(path.read_bytes()[:500])
    else:
        content = torch.load(path, weights_only=True)
        attributes = content["attr_dict"]
        if fault == "code":
            content["attr_dict"]["config"] = print
        elif fault == "sites":
            attributes["starts"]["values"] = attributes["starts"]["values"] + 1000
        elif fault == "chain":
            attributes["chain"]["values"] = attributes["chain"]["values"] + 1
        else:
            attributes["model"] = "RSD"
        torch.save(content, path)
    with pytest.raises(ValueError, match=r"model\.pt"):
        SequenceGAN.load(tmp_path / "gan")


def test_the_same_seed_gives_the_same(data: list[str]) -> None:
    """Also of a model that was trained before, and another seed gives another."""
    model = SequenceGAN(data[:150], config=SequenceGANConfig(max_motifs=0, critic_epochs=1, n_filters=4))
    told = []
    for seed in (4, 5, 4, np.random.default_rng(4)):
        model.train(rng=seed, progress=False)
        told.append((model.generate(10, rng=0), model.history["auc"].tolist()))
    assert told[0] == told[2] == told[3]
    assert told[0] != told[1]


@pytest.mark.parametrize("n_critics", [1, 2, 3])
def test_an_interruption_leaves_what_was_learned(data, model, tmp_path, monkeypatch, caplog, n_critics: int) -> None:
    """In the search of the first motif, of the second, and while the last critic learns: as many motifs, no critic, files and sequences as usual."""
    _stopped_after(n_critics, monkeypatch)
    cut = SequenceGAN(data, config=QUICK)
    cut.train(rng=0, progress=False)
    assert "interrupted after" in caplog.text
    monkeypatch.undo()
    assert len(cut.motifs) == n_critics - 1
    assert cut.history["auc"].tolist() == model.history["auc"].tolist()[:n_critics]
    assert cut.sites.shape == (n_critics - 1, 1)
    made = cut.generate(300, rng=0)
    assert made == cut.generate(300, rng=0, critic=False)
    assert (share(made, MOTIF) > 0.3) == (n_critics > 1)
    cut.save(tmp_path / "gan")
    assert SequenceGAN.load(tmp_path / "gan").generate(300, rng=0) == made


def test_an_interruption_before_anything_was_learned_changes_nothing(data: list[str], model, monkeypatch) -> None:
    _stopped_after(0, monkeypatch)
    fresh = SequenceGAN(data, config=QUICK)
    with pytest.raises(KeyboardInterrupt, match="stop"):
        fresh.train(rng=0, progress=False)
    assert not fresh.is_trained
    before = model.generate(20, rng=0)
    with pytest.raises(KeyboardInterrupt, match="stop"):
        model.train(rng=1, progress=False)
    assert model.generate(20, rng=0) == before


def _stopped_after(n_critics: int, monkeypatch) -> None:
    """Let the user stop the training when so many critics have learned: in the middle of a sweep, or else while the next learns."""
    critics, fit, sweep, stopped = [], _sequence_fit._critic, Grammar.sweep, KeyboardInterrupt("stop")

    def stop(*args, **options):
        if len(critics) == n_critics and n_critics in (0, 3):
            raise stopped
        critics.append(1)
        return fit(*args, **options)

    def half(grammar, codes, rng, shares=None):
        if len(critics) == n_critics and n_critics < 3:
            grammar.starts[:] = -5
            raise stopped
        sweep(grammar, codes, rng, shares)

    monkeypatch.setattr(_sequence_fit, "_critic", stop)
    monkeypatch.setattr(Grammar, "sweep", half)


@pytest.mark.parametrize(
    ("data", "options", "error", "message"),
    [
        ("ACGT" * 20, {}, TypeError, "single text"),
        (3, {}, TypeError, "list of sequences"),
        ([5] * 200, {}, TypeError, r"data\[0\]"),
        (["ACGX" * 20] * 200, {}, ValueError, "'X'"),
        (["ACGT" * 20] * 10, {}, ValueError, "at least 100"),
        (["ACGT" * 20, "ACGT" * 21] * 100, {}, ValueError, "lengths of 80 to 84"),
        (["ACGT" * 20] * 200, {"width": 90}, ValueError, "fewer than width=90"),
        (["ACGT" * 20] * 200, {"width": 10}, ValueError, "no room"),
        (["ACGT" * 5] * 200, {}, ValueError, "at least 40"),
        (["ACGT" * 20] * 200, {"config": {}}, TypeError, "config"),
    ],
)
def test_wrong_input(data, options, error, message) -> None:
    with pytest.raises(error, match=message):
        SequenceGAN(data, **options)


def test_an_untrained_model_says_so(data: list[str], tmp_path) -> None:
    model = SequenceGAN(data)
    for call in (lambda: model.generate(2), lambda: model.save(tmp_path / "x"), lambda: model.motifs):
        with pytest.raises(RuntimeError, match="not trained"):
            call()


def test_peaks_are_read_from_the_genome(tmp_path) -> None:
    """The middle of each peak, and without those that have unknown bases."""
    bases = np.random.default_rng(0).choice(list("ACGT"), 12_000)
    bases[30] = "N"
    fasta = tmp_path / "genome.fa"
    fasta.write_text(">chr1\n" + "".join(bases) + "\n")
    peaks = AnnData(np.ones((2, 120), dtype=np.float32))
    peaks.var_names = [f"chr1:{100 * i}-{100 * i + 60}" for i in range(120)]
    model = SequenceGAN(peaks, fasta, width=50)
    assert model.length == 50
    assert len(model._codes) == 119
    assert "".join(np.array(list("ACGT"))[model._codes[0]]) == "".join(bases[105:155])
    with pytest.raises(FileNotFoundError, match=r"none\.fa"):
        SequenceGAN(peaks, tmp_path / "none.fa")


def test_a_chain_is_that_of_the_counts() -> None:
    """Of many bases, where shrinking plays no part."""
    codes = np.random.default_rng(0).choice(4, (500, 200), p=[0.4, 0.3, 0.2, 0.1])
    codes[:, 1::2] = (codes[:, ::2] + 1) % 4
    chain = np.exp(fit_chain(codes, 1, both=False))
    found = np.array([np.bincount(codes[:, 1:][codes[:, :-1] == base], minlength=4) for base in range(4)])
    assert chain[:4] == pytest.approx(found / found.sum(1, keepdims=True), abs=2e-3)
    drawn = Grammar(np.log(chain), 1, 200, both=False).draw(500, np.random.default_rng(1)).astype(np.int64)
    again = np.exp(fit_chain(drawn, 1, both=False))
    assert again[:4] == pytest.approx(chain[:4], abs=0.02)
    assert contexts(np.array([[0, 1, 2]]), 2).tolist() == [[24, 20, 1]]


def test_log_odds_are_those_of_the_definition() -> None:
    codes = np.array([[0, 1, 2, 3, 0]])
    motif = np.array([[0.7, 0.1, 0.1, 0.1], [0.1, 0.6, 0.2, 0.1]])
    odds = base_log_odds(codes, np.full(codes.shape, np.log(0.25)), motif, both=True)
    assert odds[0, 0, 0] == pytest.approx(np.log(0.7 * 0.6 * 16))
    # GT is AC on the other strand
    assert odds[0, 1, 2] == pytest.approx(np.log(0.7 * 0.6 * 16))


def test_a_motif_is_found_from_a_vague_start() -> None:
    rng = np.random.default_rng(0)
    texts = planted(400, rng)
    codes = np.array([["ACGT".index(base) for base in text] for text in texts])
    true = np.eye(4)[["ACGT".index(base) for base in MOTIF]]
    found, share, gain = fit_motif(
        codes, np.full(codes.shape, np.log(0.25)), np.zeros(codes.shape, bool), 0.4 * true + 0.15, both=True, n_steps=12
    )
    letters = "".join("ACGT"[i] for i in found.argmax(1))
    assert MOTIF in letters or MOTIF in reverse(letters)
    assert share == pytest.approx(0.5, abs=0.07)
    assert gain > 1


def test_it_is_in_the_package() -> None:
    assert td.model.SequenceGAN is SequenceGAN


def test_no_sequences_at_all():
    with pytest.raises(ValueError, match="data has 0 sequences without unknown bases; at least 100 are needed"):
        SequenceGAN([])
