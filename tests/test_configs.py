"""The configs as text and as objects: overlays name what exists, shared blocks agree, targets resolve, MONAI's ids."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from monai.bundle import ConfigParser, ConfigWorkflow
from monai.bundle.properties import InferProperties, TrainProperties
from monai.utils import BundleProperty, BundlePropertyConfig
from monai.utils.module import locate
from scripts.check.setting import MAY_CHANGE, compared_keys
from scripts.check.source import MARKS
from scripts.errors import InputError
from scripts.handlers import validator
from scripts.label_server.folder import merged_configs
from scripts.trainer import UNPUBLISHED, CySGANTrainer
from scripts.trainer.optimizer import adamw_for_each
from scripts.transforms import sample_augmentation
from torch import nn

CONFIGS = Path(__file__).resolve().parents[1] / "bundle" / "configs"
SHARED = ["representation", "decoder", "network_def", "window", "overlap", "window_padding", "blending", "device"]
SHARED += ["intensity_percentiles", "bundle_root", "dataset_dir", "contour_dilation", "contour_axes", "spacing"]
SHARED += ["distance_per_section", "distance_levels", "seed_distance"]
# what an overlay adds on purpose; every other key of it is one of its base's
OVERLAYS: dict[str, tuple[list[str], set[str]]] = {
    "demo": (["train"], set()),
    "published": (["train", "inference"], set()),
    "evaluate": (["inference"], {"evaluating"}),
    "blockwise": (
        ["inference"],
        {"maps", "block", "workers", "scheduler", "shard", "shards", "intensity_range", "blockwise", "evaluating"}
        | {"instances", "decoding_block", "decoding_halo", "blockwise_decoder"},
    ),
    "exported": (["inference"], set()),
    "label_server": (["inference"], {"displayable_configs"}),
    "tile_independent": (["train", "inference"], set()),
    "light_augmentation": (["train"], set()),
    "judged": (["train"], set()),
    "refine": (["train"], {"rounds", "round_iterations", "cleaning", "least_kept", "undo"}),
    "ablation_no_input_defects": (["train"], set()),
    "baseline_source_only": (["train"], set()),
    "baseline_histogram": (["train"], {"match_x"}),
    "baseline_two_step": (["train"], set()),
    "baseline_mean_teacher": (["train"], set()),
    "ablation_no_semi_supervised": (["train"], set()),
    "ablation_frozen_discriminator_s": (["train"], set()),
    "oracle": (["train"], set()),
    "target_bc": (["train", "inference"], set()),
    "target_affinity": (["train", "inference"], set()),
    "target_distance_2d": (["train", "inference"], set()),
    "target_distance_quantised": (["train", "inference"], set()),
    "multi_gpu_train": (["train"], {"finalize", "timeout_minutes"}),
    "multi_gpu_inference": (
        ["inference"],
        {"finalize", "timeout_minutes", "weights_loader"},
    ),
    "mlflow": (["train"], {"tracking_uri", "experiment_name", "run_name", "mlflow_silent"}),
}
BASES = ("train", "inference")


def load(name: str) -> dict[str, Any]:
    return yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())


def nodes(config: Any) -> Iterator[dict[str, Any]]:
    """Every dictionary within a config."""
    if isinstance(config, dict):
        yield config
    for value in config.values() if isinstance(config, dict) else config if isinstance(config, list) else ():
        yield from nodes(value)


def has(config: Any, key: str) -> bool:
    """Whether a config has an id such as `train::trainer::amp` or `representation::maps::2`."""
    for part in key.lstrip("+").split("::"):
        children = dict(enumerate(config)) if isinstance(config, list) else config
        index: Any = int(part) if isinstance(config, list) else part
        if not isinstance(children, dict) or index not in children:
            return False
        config = children[index]
    return True


def test_every_overlay_is_known_here() -> None:
    assert {path.stem for path in CONFIGS.glob("*.yaml")} == {*OVERLAYS, *BASES}


@pytest.mark.parametrize(("base", "most"), [("train", 450), ("inference", 170)])
def test_a_base_can_be_read_in_one_go(base: str, most: int) -> None:
    assert len((CONFIGS / f"{base}.yaml").read_text().splitlines()) <= most


@pytest.mark.parametrize("name", OVERLAYS)
def test_an_overlay_changes_only_what_its_base_has(name: str) -> None:
    bases, added = OVERLAYS[name]
    assert sorted(load(name)["overlay_on"], reverse=True) == bases
    unknown = {key for key in load(name).keys() - MARKS if not any(has(load(base), key) for base in bases)}
    assert unknown == added


@pytest.mark.parametrize(("base", "overlay"), [(base, name) for name in OVERLAYS for base in OVERLAYS[name][0]])
def test_an_overlay_merges_with_each_of_its_bases(base: str, overlay: str) -> None:
    merged = ConfigParser.load_config_files([str(CONFIGS / f"{name}.yaml") for name in (base, overlay)])
    assert all(has(merged, key) for key in load(overlay))


@pytest.mark.parametrize("key", SHARED)
def test_what_training_and_inference_share_is_the_same(key: str) -> None:
    assert load("train")[key] == load("inference")[key]


def test_inference_in_validation_is_that_of_the_inference_config() -> None:
    """But for the scale, which is each domain's own."""
    train, inference = load("train"), load("inference")["inferer"]
    validation = train["validate"]["inferer"]
    assert (validation["scale"], inference["scale"]) == ("@scale_x", "@scale")
    own = {"progress": True, "scale": None}
    assert {**inference, **validation, **own} == {**validation, **inference, **own}
    on_y = train["validate_y"]["evaluator"]
    assert (on_y["inferer"], on_y["scale"]) == ("@validate#inferer", "@scale_y")


