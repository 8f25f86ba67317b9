"""One step of the method: what it computes, which networks it reaches, and what it leaves alone."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from ignite.engine import Events
from monai.engines.utils import IterationEvents
from scripts.errors import InputError
from scripts.networks import PatchDiscriminator3D, SegmentationGenerator
from scripts.representation import Contour, Foreground, Representation, SignedDistance
from scripts.trainer import WARM_UP_COMPLETED, CySGANTrainer, FiniteWatch, MeanTeacherTrainer, TwoStepTrainer
from scripts.trainer.optimizer import adamw, warm_up_cosine
from scripts.trainer.term import NonFiniteLossError
from torch import Tensor, nn

BOTH = {"generator_xy", "generator_yx"}
DISCRIMINATORS = {"discriminator_x", "discriminator_y", "discriminator_s"}
NETWORKS = BOTH | DISCRIMINATORS
NAN, INF = float("nan"), float("inf")
SEMI_SUPERVISED = {"structure", "adversarial_s", "adversarial_s_rec"}
REACHED = {
    "adversarial_y": {"generator_xy"},
    "adversarial_x": {"generator_yx"},
    "cycle_x": BOTH,
    "cycle_y": BOTH,
    "segmentation_x": {"generator_xy"},
    "segmentation_rec_x": {"generator_yx"},
    "structure": BOTH,
    "adversarial_s": {"generator_yx"},
    "adversarial_s_rec": {"generator_xy"},
}
EXTRA = {"identity": BOTH, "correlation": BOTH, "segmentation_same_x": {"generator_yx"}, "share_y": {"generator_yx"}}

Networks = dict[str, nn.Module]


def small_networks() -> Networks:
    """One 1x1x1 convolution each, so that a term can be worked out by hand."""
    torch.manual_seed(0)
    networks: Networks = {name: nn.Conv3d(1, 4, 1) for name in sorted(BOTH)}
    return networks | {name: nn.Conv3d(3 if name[-1] == "s" else 1, 1, 1) for name in sorted(DISCRIMINATORS)}


def real_networks() -> Networks:
    torch.manual_seed(0)
    generator = SegmentationGenerator(filters=(8, 16), isotropic_from=1)
    shape: dict[str, Any] = {
        "filters": (8, 16),
        "kernels": ((1, 3, 3), (3, 3, 3), (3, 3, 3)),
        "strides": ((1, 2, 2), (2, 2, 2), (1, 1, 1)),
    }
    networks: Networks = {"generator_xy": generator, "generator_yx": copy.deepcopy(generator)}
    return networks | {
        name: PatchDiscriminator3D(3 if name[-1] == "s" else 1, **shape) for name in sorted(DISCRIMINATORS)
    }


def batch(seed: int = 0, size: int = 1) -> dict[str, Tensor]:
    """Volumes in [-1, 1] and the maps of two plates."""
    draw = torch.Generator().manual_seed(seed)
    volumes = {
        name: torch.rand(size, 1, 8, 16, 16, generator=draw) * 2 - 1
        for name in ("image_x", "image_y", "recon_x", "recon_y")
    }
    label = np.zeros((8, 16, 16), np.uint8)
    label[2:6, 2:7, 3:12], label[1:7, 9:15, 3:12] = 1, 2
    return volumes | {"target_x": torch.from_numpy(REPRESENTATION.encode(label)).expand(size, -1, -1, -1, -1)}


REPRESENTATION = Representation([Foreground(), Contour(), SignedDistance()])


def build(
    networks: Networks,
    batches: list[dict[str, Any]] | None = None,
    epochs: int = 1,
    rate: float = 1e-3,
    device: str = "cpu",
    **options: Any,
) -> CySGANTrainer:
    optimizers = {name: adamw(network, rate) for name, network in networks.items()}
    optimizers["warm_up"] = adamw(networks["generator_yx"], rate)
    schedules = warm_up_cosine(optimizers, 100, 10)
    loader = [batch()] if batches is None else batches
    parts = {"networks": networks, "optimizers": optimizers, "schedules": schedules, "representation": REPRESENTATION}
    return CySGANTrainer(device=device, max_epochs=epochs, data_loader=loader, **parts, **options)


def weights(networks: Mapping[str, nn.Module]) -> dict[str, list[Tensor]]:
    return {name: [p.detach().clone() for p in network.parameters()] for name, network in networks.items()}


def changed(before: dict[str, list[Tensor]], networks: Networks) -> set[str]:
    after = weights(networks)
    return {name for name in before if not all(map(torch.equal, before[name], after[name]))}


def only(term: str, weight: float = 1.0) -> dict[str, float]:
    return dict.fromkeys(REACHED | EXTRA, 0.0) | {term: weight}


def terms_of(trainer: CySGANTrainer) -> set[str]:
    return set(trainer.state.output) - DISCRIMINATORS - {"loss"}


# ---- what a step changes ---------------------------------------------------------------------------------------------
def test_one_step_changes_all_five_networks() -> None:
    networks = real_networks()
    before = weights(networks)
    build(networks).run()
    assert changed(before, networks) == NETWORKS


def test_every_layer_of_every_network_learns() -> None:
    networks = real_networks()
    before = weights(networks)
    build(networks, [batch(i) for i in range(3)]).run()
    for name, network in networks.items():
        still = [k for (k, p), old in zip(network.named_parameters(), before[name], strict=True) if torch.equal(p, old)]
        assert still == [], name


@pytest.mark.parametrize("iterations", [1, 2])
def test_every_optimiser_and_schedule_steps_once_an_iteration(iterations: int) -> None:
    trainer = build(small_networks(), [batch(i) for i in range(iterations)])
    steps: Counter[str] = Counter()
    for name, optimizer in trainer.optimizers.items():
        optimizer.register_step_post_hook(lambda *_, name=name: steps.update([name]))
    trainer.run()
    assert steps == dict.fromkeys(NETWORKS, iterations)
    stepped = {name: schedule.last_epoch for name, schedule in trainer.schedules.items()}
    assert stepped == dict.fromkeys(NETWORKS, iterations) | {"warm_up": 0}


@pytest.mark.parametrize(("term", "reached"), (REACHED | EXTRA).items())
def test_a_term_alone_reaches_the_generators_that_it_is_for(term: str, reached: set[str]) -> None:
    networks, inverted = small_networks(), batch()
    for name in BOTH:
        nn.init.constant_(networks[name].weight[:1], -1)  # so that the penalty on inversion has something to say
    inverted |= {"recon_x": inverted["image_x"], "recon_y": inverted["image_y"]}
    before = weights(networks)
    trainer = build(networks, [inverted], loss_weights=only(term), share_y=(0.98, 1.0))
    trainer.run()
    assert changed(before, networks) == reached | DISCRIMINATORS
    without = {name for name in BOTH if all(p.grad is None for p in networks[name].parameters())}
    assert without == BOTH - reached
    assert terms_of(trainer) == {term}


def test_terms_on_images_leave_the_map_channels_alone_and_terms_on_maps_the_image() -> None:
    for term, channels in (("cycle_x", slice(1, None)), ("segmentation_x", slice(1)), ("structure", slice(1))):
        networks = small_networks()
        build(networks, loss_weights=only(term)).run()
        grads = [networks[name].weight.grad for name in REACHED[term]]
        assert all(torch.count_nonzero(grad[channels]) == 0 for grad in grads), term


def test_discriminators_are_frozen_in_the_step_of_the_generators_alone() -> None:
    networks = small_networks()
    trainer, seen = build(networks), []
    for name in DISCRIMINATORS:
        networks[name].register_forward_pre_hook(lambda d, _: seen.append({p.requires_grad for p in d.parameters()}))

    def before_the_generators_step(*_: Any) -> None:
        assert all(p.grad is None for name in DISCRIMINATORS for p in networks[name].parameters())

    trainer.optimizers["generator_xy"].register_step_pre_hook(before_the_generators_step)
    trainer.run()
    assert seen == [{False}] * 4 + [{True}] * 3
    assert all(p.requires_grad for name in DISCRIMINATORS for p in networks[name].parameters())


def test_discriminators_leave_no_gradient_in_the_generators() -> None:
    networks = small_networks()
    trainer, after = build(networks), {}
    trainer.optimizers["generator_yx"].register_step_post_hook(
        lambda *_: after.update({name: networks[name].weight.grad.clone() for name in BOTH})
    )
    trainer.run()
    assert all(torch.equal(networks[name].weight.grad, after[name]) for name in BOTH)


def test_gradients_of_earlier_iterations_are_forgotten() -> None:
    grads = []
    for batches in ([batch()], [batch(), batch()]):
        networks = small_networks()
        build(networks, batches, rate=0.0).run()
        grads.append([networks[name].weight.grad for name in sorted(NETWORKS - {"discriminator_s"})])
    torch.testing.assert_close(grads[1], grads[0])


# ---- what a step computes --------------------------------------------------------------------------------------------
def translated(network: nn.Module, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Image and activated maps of a 1x1x1 convolution, in NumPy."""
    weight = network.weight.detach().numpy().reshape(4)
    logits = image * weight.reshape(1, 4, 1, 1, 1) + network.bias.detach().numpy().reshape(1, 4, 1, 1, 1)
    sigmoid = 1 / (1 + np.exp(-logits[:, 1:3]))
    return np.tanh(logits[:, :1]), np.concatenate([sigmoid, np.tanh(logits[:, 3:])], axis=1)


