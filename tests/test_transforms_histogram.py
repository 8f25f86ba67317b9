"""Histogram matching: the grey values of one domain for the other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scripts.errors import InputError
from scripts.transforms.histogram import MatchHistogram, MatchHistogramd


def test_matched_grey_values_have_the_quantiles_of_the_reference() -> None:
    rng = np.random.default_rng(0)
    source, target = rng.normal(0.3, 0.05, (1, 8, 32, 32)), rng.gamma(2.0, 0.1, (1, 8, 32, 32))
    matched = MatchHistogram([target])(source)
    shares = np.linspace(0.05, 0.95, 19)
    assert np.allclose(np.quantile(matched, shares), np.quantile(target, shares), atol=2e-3)


def test_the_order_of_grey_values_is_kept() -> None:
    rng = np.random.default_rng(1)
    source = rng.random((1, 4, 16, 16)).astype(np.float32)
    matched = np.asarray(MatchHistogram([rng.random((1, 4, 16, 16)) ** 3])(source))
    order = np.argsort(source, axis=None)
    assert (np.diff(matched.ravel()[order]) >= 0).all()


def test_a_volume_matched_to_itself_stays_as_it_is() -> None:
    volume = np.random.default_rng(2).random((1, 4, 16, 16))
    assert np.allclose(MatchHistogram([volume])(volume), volume, atol=1e-3)


def test_type_and_meta_data_are_kept() -> None:
    volume = MetaTensor(torch.rand(1, 4, 8, 8, generator=torch.Generator().manual_seed(0)).half())
    volume.meta["filename_or_obj"] = "x.tif"
    matched = MatchHistogramd("image", [{"image": np.linspace(0, 1, 256).reshape(1, 4, 8, 8)}])({"image": volume})
    assert matched["image"].dtype == torch.float16
    assert matched["image"].meta["filename_or_obj"] == "x.tif"


@pytest.mark.parametrize(("reference", "message"), [([], "no reference"), ([np.ones((1, 2, 2, 2))], "only the value")])
def test_a_reference_that_says_nothing_is_refused(reference: list[np.ndarray], message: str) -> None:
    with pytest.raises(InputError, match=message):
        MatchHistogram(reference)