@pytest.mark.parametrize(("training", "inference"), [("scale_y", "scale"), ("intensity_gamma_y", "intensity_gamma")])
def test_inference_sees_y_as_training_did(training: str, inference: str) -> None:
    assert load("train")[training] == load("inference")[inference]
    assert load("published")[training] == load("published")[inference]


def maps_and_decoder(*names: str) -> tuple[Any, Any]:
    parser = ConfigParser()
    parser.read_config([str(CONFIGS / f"{name}.yaml") for name in names])
    return parser.get_parsed_content("representation"), parser.get_parsed_content("decoder")


TARGETS = {
    "target_bc": ["foreground", "contour"],
    "target_affinity": ["affinity"],
    "target_distance_2d": ["foreground", "contour", "distance"],
    "target_distance_quantised": ["foreground", "contour", "distance"],
}


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("target", TARGETS)
def test_a_target_overlay_gives_maps_and_a_decoder_that_fit(base: str, target: str) -> None:
    representation, decoder = maps_and_decoder(base, target)
    assert representation.names == list(decoder.map_names) == TARGETS[target]
    distance = representation.maps[-1]
    if target.startswith("target_distance"):
        assert (distance.per_section, distance.levels) == ((True, None) if target.endswith("2d") else (False, 10))


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("target", TARGETS)
def test_a_target_overlay_goes_before_the_published_setting_or_after_it(base: str, target: str) -> None:
    before, after = (maps_and_decoder(base, *overlays) for overlays in (("published", target), (target, "published")))
    assert [vars(one) for one in before[0].maps] == [vars(one) for one in after[0].maps]
    assert type(before[1]) is type(after[1])
    assert before[1].options == after[1].options
    if "contour" in before[0].names:
        assert (before[0].maps[1].dilation, before[0].maps[1].axes) == (1, (1, 2))


@pytest.mark.parametrize("name", [name for name in OVERLAYS if name.startswith("target") and "distance" not in name])
def test_an_overlay_before_its_base_is_no_silent_success(name: str) -> None:
    with pytest.raises(KeyError, match="representation"):
        ConfigParser.load_config_files([str(CONFIGS / f"{name}.yaml"), str(CONFIGS / "train.yaml")])


def test_outlines_are_thin_and_on_all_sides_and_voxels_cubes_by_default() -> None:
    representation, decoder = maps_and_decoder("train")
    _, contour, distance = representation.maps
    assert (contour.dilation, contour.axes, distance.spacing) == (0, (0, 1, 2), (1.0, 1.0, 1.0))
    assert decoder.options["seed_distance"] == 0.6


@pytest.mark.parametrize("base", BASES)
def test_maps_and_thresholds_of_the_published_setting(base: str) -> None:
    representation, decoder = maps_and_decoder(base, "published")
    _, contour, distance = representation.maps
    assert (contour.dilation, contour.axes, distance.spacing) == (1, (1, 2), (2.0, 1.0, 1.0))
    assert (distance.per_section, distance.levels, decoder.options["seed_distance"]) == (False, None, 0.5)


@pytest.mark.parametrize("name", [*BASES, *OVERLAYS])
def test_every_target_of_ours_is_there(name: str) -> None:
    targets = {node["_target_"] for node in nodes(load(name)) if str(node.get("_target_")).startswith("scripts.")}
    assert [target for target in targets if locate(target) is None] == []