def least_squares(network: nn.Module, volume: np.ndarray, target: float) -> float:
    scores = np.einsum("bczyx,c->bzyx", volume, network.weight.detach().numpy().reshape(-1)) + network.bias.item()
    return float(((scores - target) ** 2).mean())


def by_hand(networks: Networks, volumes: Mapping[str, Tensor]) -> dict[str, float]:
    """Every term of method.md but segmentation; the maps are tried against D_s in both ways its coin may fall."""
    x, y, recon_x, recon_y, target = (
        volumes[name].numpy() for name in ("image_x", "image_y", "recon_x", "recon_y", "target_x")
    )
    xy, yx = networks["generator_xy"], networks["generator_yx"]
    d_x, d_y, d_s = (networks[f"discriminator_{name}"] for name in "xys")
    (fake_y, _), (fake_x, maps_y) = translated(xy, x), translated(yx, y)
    (rec_x, _), (rec_y, maps_rec_y) = translated(yx, fake_y), translated(xy, fake_x)
    real_s = least_squares(d_s, target, 1)
    return {
        "adversarial_y": least_squares(d_y, fake_y, 1),
        "adversarial_x": least_squares(d_x, fake_x, 1),
        "cycle_x": np.abs(rec_x - recon_x).mean(),
        "cycle_y": np.abs(rec_y - recon_y).mean(),
        "structure": np.abs(maps_y - maps_rec_y).mean(),
        "adversarial_s": least_squares(d_s, maps_y, 1),
        "adversarial_s_rec": least_squares(d_s, maps_rec_y, 1),
        "identity": np.abs(translated(yx, x)[0] - recon_x).mean() + np.abs(translated(xy, y)[0] - recon_y).mean(),
        "discriminator_x": least_squares(d_x, recon_x, 1) + least_squares(d_x, fake_x, 0),
        "discriminator_y": least_squares(d_y, recon_y, 1) + least_squares(d_y, fake_y, 0),
        "discriminator_s": real_s + least_squares(d_s, maps_y, 0),
        "discriminator_s on the reconstruction": real_s + least_squares(d_s, maps_rec_y, 0),
    }


