from __future__ import annotations

import importlib.util
import pydoc
import re
import runpy
import sys

import pytest
from scripts.moved import GONE, MOVED, MovedNames, keep_old_names

# what 0.4.1 offered below scripts, by module, and stands elsewhere now
OLD = {
    "argument": "PATHS VOLUMES bound unknown_flag",
    "augmentations": "RandCutBlur RandCutBlurd RandCutNoise RandCutNoised RandDensity RandDensityd RandElasticInPlane "
    "RandElasticInPlaned RandGreyValue RandGreyValued RandMisalignment RandMisalignmentd RandMissingParts "
    "RandMissingPartsd RandMissingSection RandMissingSectiond RandMotionBlur RandMotionBlurd "
    "RandRescaleInPlane RandRescaleInPlaned",
    "command": "BUNDLE as_read configuration listed overlay_files run_bundle",
    "dataset": "HoldOutd",
    "demo": "demo",
    "flag": "flag",
    "fragmentation": "Fragmentation check_fragmentation fragmentation",
    "handlers": "write_table write_text",
    "histogram": "MatchHistogram MatchHistogramd",
    "image_pool": "ImagePool",
    "intensity": "GreyScale ScaleGreyValues ScaleGreyValuesd Survey check_percentiles count_values grey_ends",
    "loader": "TrainingLoader",
    "lock": "Lock",
    "losses": "NonFiniteLossError anticorrelation balance_weights check_finite dice_from_logits distance_mse "
    "weighted_bce_with_logits",
    "optimizers": "Schedule adamw gradient_norm has_gradient warm_up_cosine",
    "pairing": "check_apart check_pairs check_roles check_training_roles",
    "preflight": "check_decoder check_folder check_inference check_training expected_error plain_errors",
    "scaling": "MOST_SCALED ScaleVolume ScaleVolumed check_scaled_memory checked_scale resized scaled_shape",
    "start": "expected_error plain_errors start",
    "validation": "CheckImaged CheckLabeld check_image check_label check_maps",
    "worker": "SHARED_MEMORY_FULL WorkerStart bad_input_in defect_in_worker end_with_parent said_by_worker "
    "shared_memory_is_full",
}
NAMES = [f"scripts.{module}.{name}" for module, names in OLD.items() for name in names.split()]


@pytest.mark.parametrize("old", NAMES)
def test_an_old_name_is_the_new_object_and_says_where_it_is(old: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.moved._told", {})
    with pytest.warns(FutureWarning, match=re.escape(old)) as told:
        found = pydoc.locate(old)
    new = re.findall(r"is now (\S+)\.", str(told[0].message))[0]
    assert new != old
    assert found is not None
    assert found is pydoc.locate(new)


def test_the_table_has_no_module_that_version_0_4_had_not() -> None:
    assert {key.partition(".")[0] for key in MOVED} == set(OLD)


def test_an_old_module_runs_by_its_old_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.moved._told", {})
    monkeypatch.delitem(sys.modules, "scripts.flag", raising=False)
    with pytest.warns(FutureWarning, match=r"scripts\.flag is now scripts\.command\.flag"):
        assert runpy.run_module("scripts.flag")["flag"]("true", "a")
    spec = importlib.util.find_spec("scripts.demo")
    assert spec is not None
    assert str(spec.origin).endswith("scripts/compare/demo.py")


@pytest.mark.parametrize("name", GONE)
def test_a_module_that_was_removed_names_what_replaces_it_in_one_line(name: str) -> None:
    said = rf"scripts\.{name} was removed in version 0\.5: .*{re.escape(GONE[name])}\.$"
    with pytest.raises(SystemExit, match=f"^error: {said}"):
        runpy.run_module(f"scripts.{name}", run_name="__main__")
    with pytest.raises(ImportError, match=f"^{said}"):
        __import__(f"scripts.{name}")


def test_new_names_warn_of_nothing(recwarn: pytest.WarningsRecorder) -> None:
    for name in ("scripts.dataset.PatchPairs", "scripts.command.flag.flag", "scripts.transforms.RandDensityd"):
        assert pydoc.locate(name) is not None
    assert not [one for one in recwarn if one.category is FutureWarning]
    for name in ("scripts.dataset.Nothing", "scripts.losses.Nothing", "scripts.nothing"):
        assert pydoc.locate(name) is None


def test_scripts_imported_again_has_one_finder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    keep_old_names()
    keep_old_names()
    assert [type(finder).__name__ for finder in sys.meta_path].count(MovedNames.__name__) == 1