@pytest.mark.parametrize("name", [*BASES, *OVERLAYS])
def test_every_reference_leads_to_an_id(name: str) -> None:
    files = [str(CONFIGS / f"{base}.yaml") for base in (*OVERLAYS.get(name, ([],))[0][:1], name)]
    parser = ConfigParser()
    parser.read_config(files)
    parser.parse()
    resolver = parser.ref_resolver
    lost = {
        ref
        for item in resolver.items.values()
        for ref in resolver.find_refs_in_config(item.get_config(), item.get_id())
    }
    assert sorted(ref for ref in lost if ref not in resolver.items) == []


@pytest.mark.parametrize(("name", "properties"), [("train", TrainProperties), ("inference", InferProperties)])
def test_the_ids_that_monai_requires_are_there(name: str, properties: dict[str, Any]) -> None:
    required = [p[BundlePropertyConfig.ID] for p in properties.values() if p[BundleProperty.REQUIRED]]
    assert len(required) >= 6
    assert [key for key in required if not has(load(name), key)] == []


def test_handlers_that_others_add_to_are_lists_of_definitions() -> None:
    """MONAI Label and --tracking look for `_target_` in each."""
    train = load("train")
    assert all(isinstance(handler, dict) for handler in train["train"]["handlers"] + train["validate"]["handlers"])
    assert all(isinstance(handler, dict) for handler in load("inference")["handlers"])


def test_every_named_handler_is_attached() -> None:
    train = load("train")["train"]
    parts = {"preprocessing", "dataset", "target_preprocessing", "target_dataset", "patches", "dataloader", "inferer"}
    parts |= {"plan", "own_handlers", "handlers", "trainer"}
    assert sorted(train["own_handlers"]) == sorted(f"@train#{name}" for name in train if name not in parts)


def test_loss_terms_are_those_of_the_trainer() -> None:
    weights = load("train")["loss_weights"]
    assert {name: weight for name, weight in weights.items() if weight != 1} == dict.fromkeys(UNPUBLISHED, 0)
    assert len(weights) == 9 + len(UNPUBLISHED)


def check(workflow_type: str, name: str, tiny: Path, **overrides: Any) -> tuple[ConfigWorkflow, list[str] | None]:
    files = [str(CONFIGS / f"{name}.yaml"), str(tiny)]
    workflow = ConfigWorkflow(config_file=files, workflow_type=workflow_type, logging_file=False, **overrides)
    workflow.initialize()
    return workflow, workflow.check_properties()


@pytest.fixture
def paths(monkeypatch: pytest.MonkeyPatch, volumes: Path, tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Overrides that name files of the example volumes."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)

    def given(**names: str) -> dict[str, str]:
        files = {key: str(volumes / name) for key, name in names.items()}
        return {**files, "bundle_root": str(CONFIGS.parent), "output_dir": str(tmp_path / "out")}

    return given


def test_properties_of_the_training_workflow(paths: Callable[..., dict[str, str]], tiny: Path, tmp_path: Path) -> None:
    files = paths(image_x="imageX_0.tif", label_x="labelX_0.tif", image_y="imageY.tif")
    workflow, wrong = check("train", "train", tiny, **files, model_path=str(tmp_path / "model.pt"))
    assert wrong == []
    trainer = workflow.trainer
    assert isinstance(trainer, CySGANTrainer)
    assert workflow.max_epochs == 2
    assert workflow.train_dataset[0]["image"].dtype == torch.float16
    generators = trainer.networks["generator_xy"], trainer.networks["generator_yx"]
    same = [torch.equal(a, b) for a, b in zip(*(g.parameters() for g in generators), strict=True)]
    assert all(same)
    assert generators[0] is not generators[1]
    rates = {name: optimizer.defaults["lr"] for name, optimizer in trainer.optimizers.items()}
    assert rates == {**dict.fromkeys(trainer.networks, 0.002), "warm_up": 0.003}


def test_both_generators_and_the_average_start_from_given_weights(
    paths: Callable[..., dict[str, str]], tiny: Path, tmp_path: Path
) -> None:
    files = paths(image_x="imageX_0.tif", label_x="labelX_0.tif", image_y="imageY.tif")
    workflow, _ = check("train", "train", tiny, **files, model_path=str(tmp_path / "model.pt"))
    weights = {name: value + 1 for name, value in workflow.trainer.network.state_dict().items()}
    torch.save(weights, tmp_path / "start.pt")
    workflow, _ = check("train", "train", tiny, **files, start_from=str(tmp_path / "start.pt"))
    networks = [workflow.trainer.networks[f"generator_{way}"] for way in ("xy", "yx")]
    for network in (*networks, workflow.parser.get_parsed_content("train#ema").ema_model):
        assert all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())