def test_terms_are_those_worked_out_by_hand() -> None:
    """Among others: cycles end at the clean copy, not at the input, and losses of discriminators are not halved."""
    networks, volumes = small_networks(), batch(size=2)
    expected = by_hand(networks, volumes)
    trainer = build(networks, [volumes], loss_weights={"identity": 1.0})
    trainer.run()
    for name in expected.keys() - {"discriminator_s", "discriminator_s on the reconstruction"}:
        assert trainer.state.output[name] == pytest.approx(expected[name], rel=1e-4), name


def six_pass_gradients(networks: Networks, volumes: Mapping[str, Tensor]) -> dict[str, list[Tensor]]:
    """Gradients of the sum of the nine terms as the published code has them: the maps of a detached second pass."""
    networks = copy.deepcopy(networks)
    generators = {name: networks[name] for name in sorted(BOTH)}

    def translate(name: str, image: Tensor) -> tuple[Tensor, Tensor]:
        output = generators[name](image)
        return torch.tanh(output[:, :1]), output[:, 1:]

    def fools(name: str, fake: Tensor) -> Tensor:
        return (networks[f"discriminator_{name}"](fake) - 1).square().mean()

    fake_y, logits_x = translate("generator_xy", volumes["image_x"])
    fake_x, logits_y = translate("generator_yx", volumes["image_y"])
    rec_x, rec_y = translate("generator_yx", fake_y)[0], translate("generator_xy", fake_x)[0]
    logits_rec_x = translate("generator_yx", fake_y.detach())[1]
    maps_rec_y = REPRESENTATION.activate(translate("generator_xy", fake_x.detach())[1])
    maps_y = REPRESENTATION.activate(logits_y)
    terms = [fools("y", fake_y), fools("x", fake_x), fools("s", maps_y), fools("s", maps_rec_y)]
    terms += [(rec_x - volumes["recon_x"]).abs().mean(), (rec_y - volumes["recon_y"]).abs().mean()]
    terms += [REPRESENTATION.loss(logits, volumes["target_x"]) for logits in (logits_x, logits_rec_x)]
    torch.stack([*terms, (maps_y - maps_rec_y).abs().mean()]).sum().backward()
    return {name: [p.grad for p in network.parameters() if p.grad is not None] for name, network in generators.items()}


