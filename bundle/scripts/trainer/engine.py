"""One training step of CySGAN (Lauenburg et al., arXiv 2204.03082), as an engine that MONAI's handlers attach to."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from monai.losses import PatchAdversarialLoss
from scripts.command.flag import flag
from scripts.errors import InputError
from scripts.networks import bare
from scripts.trainer.augmentation import randomly_changed
from scripts.trainer.gradient_cut import GradientCut
from scripts.trainer.image_pool import ImagePool
from scripts.trainer.source import SourceTrainer
from scripts.trainer.term import anticorrelation, outside
from torch import Tensor

__all__ = ["WARM_UP_COMPLETED", "CySGANTrainer"]

WARM_UP_COMPLETED = "warm_up_completed"
"""Event of the trainer: both generators have just been given the weights trained on the source alone."""

_DISCRIMINATORS = ("discriminator_x", "discriminator_y", "discriminator_s")
_SEMI_SUPERVISED = ("structure", "adversarial_s", "adversarial_s_rec")


class CySGANTrainer(SourceTrainer):
    """Trains two generators and three discriminators; one batch holds `image_x`, `label_x`'s maps and `image_y`.

    A batch is a dictionary of tensors: `image_x`, `image_y` (with input defects) and `recon_x`, `recon_y` (without),
    each (B, 1, Z, Y, X) in [-1, 1], and `target_x`, (B, M, Z, Y, X), the encoded maps of X. The first
    `warm_up_iterations` train one network on the source alone (maps and identity translation); both generators then
    start from it. After that every iteration is the published step: generators on the weighted sum of all terms, then
    each discriminator. `engine.state.output` names every term; `engine.state.panels` holds the step's volumes for image
    handlers.

    Args:
        loss_weights: weight of each term by name; a term left out weighs 1, a term weighing 0 is not logged.
        semi_supervised: False sets the terms structure, adversarial_s and adversarial_s_rec to 0 together.
        warm_up_iterations: length of the source-only stage; 0 is the published start from noise.
        correlation_margin: correlation of translated image and input that the term `correlation` asks for.
        pool_size: samples kept for each discriminator; the method's is 20 x batch size.
        translation_noise: deviation of Gaussian noise on translated images before they are translated back and
            segmented, so that generators cannot hide in them what they are to find again (Bashkirova et al., NeurIPS
            2019); 0 is published.
        share_y: lowest and highest mean of the foreground in Y's maps, which the term `share_y` asks for; None where
            that term weighs nothing. Maps without one of that name are asked in their first channel.
        discriminator_augmentation: probability that a sample which a discriminator sees is changed at random, see
            `scripts.trainer.augmentation`; 0 is published.
        **options: of `SourceTrainer`; `networks` are generator_xy, generator_yx, discriminator_x, discriminator_y and
            discriminator_s, each with its optimiser and schedule, which is stepped once an iteration of its stage; and
            `warm_up` for `generator_yx` where `warm_up_iterations` is not 0.

    Raises:
        InputError: the term `share_y` has a weight, but no interval.
        NonFiniteLossError: see `SourceTrainer`.
    """

    def __init__(
        self,
        *,
        loss_weights: Mapping[str, float] | None = None,
        semi_supervised: bool | str = True,
        warm_up_iterations: int = 0,
        correlation_margin: float = 0.0,
        pool_size: int = 40,
        translation_noise: float = 0.0,
        share_y: Sequence[float] | None = None,
        discriminator_augmentation: float = 0.0,
        **options: Any,
    ) -> None:
        off = {} if flag(semi_supervised, "semi_supervised") else dict.fromkeys(_SEMI_SUPERVISED, 0.0)
        self.warm_up_iterations = warm_up_iterations
        self.translation_noise, self.correlation_margin = translation_noise, correlation_margin
        self.share_y, self.discriminator_augmentation = share_y, discriminator_augmentation
        self.pools = {name: ImagePool(pool_size) for name in _DISCRIMINATORS}
        self.adversarial = PatchAdversarialLoss(criterion="least_squares", no_activation_leastsq=True)
        super().__init__(loss_weights={**(loss_weights or {}), **off}, event_names=[WARM_UP_COMPLETED], **options)
        if share_y is None and (weight := self.update.weight("share_y")):
            raise InputError(f"loss_weights::share_y is {weight:g}, but share_y is null; expected [lowest, highest].")

    @property
    def stage_end(self) -> int:
        """Last iteration of the warm-up."""
        return self.warm_up_iterations

    @property
    def stage_name(self) -> str:
        """What the network has learned from so far, for people."""
        return "source only" if self.state.iteration <= self.stage_end else "CySGAN"

    def _stage(self) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
        return self._supervised_step if self.state.iteration <= self.stage_end else self._adversarial_step

    def _stage_completed(self) -> None:
        if self.state.iteration == self.stage_end:
            self._start_from_warm_up()

    def _start_from_warm_up(self) -> None:
        state = bare(self.networks["generator_yx"]).state_dict()
        bare(self.networks["generator_xy"]).load_state_dict(state)
        self.fire_event(WARM_UP_COMPLETED)

    # ---- the method's step -------------------------------------------------------------------------------------------
    def _adversarial_step(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        generators = ["generator_xy", "generator_yx"]
        for name in _DISCRIMINATORS:
            self.networks[name].requires_grad_(False)
        with self._autocast():
            terms, made, cycle = self._generator_terms(batch)
        losses = self._optimise(terms, generators, [self.networks[name] for name in generators], cycle)
        for name in _DISCRIMINATORS:
            self.networks[name].requires_grad_(True)
        with self._autocast():
            terms = self._discriminator_terms(batch, made)
        discriminators = self._optimise(terms, list(_DISCRIMINATORS), [])
        self.loss_scaler.update()
        # "loss" is the generators' alone: the sum with the discriminators' would say nothing.
        return {**discriminators, **losses}

    def _generator_terms(self, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor], GradientCut]:
        activate = self.representation.activate
        fake_y, logits_x = self._translate("generator_xy", batch["image_x"])
        fake_x, logits_y = self._translate("generator_yx", batch["image_y"])
        # Cut here: segmenting a translated image must not teach the other generator to draw an easy one. What the
        # cycle's terms, and they alone, have to tell it is carried across in `_optimise`.
        cut = GradientCut(fake_y, fake_x)
        noisy_y, noisy_x = (self._with_noise(leaf) for leaf in cut.leaves)
        rec_x, logits_rec_x = self._translate("generator_yx", noisy_y)
        rec_y, logits_rec_y = self._translate("generator_xy", noisy_x)
        maps_y, maps_rec_y = activate(logits_y), activate(logits_rec_y)
        same_x = functools.cache(lambda: self._translate("generator_yx", batch["image_x"]))
        terms: dict[str, Callable[[], Tensor]] = {
            "adversarial_y": lambda: self._fools("discriminator_y", fake_y),
            "adversarial_x": lambda: self._fools("discriminator_x", fake_x),
            "cycle_x": lambda: F.l1_loss(rec_x, batch["recon_x"]),
            "cycle_y": lambda: F.l1_loss(rec_y, batch["recon_y"]),
            "segmentation_x": lambda: self.representation.loss(logits_x, batch["target_x"]),
            "segmentation_rec_x": lambda: self.representation.loss(logits_rec_x, batch["target_x"]),
            "structure": lambda: F.l1_loss(maps_y, maps_rec_y),
            "adversarial_s": lambda: self._fools("discriminator_s", maps_y),
            "adversarial_s_rec": lambda: self._fools("discriminator_s", maps_rec_y),
            "identity": lambda: self._identity(batch, same_x()[0]),
            "segmentation_same_x": lambda: self.representation.loss(same_x()[1], batch["target_x"]),
            "correlation": lambda: (
                anticorrelation(fake_y, batch["recon_x"], self.correlation_margin)
                + anticorrelation(fake_x, batch["recon_y"], self.correlation_margin)
            ),
            "share_y": lambda: outside(self._foreground(maps_y), self.share_y or (0.0, 1.0)),
        }
        self._show(x=batch["image_x"], fake_y=fake_y, rec_x=rec_x, maps_x=activate(logits_x))
        self._show(y=batch["image_y"], fake_x=fake_x, rec_y=rec_y, maps_y=maps_y, maps_rec_y=maps_rec_y)
        made = {"fake_x": fake_x, "fake_y": fake_y, "maps_y": maps_y, "maps_rec_y": maps_rec_y}
        return {name: term() for name, term in terms.items() if self.update.weight(name)}, made, cut

    def _discriminator_terms(self, batch: dict[str, Tensor], made: dict[str, Tensor]) -> dict[str, Tensor]:
        maps = made["maps_y"] if torch.rand(()) < 0.5 else made["maps_rec_y"]
        pairs = {
            "discriminator_x": (batch["recon_x"], made["fake_x"]),
            "discriminator_y": (batch["recon_y"], made["fake_y"]),
            "discriminator_s": (batch["target_x"], maps),
        }
        return {name: self._tells_apart(name, *pair) for name, pair in pairs.items()}

    # ---- parts of the step -------------------------------------------------------------------------------------------
    def _with_noise(self, image: Tensor) -> Tensor:
        if not self.translation_noise:
            return image.view_as(image)  # no leaf, which hooks on modules do not take
        return image + self.translation_noise * torch.randn_like(image)

    def _fools(self, name: str, fake: Tensor) -> Tensor:
        # Past the DDP wrapper: its discriminator's parameters are frozen here and would be waited for.
        scores = bare(self.networks[name])(self._shown(name, fake))
        return self.adversarial(scores, target_is_real=True, for_discriminator=False)

    def _tells_apart(self, name: str, real: Tensor, fake: Tensor) -> Tensor:
        both = torch.cat([real, self.pools[name](fake)])
        scores_real, scores_fake = self.networks[name](self._shown(name, both)).chunk(2)
        loss_real = self.adversarial(scores_real, target_is_real=True, for_discriminator=True)
        return loss_real + self.adversarial(scores_fake, target_is_real=False, for_discriminator=True)

    def _shown(self, name: str, volumes: Tensor) -> Tensor:
        return randomly_changed(volumes, self.discriminator_augmentation, grey=name != "discriminator_s")

    def _foreground(self, maps: Tensor) -> Tensor:
        names = self.representation.channel_names
        return maps[:, names.index("foreground") if "foreground" in names else 0]

    def _identity(self, batch: dict[str, Tensor], same_x: Tensor) -> Tensor:
        same_y, _ = self._translate("generator_xy", batch["image_y"])
        return F.l1_loss(same_x, batch["recon_x"]) + F.l1_loss(same_y, batch["recon_y"])