def test_properties_of_the_inference_workflow(paths: Callable[..., dict[str, str]], tiny: Path, tmp_path: Path) -> None:
    files = paths(image="imageY.tif")
    workflow, wrong = check("infer", "inference", tiny, **files, model_path=str(tmp_path / "model.pt"))
    assert wrong == []
    assert isinstance(workflow.network_def, nn.Module)
    assert len(workflow.dataset) == 1


def test_the_published_setting_is_one_overlay() -> None:
    train, published = load("train"), load("published")
    assert (published["patch_size"], train["batch_size"], published["max_iterations"]) == ([17, 129, 129], 2, 100000)
    assert (published["learning_rate"], train["learning_rate_warm_up"]) == (2e-3, 1000)
    assert (published["window"], load("inference")["overlap"]) == ([33, 257, 257], 0.5)
    assert published["warm_up_iterations"] == 0


@pytest.mark.parametrize("base", ["train", "inference"])
def test_the_published_network_works_its_stages_out_again_on_a_cpu_alone(base: str) -> None:
    for device, again in (
        ("$torch.device('cpu')", True),
        ("cpu", True),
        ("$torch.device('cuda')", False),
        ("cuda:1", False),
    ):
        parser = ConfigParser()
        parser.read_config([str(CONFIGS / f"{name}.yaml") for name in (base, "published")])
        parser["device"] = device  # --device and MONAI Label give its name alone
        assert parser.get_parsed_content("network_def::checkpoint_activations") is again


@pytest.mark.parametrize(
    ("overlay", "warm_up"),
    [
        ("demo", 1200),
        ("source_only", 1.0),
        ("two_step", 0.5),
        ("mean_teacher", 1.0),
        ("histogram", 1.0),
        ("oracle", 1.0),
    ],
)
def test_the_length_is_max_iterations_or_the_epochs_that_monai_label_sets(overlay: str, warm_up: float) -> None:
    """With the rates and the stages of every training; MONAI Label sets the epochs of the trainer alone."""
    name = overlay if overlay in ("demo", "oracle") else f"baseline_{overlay}"
    lengths = ({"max_iterations": 1500}, 1500), ({"max_iterations": 3}, 3), ({"train#trainer#max_epochs": 3}, None)
    for given, expected in lengths:
        parser = ConfigParser()
        parser.read_config([str(CONFIGS / "train.yaml"), str(CONFIGS / f"{name}.yaml")])
        parser.update(given)
        length = expected or 3 * parser["epoch_length"]
        assert parser.get_parsed_content("train#trainer#max_iterations") == length
        found = parser.get_parsed_content("warm_up_iterations")
        assert found == (int(warm_up * length) if isinstance(warm_up, float) else warm_up)


@pytest.mark.parametrize("configs", [merged_configs([], {}), {"train": load("train"), "inference": load("inference")}])
def test_monai_label_finds_what_it_looks_for(configs: dict[str, dict[str, Any]]) -> None:
    """Also in the files as they are. It runs `run`, and adds no loader of one generator's weights where one is."""
    assert configs["train"]["run"] == "@training"
    assert [handler["_target_"] for handler in configs["train"]["train"]["handlers"]] == ["CheckpointLoader"]
    parser = ConfigParser(configs["inference"])
    *_, geometry = parser.get_parsed_content("pre_transforms").transforms
    *_, result = parser.get_parsed_content("post_transforms").transforms
    assert (type(geometry).__name__, type(result).__name__) == ("CheckGeometryd", "InstanceResultd")
    assert (result.keys, result.output_keys, result.instances) == (("instances",), ("pred",), True)
    # it evaluates what stands at the top, where the volumes of X that nobody has named must not be looked up
    named = {key for key, value in configs["train"].items() if isinstance(value, dict) and "@image_x" in value.values()}
    assert named == set()


def test_the_switch_of_the_label_server_is_followed() -> None:
    config = merged_configs([], {"displayable_configs::instances": False})["inference"]
    assert ConfigParser(config).get_parsed_content("label_result").instances is False