@pytest.mark.parametrize("networks", [small_networks, real_networks])
def test_four_passes_give_the_gradients_of_six(networks: Callable[[], Networks]) -> None:
    five = {name: network.double() for name, network in networks().items()}
    volumes = {name: volume.double() for name, volume in batch(size=2).items()}
    expected = six_pass_gradients(five, volumes)
    build(five, [volumes]).run()
    for name, gradients in expected.items():
        found = [p.grad for p in five[name].parameters() if p.grad is not None]
        assert len(found) == len(gradients)
        for one, other in zip(found, gradients, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize(
    ("more", "xy", "yx"), [((), 2, 2), (("segmentation_same_x",), 2, 3), (("segmentation_same_x", "identity"), 3, 3)]
)
def test_a_step_asks_each_generator_twice_and_once_more_where_it_is_given_its_own_domain(
    more: tuple[str, ...], xy: int, yx: int
) -> None:
    networks = small_networks()
    calls = Counter[str]()
    for name in BOTH:
        networks[name].register_forward_hook(lambda *_, name=name: calls.update([name]))
    build(networks, loss_weights=dict.fromkeys(more, 1.0)).run()
    assert calls == {"generator_xy": xy, "generator_yx": yx}


@pytest.mark.parametrize("noise", [0.0, 0.25])
def test_noise_is_put_on_translated_images_on_their_way_back_alone(noise: float) -> None:
    networks = small_networks()
    seen: dict[str, list[Tensor]] = {name: [] for name in [*BOTH, "discriminator_x", "discriminator_y"]}
    for name, inputs in seen.items():
        networks[name].register_forward_pre_hook(lambda _, args, inputs=inputs: inputs.append(args[0].detach()))
    build(networks, translation_noise=noise).run()
    for direction, domain in (("xy", "x"), ("yx", "y")):
        fake = seen[f"discriminator_{domain}"][0]  # what the discriminator of a domain is shown is never noisy
        sent_back = seen[f"generator_{direction}"][1]
        assert float((sent_back - fake).std()) == pytest.approx(noise, rel=0.1)


def test_a_coin_decides_which_maps_the_discriminator_of_maps_sees() -> None:
    expected = by_hand(small_networks(), batch())
    seen = []
    for seed in range(8):
        trainer = build(small_networks())
        torch.manual_seed(seed)
        trainer.run()
        seen.append(round(trainer.state.output["discriminator_s"], 4))
    ways = [expected["discriminator_s"], expected["discriminator_s on the reconstruction"]]
    assert set(seen) == {round(way, 4) for way in ways}


def test_segmentation_is_the_loss_of_the_representation_on_the_logits() -> None:
    networks, volumes = small_networks(), batch(size=2)
    with torch.no_grad():
        output = networks["generator_xy"](volumes["image_x"])
        again = networks["generator_yx"](output[:, :1].tanh())
        same = networks["generator_yx"](volumes["image_x"])
        expected = [REPRESENTATION.loss(maps[:, 1:], volumes["target_x"]).item() for maps in (output, again, same)]
    trainer = build(networks, [volumes], loss_weights={"segmentation_same_x": 1.0})
    trainer.run()
    found = [trainer.state.output[f"segmentation_{name}"] for name in ("x", "rec_x", "same_x")]
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("interval", "penalty"),
    [((0.0, 1.0), lambda m: 0), ((0.9, 1.0), lambda m: 0.9 - m), ((0.0, 0.1), lambda m: m - 0.1)],
)
def test_the_foreground_of_y_is_held_inside_an_interval(
    interval: tuple[float, float], penalty: Callable[[float], float]
) -> None:
    networks, volumes = small_networks(), batch(size=2)
    foreground = translated(networks["generator_yx"], volumes["image_y"].numpy())[1][:, 0]
    trainer = build(networks, [volumes], loss_weights={"share_y": 2.0}, share_y=interval)
    trainer.run()
    assert trainer.state.output["share_y"] == pytest.approx(penalty(float(foreground.mean())), rel=1e-4)


def test_the_foreground_is_found_by_its_name() -> None:
    networks, volumes = small_networks(), batch()
    turned = Representation([SignedDistance(), Contour(), Foreground()])
    trainer = build(networks, [volumes], loss_weights={"share_y": 1.0}, share_y=(0.0, 0.0))
    trainer.representation = turned
    trainer.run()
    logits = small_networks()["generator_yx"](volumes["image_y"])[:, 3]
    assert trainer.state.output["share_y"] == pytest.approx(float(logits.sigmoid().mean()), rel=1e-4)


def test_a_weight_without_an_interval_is_refused() -> None:
    with pytest.raises(InputError, match="loss_weights::share_y is 1, but share_y is null; expected"):
        build(small_networks(), loss_weights={"share_y": 1.0})


def test_discriminators_see_changed_samples_and_generators_learn_through_them() -> None:
    shown: dict[float, list[Tensor]] = {}
    gradients: dict[float, Tensor] = {}
    for probability in (0.0, 1.0):
        networks, seen = small_networks(), shown.setdefault(probability, [])
        networks["discriminator_y"].register_forward_pre_hook(lambda _, inputs, to=seen: to.append(inputs[0].detach()))
        build(networks, loss_weights=only("adversarial_y"), discriminator_augmentation=probability).run()
        gradients[probability] = networks["generator_xy"].weight.grad
    for plain, changed_ones in zip(shown[0.0], shown[1.0], strict=True):  # the fake alone, then the real one with it
        assert plain.shape == changed_ones.shape
        assert all(not torch.allclose(*samples) for samples in zip(plain, changed_ones, strict=True))
    assert 0 < float(gradients[1.0].norm()) != float(gradients[0.0].norm())


