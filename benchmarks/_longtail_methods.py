"""Ways to learn labels of which some are rare: weights from the tree of clusters, and the peers."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks._labelled_sets import LABEL

if TYPE_CHECKING:
    from benchmarks._longtail_data import Tailed

PLAIN, CLASS_BALANCED, INVERSE, ADJUSTED, HCM = (
    "plain",
    "class-balanced loss",
    "inverse frequency",
    "logit adjustment",
    "HCM",
)
HCM_LOSS, BALANCED = "HCM, as loss", "HCM, without the root"
#: A control: what the shift alone is worth beside weights that know nothing of a tree.
CLASS_BALANCED_SHIFTED = "class-balanced loss, shifted as HCM"
#: The logarithm of the weights goes where logit adjustment has that of the shares: into the logits of the loss.
SHIFTED, SHIFTED_BALANCED = "HCM, in the logits of the loss", "HCM, in the logits of the loss, without the root"
#: Of the effective number of samples (Cui 2019); steps of the network and its rate.
BETA, N_STEPS, RATE, BATCH, HIDDEN = 0.999, 600, 1e-3, 128, 64


def cell_weights(data: Tailed, method: str, seed: int) -> np.ndarray:
    """Give the weight of each training cell."""
    label = data.train.obs[LABEL].astype(str)
    size = label.map(label.value_counts()).to_numpy(dtype=float)
    if method in {CLASS_BALANCED, CLASS_BALANCED_SHIFTED}:
        found = (1 - BETA) / (1 - BETA**size)
    elif method == INVERSE:
        found = 1 / size
    elif method in {HCM, HCM_LOSS, BALANCED, SHIFTED, SHIFTED_BALANCED}:
        import sctandem as td

        n_clusters = len(data.types) if method in {BALANCED, SHIFTED_BALANCED} else None
        done = td.pp.hierarchical_weights(data.train, labels=LABEL, n_clusters=n_clusters, rng=seed, copy=True)
        found = done.obs["hcm_weight"].to_numpy()
    else:
        found = np.ones(len(size))
    return found / found.mean()


def log_prior(data: Tailed, classes: np.ndarray) -> np.ndarray:
    """Give the logarithm of the share of each type in training."""
    label = data.train.obs[LABEL].astype(str).to_numpy()
    return np.log([(label == name).mean() for name in classes])


def shift(data: Tailed, weights: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Give the logarithm of the mean weight of each type: what its logit gains where cells count by their weights."""
    label = data.train.obs[LABEL].astype(str).to_numpy()
    return np.log([weights[label == name].mean() for name in classes])


def regression(data: Tailed, method: str, seed: int) -> np.ndarray:
    """scikit-learn's logistic regression at its defaults on log1p CP10k; logit adjustment after the fit (Menon 2021)."""
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = LogisticRegression(max_iter=1000).fit(
            data.train.layers["log"],
            data.train.obs[LABEL].astype(str),
            sample_weight=cell_weights(data, method, seed),
        )
    logits = model.decision_function(data.test.layers["log"])
    if method == ADJUSTED:
        logits = logits - log_prior(data, model.classes_)
    if method in {HCM, BALANCED, CLASS_BALANCED_SHIFTED}:
        logits = logits + shift(data, cell_weights(data, method, seed), model.classes_)
    return model.classes_[logits.argmax(1)]


def network(data: Tailed, method: str, seed: int) -> np.ndarray:
    """Learn with one hidden layer of 64 units and dropout; logit adjustment within the loss. HCM draws the minibatches, weighs the loss, or shifts its logits."""
    import torch
    from torch import nn

    from sctandem.data._weights import systematic_draw

    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    inputs = torch.from_numpy(data.train.layers["log"].toarray())
    classes, codes = np.unique(data.train.obs[LABEL].astype(str), return_inverse=True)
    target = torch.from_numpy(codes)
    weights = cell_weights(data, method, seed)
    tilt = np.zeros(len(classes))
    if method == ADJUSTED:
        tilt = log_prior(data, classes)
    elif method in {SHIFTED, SHIFTED_BALANCED}:
        tilt, weights = -shift(data, weights, classes), np.ones(len(codes))
    added = torch.from_numpy(tilt).float()
    model = nn.Sequential(
        nn.Linear(inputs.shape[1], HIDDEN), nn.ReLU(), nn.Dropout(0.5), nn.Linear(HIDDEN, len(classes))
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE, weight_decay=1e-5)
    step = 0
    while step < N_STEPS:
        order = systematic_draw(weights, rng.random()) if method in {HCM, BALANCED} else np.arange(len(codes))
        order = rng.permutation(order)
        for batch in np.array_split(order, -(-len(order) // BATCH)):
            loss = nn.functional.cross_entropy(model(inputs[batch]) + added, target[batch], reduction="none")
            if method not in {HCM, BALANCED}:
                loss = loss * torch.from_numpy(weights[batch]).float()
            optimizer.zero_grad()
            loss.mean().backward()
            optimizer.step()
            step += 1
    model.eval()
    with torch.inference_mode():
        logits = model(torch.from_numpy(data.test.layers["log"].toarray())).numpy()
    if method in {HCM, HCM_LOSS, BALANCED, CLASS_BALANCED_SHIFTED}:
        logits = logits + shift(data, weights, classes)
    return classes[logits.argmax(1)]


def capsules(data: Tailed, method: str, seed: int) -> np.ndarray:
    """Train CapsuleNet at its defaults; logit adjustment after the fit, on its probabilities."""
    from dataclasses import replace

    from sctandem.model import CapsuleNet

    train, test = data.train.copy(), data.test.copy()
    train.obs[LABEL], test.obs[LABEL] = train.obs[LABEL].astype(str), "unknown"
    CapsuleNet.setup_anndata(train, labels_key=LABEL, size_factor_key="depth")
    model = CapsuleNet(train, rng=seed)
    options: dict[str, Any] = {}
    if method not in {PLAIN, ADJUSTED}:
        train.obs["weight"] = cell_weights(data, method, seed)
        use = "sampler" if method in {HCM, BALANCED} else "loss"
        options = {"config": replace(CapsuleNet._train_config, sample_weight="weight", weight_use=use)}
    model.train(rng=seed, progress=False, accelerator="cpu", **options)
    probabilities = model.predict(test, soft=True)
    logits = np.log(np.maximum(probabilities.to_numpy(), 1e-12))
    classes = probabilities.columns.to_numpy().astype(str)
    if method == ADJUSTED:
        logits = logits - log_prior(data, classes)
    elif method == CLASS_BALANCED:  # as it was proposed: in the loss alone
        logits = logits - model.calibration_["label_shift"]
    return classes[logits.argmax(1)]


CLASSIFIERS = {
    "logistic regression": (
        regression,
        (PLAIN, INVERSE, CLASS_BALANCED, CLASS_BALANCED_SHIFTED, ADJUSTED, HCM, BALANCED),
    ),
    "network": (
        network,
        (
            *(PLAIN, INVERSE, CLASS_BALANCED, CLASS_BALANCED_SHIFTED, ADJUSTED),
            *(HCM, HCM_LOSS, BALANCED, SHIFTED, SHIFTED_BALANCED),
        ),
    ),
    "CapsuleNet": (capsules, (PLAIN, CLASS_BALANCED, CLASS_BALANCED_SHIFTED, ADJUSTED, HCM, HCM_LOSS, BALANCED)),
}