# ---- what is compared when a training is resumed ---------------------------------------------------------------------
OF_VERSION_0_4 = {
    *("seed", "patch_size", "sample_size", "batch_size", "scale_x", "scale_y"),
    *("intensity_percentiles_x", "intensity_percentiles_y", "intensity_gamma_x", "intensity_gamma_y"),
    *("holdout_fraction", "min_foreground", "foreground_share", "augmentation", "augmentation_scale", "density"),
    *("warm_up_iterations", "semi_supervised", "loss_weights", "correlation_margin", "learning_rate", "betas", "amp"),
    *("discriminator_learning_rate", "warm_up_learning_rate", "learning_rate_warm_up", "translation_noise"),
    *("max_gradient_norm", "pool_size", "ema_momentum", "contour_dilation", "contour_axes", "spacing"),
    *("distance_per_section", "distance_levels"),
}


def test_the_settings_that_are_derived_are_those_of_version_0_4_and_what_is_new() -> None:
    assert set(compared_keys()) == OF_VERSION_0_4 | {"share_y", "discriminator_augmentation"}
    assert {*load("train")} >= MAY_CHANGE


def settings(*overlays: str, **given: Any) -> dict[str, Any]:
    parser = ConfigParser()
    parser.read_config([str(CONFIGS / f"{name}.yaml") for name in ("train", *overlays)])
    stand_in = {"_target_": "types.SimpleNamespace", "shapes": {"x": [[8, 8, 8]]}}
    volumes = {"train::patches": stand_in, "train::dataset::data": [], "target_volumes": []}
    parser.update({"bundle_root": str(CONFIGS.parent), **volumes, **given})
    return dict(parser.get_parsed_content("settings"))


def test_settings_have_the_values_of_overlays_and_of_the_command_line() -> None:
    found = settings("light_augmentation", "baseline_source_only", max_iterations=77, pool_size=3)
    assert {*found} == {*compared_keys(), "transforms", "volumes", "files"}
    assert (found["warm_up_iterations"], found["pool_size"], found["sample_size"]) == (77, 3, [16, 32, 32])
    assert found["transforms"][:2] == ["RandDensityd", "RandFlipd"]
    assert (found["volumes"], found["files"]) == ({"x": [[8, 8, 8]]}, {"x": [], "y": []})


def test_keys_that_only_an_overlay_has_are_not_compared() -> None:
    """A run's name is another each time."""
    assert {*settings("mlflow")} == {*settings()}


# ---- parts that one definition makes ---------------------------------------------------------------------------------
def test_one_optimiser_of_several_can_be_changed() -> None:
    parser = ConfigParser()
    parser.read_config([str(CONFIGS / f"{name}.yaml") for name in ("train", "ablation_frozen_discriminator_s")])
    parser.update({"bundle_root": str(CONFIGS.parent), "optimizers::generator_xy::weight_decay": 0.5})
    optimizers = parser.get_parsed_content("optimizers")
    assert list(optimizers) == ["warm_up", "generator_yx", "generator_xy", *(f"discriminator_{of}" for of in "xys")]
    rates = {name: optimizer.param_groups[0]["lr"] for name, optimizer in optimizers.items()}
    assert rates == {
        **dict.fromkeys(["generator_yx", "generator_xy"], 0.001),
        **dict.fromkeys(["discriminator_x", "discriminator_y"], 0.0005),
        **{"warm_up": 0.003, "discriminator_s": 0.0},
    }
    with pytest.raises(InputError, match="optimizers::discriminator_x: found rate, expected some of learning_rate"):
        adamw_for_each({"discriminator_x": nn.Conv3d(1, 1, 1)}, discriminator_x={"rate": 0.1})
    decays = {name: optimizer.param_groups[0]["weight_decay"] for name, optimizer in optimizers.items()}
    assert decays == {**dict.fromkeys(optimizers, 1e-4), "generator_xy": 0.5}


def test_amounts_of_one_augmentation_can_be_changed() -> None:
    published, changed = (
        sample_augmentation([8, 8, 8], {"cut_noise": 1.0}, amounts=amounts).transforms
        for amounts in (None, {"missing_parts": {"half_width": 0.1}})
    )
    widths = [one[-2].transform.half_width for one in (published, changed)]
    assert widths == [0.3, 0.1]
    assert [one[-5].transform.prob for one in (published, changed)] == [1.0, 1.0]
    with pytest.raises(InputError, match="augmentation: found cut_nose, expected some of misalignment"):
        sample_augmentation([8, 8, 8], {"cut_nose": 1.0})


def test_there_is_no_validator_where_there_are_no_volumes() -> None:
    for dataset in (None, []):
        assert validator(dataset, nn.Conv3d(1, 1, 1), None, None, "x_", "validation") is None