def test_a_discriminator_compares_with_earlier_fakes_when_its_pool_is_full() -> None:
    networks, volumes = small_networks(), [batch(i) for i in range(6)]
    trainer, shown = build(networks, volumes, pool_size=1), []
    networks["discriminator_x"].register_forward_pre_hook(lambda _, inputs: shown.append(inputs[0].detach().clone()))
    torch.manual_seed(0)
    trainer.run()
    fakes, pairs = shown[0::2], shown[1::2]
    assert all(torch.equal(pair[:1], volumes[i]["recon_x"]) for i, pair in enumerate(pairs))
    drawn = [next(j for j in range(6) if torch.allclose(fakes[j], pair[1:], atol=1e-3)) for pair in pairs]
    assert all(j <= i for i, j in enumerate(drawn))
    assert drawn != list(range(6))


# ---- weights of the terms --------------------------------------------------------------------------------------------
def test_all_nine_terms_and_three_discriminators_are_named() -> None:
    trainer = build(small_networks())
    trainer.run()
    assert terms_of(trainer) == set(REACHED)
    assert set(trainer.state.output) == set(REACHED) | DISCRIMINATORS | {"loss"}
    assert all(np.isfinite(value) for value in trainer.state.output.values())


def test_without_the_semi_supervised_terms_six_are_left() -> None:
    networks = small_networks()
    before = weights(networks)
    trainer = build(networks, semi_supervised=False, loss_weights={"structure": 5.0})
    trainer.run()
    assert terms_of(trainer) == set(REACHED) - SEMI_SUPERVISED
    assert changed(before, networks) >= BOTH


def test_a_term_that_weighs_nothing_is_not_named() -> None:
    trainer = build(small_networks(), loss_weights={"cycle_x": 0.0, "identity": 0.5})
    trainer.run()
    assert terms_of(trainer) == (set(REACHED) | {"identity"}) - {"cycle_x"}


def test_loss_is_the_weighted_sum_of_the_terms_of_the_generators() -> None:
    factors = {"cycle_x": 10.0, "structure": 0.25, "correlation": 2.0, "adversarial_y": 0.0}
    trainer = build(small_networks(), loss_weights=factors)
    trainer.run()
    expected = sum(factors.get(name, 1.0) * trainer.state.output[name] for name in terms_of(trainer))
    assert trainer.state.output["loss"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("limit", [1e-3, 1e3])
def test_the_gradient_of_each_generator_is_limited_in_norm(limit: float) -> None:
    norms = {}
    for name, option in (("free", None), ("limited", limit)):
        networks = small_networks()
        build(networks, max_gradient_norm=option).run()
        norms[name] = [float(nn.utils.get_total_norm([p.grad for p in networks[n].parameters()])) for n in NETWORKS]
    expected = [min(norm, limit) if n in BOTH else norm for n, norm in zip(NETWORKS, norms["free"], strict=True)]
    assert norms["limited"] == pytest.approx(expected, rel=1e-3)


# ---- values that are no numbers --------------------------------------------------------------------------------------
def spoilt(name: str, value: float = NAN) -> dict[str, Tensor]:
    volumes = batch()
    volumes[name] = volumes[name].clone()
    volumes[name][0, 0, 0, 0, 0] = value
    return volumes


@pytest.mark.parametrize(
    ("name", "value", "named"),
    [
        ("image_x", NAN, {"adversarial_y", "cycle_x", "segmentation_x", "segmentation_rec_x"}),
        ("target_x", NAN, {"segmentation_x", "segmentation_rec_x"}),
        ("recon_y", INF, {"cycle_y"}),
    ],
)
def test_a_value_that_is_no_number_stops_training_before_any_step(name: str, value: float, named: set[str]) -> None:
    networks = small_networks()
    before = weights(networks)
    with pytest.raises(NonFiniteLossError, match="iteration 1: ") as error:
        build(networks, [spoilt(name, value)]).run()
    assert {term for term in REACHED if f"{term} = {value}" in str(error.value)} == named
    assert changed(before, networks) == set()


def test_the_iteration_that_went_wrong_is_named() -> None:
    with pytest.raises(NonFiniteLossError, match="iteration 3: cycle_x = nan"):
        build(small_networks(), [batch(0), batch(1), spoilt("recon_x")]).run()


def test_a_discriminator_whose_loss_is_no_number_is_not_changed() -> None:
    networks = small_networks()
    before = weights(networks)
    with pytest.raises(NonFiniteLossError, match="discriminator_x = nan"):
        build(networks, [spoilt("recon_x")], loss_weights={"cycle_x": 0.0}).run()
    assert changed(before, networks) & DISCRIMINATORS == set()


def test_on_a_gpu_values_are_looked_at_together_and_the_first_that_is_no_number_is_named() -> None:
    watch, terms = FiniteWatch(interval=3), {"a": torch.tensor(1.0), "b": torch.tensor(2.0)}
    for iteration in (1, 2, 3):
        watch.keep(terms, iteration)
        watch.look(iteration)
    watch.keep(terms | {"b": torch.tensor(float("nan"))}, 4)
    watch.look(4)
    watch.keep(terms | {"a": torch.tensor(float("inf"))}, 5)
    watch.look(5)
    with pytest.raises(NonFiniteLossError, match=r"iteration 4: b = nan"):
        watch.look(6)


class Overflow(torch.autograd.Function):
    """Passes values on; the gradient is infinite."""

    @staticmethod
    def forward(context: Any, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return gradient * INF


@pytest.mark.parametrize("stage", [0, 1])
def test_a_gradient_that_is_no_number_stops_training_though_every_term_is_one(stage: int) -> None:
    networks = small_networks()
    networks["generator_yx"].register_forward_hook(lambda module, given, made: Overflow.apply(made))
    before = weights(networks)
    with pytest.raises(NonFiniteLossError, match=r"iteration 1: .*(gradient_generator_yx|gradient_warm_up) = "):
        build(networks, warm_up_iterations=stage, max_gradient_norm=1.0).run()
    assert changed(before, networks) == set()


@pytest.mark.parametrize("interval", [1, 3])
def test_the_batch_that_went_wrong_is_at_hand(monkeypatch: pytest.MonkeyPatch, interval: int) -> None:
    if interval > 1:
        monkeypatch.setattr(FiniteWatch, "__call__", lambda self, terms, iteration, device: self.keep(terms, iteration))
    batches = [batch(0), spoilt("recon_x"), batch(1), batch(2)]
    trainer = build(small_networks(), batches, check_interval=interval)
    with pytest.raises(NonFiniteLossError) as error:
        trainer.run()
    found = trainer.state.offending
    assert (found["iteration"], found["message"]) == (2, str(error.value))
    assert found["batch"]["recon_x"] is batches[1]["recon_x"]


def test_the_last_iteration_is_looked_at_whatever_the_interval() -> None:
    watch = FiniteWatch(interval=10)
    watch.keep({"a": torch.tensor(float("nan"))}, 2)
    watch.look(2)
    with pytest.raises(NonFiniteLossError, match="iteration 2"):
        watch.look(2, last=True)


@pytest.mark.parametrize("interval", [1, 2])
def test_a_training_that_defers_looking_stops_at_the_next_look(monkeypatch: pytest.MonkeyPatch, interval: int) -> None:
    monkeypatch.setattr(FiniteWatch, "__call__", lambda self, terms, iteration, device: self.keep(terms, iteration))
    broken = batch(0) | {"target_x": torch.full_like(batch(0)["target_x"], float("nan"))}
    trainer = build(small_networks(), [broken] + [batch(i) for i in range(4)], check_interval=interval)
    with pytest.raises(NonFiniteLossError, match="iteration 1"):
        trainer.run()
    assert trainer.state.iteration == interval


def test_a_value_that_is_no_number_stops_the_warm_up_too() -> None:
    networks = small_networks()
    before = weights(networks)
    with pytest.raises(NonFiniteLossError, match="iteration 1: identity_x = nan"):
        build(networks, [spoilt("recon_x")], warm_up_iterations=1).run()
    assert changed(before, networks) == set()


# ---- source-only stage -----------------------------------------------------------------------------------------------
def record(trainer: CySGANTrainer, event: Any, look: Callable[[], Any]) -> list[Any]:
    seen: list[Any] = []
    trainer.add_event_handler(event, lambda: seen.append(look()))
    return seen


def test_the_warm_up_trains_one_generator_and_then_both_start_from_it() -> None:
    networks = small_networks()
    before = weights(networks)
    trainer = build(networks, [batch(i) for i in range(4)], warm_up_iterations=3)
    at_start = record(trainer, WARM_UP_COMPLETED, lambda: (trainer.state.iteration, weights(networks)))
    each = record(trainer, Events.ITERATION_COMPLETED, lambda: (changed(before, networks), terms_of(trainer)))
    trainer.run()
    assert [found for found, _ in each] == [{"generator_yx"}] * 2 + [BOTH, NETWORKS]
    assert [terms for _, terms in each] == [{"segmentation_x", "identity_x"}] * 3 + [set(REACHED)]
    [(iteration, then)] = at_start
    assert iteration == 3
    assert all(map(torch.equal, then["generator_xy"], then["generator_yx"]))
    assert not all(map(torch.equal, then["generator_yx"], before["generator_yx"]))


def test_the_warm_up_has_its_own_optimiser_and_schedule() -> None:
    trainer = build(small_networks(), [batch(i) for i in range(3)], warm_up_iterations=2)
    trainer.run()
    assert {n: s.last_epoch for n, s in trainer.schedules.items()} == dict.fromkeys(NETWORKS, 1) | {"warm_up": 2}
    assert not trainer.optimizers["generator_yx"].state_dict()["state"][0]["step"] > 1


def test_the_warm_up_learns_maps_and_identity_of_the_source() -> None:
    networks, volumes = small_networks(), batch()
    image, _ = translated(networks["generator_yx"], volumes["image_x"].numpy())
    logits = networks["generator_yx"](volumes["image_x"])[:, 1:].detach()
    trainer = build(networks, [volumes] * 30, warm_up_iterations=30)
    losses = record(trainer, Events.ITERATION_COMPLETED, lambda: dict(trainer.state.output))
    trainer.run()
    assert losses[0]["identity_x"] == pytest.approx(np.abs(image - volumes["recon_x"].numpy()).mean(), rel=1e-4)
    assert losses[0]["segmentation_x"] == pytest.approx(REPRESENTATION.loss(logits, volumes["target_x"]).item())
    assert losses[-1]["loss"] < losses[0]["loss"]


def test_the_warm_up_reaches_networks_beneath_a_parallel_wrapper() -> None:
    class Wrapper(nn.Module):
        def __init__(self, module: nn.Module) -> None:
            super().__init__()
            self.module = module

        def forward(self, x: Tensor) -> Tensor:
            return self.module(x)

    networks = small_networks()
    build(networks | {"generator_xy": Wrapper(networks["generator_xy"])}, warm_up_iterations=1).run()
    assert all(map(torch.equal, *(weights(networks)[name] for name in BOTH)))


def test_without_a_warm_up_nothing_is_copied() -> None:
    networks = small_networks()
    trainer = build(networks)
    fired = record(trainer, WARM_UP_COMPLETED, lambda: None)
    trainer.run()
    assert fired == []
    assert not all(map(torch.equal, *(weights(networks)[name] for name in BOTH)))


# ---- mixed precision -------------------------------------------------------------------------------------------------
def test_mixed_precision_on_cpu_is_bfloat16_and_trains_all_five() -> None:
    networks, types = real_networks(), set()
    before = weights(networks)
    for network in networks.values():
        network.register_forward_hook(lambda *call: types.add(call[-1].dtype))
    trainer = build(networks, [batch(0), batch(1)], amp=True)
    trainer.run()
    assert types == {torch.bfloat16}
    assert changed(before, networks) == NETWORKS
    assert all(np.isfinite(value) for value in trainer.state.output.values())
    assert all(p.dtype == torch.float32 for network in networks.values() for p in network.parameters())


def scaled(networks: Networks, scale: float, **options: Any) -> CySGANTrainer:
    """Trainer with the loss scaling that CUDA uses, on CPU."""
    trainer = build(networks, **options)
    trainer.loss_scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    return trainer


def test_loss_scaling_does_not_change_a_step() -> None:
    plain, with_scale = small_networks(), small_networks()
    for trainer in (build(plain, max_gradient_norm=0.1), scaled(with_scale, 1024.0, max_gradient_norm=0.1)):
        torch.manual_seed(0)
        trainer.run()
    for name in NETWORKS:
        torch.testing.assert_close(weights(with_scale)[name], weights(plain)[name])
        torch.testing.assert_close(with_scale[name].weight.grad, plain[name].weight.grad)


@pytest.mark.parametrize("stage", [0, 1])
def test_a_step_whose_scaled_gradient_overflows_is_left_out_and_the_scale_lowered(stage: int) -> None:
    networks = small_networks()
    before = weights(networks)
    trainer = scaled(networks, 2.0**127, warm_up_iterations=stage, loss_weights={"segmentation_x": 100.0})
    at_start = record(trainer, IterationEvents.MODEL_COMPLETED, lambda: changed(before, networks) & {"generator_yx"})
    trainer.run()
    assert at_start == [set()]
    assert trainer.loss_scaler.get_scale() == 2.0**126


def test_loss_scaling_copes_with_a_generator_that_no_term_reaches() -> None:
    networks = small_networks()
    before = weights(networks)
    scaled(networks, 1024.0, loss_weights=only("segmentation_x")).run()
    assert changed(before, networks) == {"generator_xy"} | DISCRIMINATORS


# ---- the engine ------------------------------------------------------------------------------------------------------
def test_a_plain_list_of_batches_is_a_data_loader() -> None:
    batches = [batch(0), batch(1)]
    trainer = build(small_networks(), batches, epochs=2)
    trainer.run()
    assert (trainer.state.iteration, trainer.state.epoch) == (4, 2)
    assert set(batches[0]) == set(batch())


def test_what_is_no_tensor_in_a_batch_is_passed_over() -> None:
    trainer = build(small_networks(), [batch() | {"name": ["volume"]}])
    trainer.run()
    assert trainer.state.iteration == 1


def test_handlers_find_the_parts_of_the_trainer_when_they_attach() -> None:
    class Handler:
        def attach(self, engine: Any) -> None:
            self.seen = (set(engine.networks), set(engine.pools), engine.state.panels, engine.loss_scaler.is_enabled())

    handler = Handler()
    trainer = build(small_networks(), handlers=[handler])
    assert handler.seen == (NETWORKS, DISCRIMINATORS, {}, False)
    assert trainer.network is trainer.networks["generator_yx"]
    assert trainer.optimizer is trainer.optimizers["generator_yx"]


def test_panels_hold_the_first_sample_of_both_cycles_without_gradient() -> None:
    volumes = batch(size=2)
    trainer = build(small_networks(), [volumes])
    trainer.run()
    panels = trainer.state.panels
    assert set(panels) == {"x", "fake_y", "rec_x", "maps_x", "y", "fake_x", "rec_y", "maps_y", "maps_rec_y"}
    assert torch.equal(panels["x"], volumes["image_x"][0])
    assert {name: len(panel) for name, panel in panels.items()} == {n: 3 if n[:4] == "maps" else 1 for n in panels}
    assert not any(panel.requires_grad for panel in panels.values())
    assert all(panel.abs().max() <= 1 for panel in panels.values())


def test_a_seed_repeats_a_training() -> None:
    runs = []
    for _ in range(2):
        networks = small_networks()
        trainer = build(networks, [batch(i) for i in range(4)], pool_size=1)
        torch.manual_seed(3)
        trainer.run()
        runs.append((trainer.state.output, weights(networks)))
    assert runs[0][0] == runs[1][0]
    assert changed(runs[0][1], networks) == set()


def test_networks_are_compiled_if_asked_to_before_the_first_iteration(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    monkeypatch.setattr(nn.Conv3d, "compile", lambda self: order.append("compiled"))
    for compile in ("true", False):
        trainer = build(small_networks(), [batch(0)], compile=compile)
        trainer.add_event_handler(Events.ITERATION_STARTED, lambda _: order.append("iteration"))
        trainer.run()
    assert order == ["compiled"] * 5 + ["iteration"] * 2


# ---- what it is compared with ----------------------------------------------------------------------------------------
def build_baseline(kind: type[CySGANTrainer], networks: Networks, steps: int, **options: Any) -> CySGANTrainer:
    optimizers = {name: adamw(network, 1e-3) for name, network in networks.items()}
    optimizers["warm_up"] = adamw(networks["generator_yx"], 1e-3)
    return kind(
        device="cpu",
        max_epochs=1,
        data_loader=[batch(i) for i in range(steps)],
        networks=networks,
        optimizers=optimizers,
        schedules=warm_up_cosine(optimizers, 100, 10),
        representation=REPRESENTATION,
        **options,
    )


def outputs_of(trainer: CySGANTrainer) -> list[set[str]]:
    seen: list[set[str]] = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: seen.append(set(engine.state.output)))
    trainer.run()
    return seen


def test_two_steps_translate_without_maps_and_then_segment_what_was_translated() -> None:
    networks = real_networks()
    translation = {"adversarial_x", "adversarial_y", "cycle_x", "cycle_y"}
    seen = outputs_of(build_baseline(TwoStepTrainer, networks, 3, warm_up_iterations=1))
    assert seen[0] == seen[1] == translation | DISCRIMINATORS | {"loss"}
    assert seen[2] == {"segmentation_translated_x", "loss"}


def test_the_segmentation_network_of_two_steps_starts_anew_and_leaves_the_translator_alone() -> None:
    networks = real_networks()
    first = weights(networks)["generator_yx"]
    trainer = build_baseline(TwoStepTrainer, networks, 2, warm_up_iterations=1)
    translator: list[list[Tensor]] = []
    reset: list[bool] = []
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED(once=1), lambda _: translator.append(weights(networks)["generator_xy"])
    )
    translate = trainer._translate

    def watched(name: str, image: Tensor) -> tuple[Tensor, Tensor]:
        if trainer.state.iteration == 2 and name == "generator_xy":
            reset.append(all(map(torch.equal, first, weights(networks)["generator_yx"])))
        return translate(name, image)

    trainer._translate = watched  # type: ignore[method-assign]
    trainer.run()
    assert reset == [True]
    assert all(map(torch.equal, translator[0], weights(networks)["generator_xy"]))
    assert not all(map(torch.equal, first, weights(networks)["generator_yx"]))


def test_a_mean_teacher_is_agreed_with_but_not_trained() -> None:
    networks = real_networks()
    teacher = copy.deepcopy(networks["generator_yx"])
    kept = weights({"teacher": teacher})
    before = weights(networks)
    seen = outputs_of(build_baseline(MeanTeacherTrainer, networks, 2, teacher=teacher, ramp_iterations=1))
    assert seen[1] == {"segmentation_x", "identity_x", "consistency_y", "loss"}
    assert changed(before, networks) == BOTH  # generator_xy is given the student's weights at the end
    assert changed(kept, {"teacher": teacher}) == set()


def test_the_weight_of_agreement_rises_to_its_own() -> None:
    trainer = build_baseline(
        MeanTeacherTrainer, real_networks(), 1, teacher=nn.Identity(), consistency_weight=2.0, ramp_iterations=4
    )
    assert [round(trainer._weight_at(progress), 3) for progress in (0.0, 0.5, 1.0)] == [0.013, 0.573, 2.0]  # type: ignore[attr-defined]
