"""A camera as a degradation: the clean picture is taken again, by a camera drawn for each picture.

The order is that of cameras: light, sensor, mosaic, white balance, demosaicking, colours, tones, noise reduction and
sharpening, and then what people do to pictures: resizing and JPEG. Unprocessing as in Brooks et al. 2019
(arXiv:1811.11127); that noise is added to light and goes through the camera's pipeline is CBDNet's finding (Guo, Yan,
Zhang, Zuo and Zhang, CVPR 2019, arXiv:1807.04686); that steps are drawn or left out at random SCUNet's (Zhang et al.
2022, arXiv:2203.13278).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from hush.learning.artefacts import jpeg
from hush.learning.developing import (
    blur,
    colour_matrices,
    from_luma_chroma,
    mix_colours,
    smooth_and_sharpen,
    take_tones,
    to_linear,
    to_luma_chroma,
    to_srgb,
    tone,
    undo_gains,
    undo_tone,
    zoom,
)
from hush.learning.noise import Degraded, per_image
from hush.learning.sensor import (
    LEAST_SIDE,
    bayer_masks,
    demosaic_bilinear,
    demosaic_malvar,
    line_noise,
    mosaic,
    sensor_noise,
)

SHOT = 1e-4  # variance of the noise for each unit of light at ISO 100; Brooks et al. 2019 draw 1 to 120 times it
SHARPEST, SOFTEST = 0.3, 2.0  # pixels, of a lens
FINEST, COARSEST = 0.6, 4.0  # pixels, of the filters on luminance
BLOTCH = 4.0  # pixels; the widest smoothing of colours
DIMMEST = 4.0  # stops that a dim scene lacks at most
TEXTURE = 4.0  # pixels; what is coarser is no texture
NEAREST = 4.0  # times that a scene is enlarged at most
FLATTEST = 0.1  # of the contrast that a flat scene keeps at least


@dataclass(frozen=True)
class Exposure:
    """One camera and one exposure for each picture; tensors (N, 1, 1, 1) where nothing else is said."""

    shot: Tensor
    """Variance for each unit of light."""
    read: Tensor
    """Variance in the dark."""
    row: Tensor
    """Deviation of the offsets of rows."""
    band: Tensor
    """Deviation of a wave across rows."""
    period: Tensor
    """Of that wave, in rows."""
    upright: Tensor
    """bool: held upright, so that rows are columns."""
    gains: Tensor
    """(N, 3, 1, 1): brightening and white balance."""
    matrix: Tensor
    """(N, 3, 3): linear sRGB to the camera's colours."""
    toned: Tensor
    """bool: with a contrast curve."""
    softness: Tensor
    """Deviation in pixels of the lens's blur."""
    phase: Tensor
    """(N,), 0 to 3: of the Bayer pattern."""
    binned: Tensor
    """(N,) bool: each pixel has been made of several, so that there was no mosaic and no filter to see."""
    malvar: Tensor
    """(N,) bool: demosaicked after Malvar, not bilinearly."""
    radius: Tensor
    """Of the filters on luminance, in pixels."""
    smoothing: Tensor
    sharpening: Tensor
    edge: Tensor
    """See `hush.learning.developing.smooth_and_sharpen`."""
    blotch: Tensor
    """Pixels by which colours are smoothed."""
    colour: Tensor
    """By how much the colour noise that smoothing leaves is stronger than that of white noise would be."""
    factor: Tensor
    """Of the size; 1 for pictures that nobody resized."""
    quality: Tensor
    """(N,): of JPEG, 101 for none."""
    light: Tensor
    """By what the scene's light is multiplied; 1 where it is not dim."""
    contrast: Tensor
    """By what the scene's distance from its mean is multiplied; 1 where it is not flat."""
    plainness: Tensor
    """By what weak texture of the scene is weaker, 0 to 1."""
    weakest: Tensor
    """Deviation of the texture that counts as weak; full scale is 1."""
    nearness: Tensor
    """By what the scene is enlarged."""

    def only(self, chosen: Tensor) -> Exposure:
        """Return that of the chosen (N,) pictures."""
        return Exposure(**{field.name: getattr(self, field.name)[chosen] for field in fields(self)})


def camera(
    clean: Tensor,
    rng: torch.Generator,
    *,
    stops: float | Tensor = 4,
    quiet: float | Tensor = 0.05,
    binned: float | Tensor = 0.15,
    compressed: float | Tensor = 0.6,
    dim: float | Tensor = 0,
    flat: float | Tensor = 0,
    near: float | Tensor = 0,
    cleaned: float | Tensor = 0,
) -> Degraded:
    """Take a clean sRGB picture again, with a camera of its own for each picture.

    Gives both views that this camera would have given: noisy, and clean without noise and JPEG. The second is what
    is to be restored, since colours and sharpness are the photographer's. Its tones are those of the mean of many
    exposures: that shadows come out brighter or darker for their noise is left as it is, since cameras differ in it.

    Args:
        clean: (N, C, H, W); where there are not three channels, each is taken as gray light, by its own camera.
        rng: draws all.
        stops: how many times the light is halved from that of ISO 100; 4 is ISO 1600. Below 0 there is hardly any
            noise.
        quiet: share of pictures without noise of the sensor.
        binned: share of pictures that were made smaller, so that their noise is white.
        compressed: share of pictures that went through JPEG.
        dim: share of pictures of dim scenes, which stay dark: light is halved up to 4 times. In the shadows tones are
            nearly proportional to light, and noise grows with them, as it does not in brighter ones.
        flat: share of scenes that lose up to nine tenths of their contrast and, unless they are binned, weak texture:
            what a camera sees at 100 % has less of both than photographs that somebody chose and made smaller.
        near: share of scenes that are enlarged up to 4 times, unless they are binned: at 100 % edges are far apart.
        cleaned: share of cameras that reduce noise as most do for their own JPEG, unless pictures are binned: colours
            keep nothing finer than blotches, luminance keeps its noise at edges more than where it is flat.
    """
    colour = clean.shape[1] == 3
    light = clean.float().clamp(0, 1)
    light = light if colour else light.reshape(-1, 1, *clean.shape[-2:]).expand(-1, 3, -1, -1)
    given, times = (stops, quiet, binned, compressed, dim, flat, near, cleaned), len(light) // len(clean)
    exposure = draw_exposure(len(light), rng, clean.device, *(_repeated(value, times) for value in given))
    noisy, target = filter_views(*expose(light, exposure, rng), exposure)
    target = take_tones(target, noisy)
    noisy = compress(noisy, exposure, rng)
    if not colour:
        noisy, target = (to_luma_chroma(view)[0].reshape(clean.shape) for view in (noisy, target))
    return Degraded(noisy.to(clean.dtype), None, target.to(clean.dtype))


def _repeated(value: float | Tensor, times: int) -> float | Tensor:
    """Repeat what each picture has for each of its channels."""
    return value.repeat_interleave(times) if isinstance(value, Tensor) and value.ndim else value


camera.develops = True  # type: ignore[attr-defined]  # gives a clean view of its own, so it comes first in a chain


def draw_exposure(
    count: int,
    rng: torch.Generator,
    device: torch.device,
    stops: float | Tensor = 4,
    quiet: float | Tensor = 0.05,
    binned: float | Tensor = 0.15,
    compressed: float | Tensor = 0.6,
    dim: float | Tensor = 0,
    flat: float | Tensor = 0,
    near: float | Tensor = 0,
    cleaned: float | Tensor = 0,
) -> Exposure:
    """Draw cameras; arguments as of `camera`."""

    def uniform(low: float, high: float, many: int = 1) -> Tensor:
        return low + (high - low) * torch.rand((count, many, 1, 1), generator=rng, device=device)

    def normal(mean: float, deviation: float) -> Tensor:
        return mean + deviation * torch.randn((count, 1, 1, 1), generator=rng, device=device)

    def chance(share: float | Tensor) -> Tensor:
        drawn = uniform(0, 1)
        return drawn < per_image(share, drawn)

    loud = ~chance(quiet)
    shot = SHOT * torch.exp2(per_image(stops, torch.zeros(0, device=device)))
    read = torch.exp(2.18 * shot.log() + normal(1.20, 0.26))  # Brooks et al. 2019, section 3.1
    dark = loud * read.sqrt()
    bright = 1 / normal(0.8, 0.1).clamp(min=0.4)  # their section 3.2, as are the ranges of white balance
    balance = torch.cat([uniform(1.9, 2.4), torch.ones_like(bright), uniform(1.5, 1.9)], dim=1)
    small = chance(binned)
    full = ~small
    plain = chance(flat)
    tidy = full & chance(cleaned)
    blotch = torch.where(tidy, uniform(1.5, BLOTCH), full * uniform(0.3, BLOTCH) * chance(0.75))
    return Exposure(
        shot=loud * shot,
        read=loud * read,
        row=dark * uniform(0, 0.3),
        band=dark * uniform(0, 0.3) * chance(0.3),
        period=torch.exp2(uniform(1.5, 6)),
        upright=chance(0.3),
        gains=bright * balance,
        matrix=colour_matrices(uniform(0, 1, 4).reshape(-1, 4)),
        toned=chance(0.5),
        softness=full * uniform(SHARPEST, SOFTEST) * chance(0.85),
        phase=torch.randint(4, (count,), generator=rng, device=device),
        binned=small.flatten(),
        malvar=chance(0.5).flatten(),
        radius=uniform(FINEST, COARSEST),
        smoothing=torch.where(tidy, uniform(0.5, 0.95), full * uniform(0, 0.9).sqrt() * chance(0.75)),
        sharpening=full * uniform(0, 0.8) * chance(0.6),
        edge=torch.where(tidy, 0.004, 0.01) * torch.exp2(uniform(0, 4.3)),
        blotch=blotch,
        colour=torch.where(tidy, uniform(0.4, 1.1), 1 + blotch * uniform(0, 0.6)),
        factor=torch.where(chance(0.3), torch.exp2(uniform(-0.5, 1.0)), 1.0),
        quality=torch.where(chance(compressed), uniform(65, 100), 101.0).flatten(),
        light=torch.where(chance(dim), torch.exp2(-uniform(0, DIMMEST)), 1.0),
        contrast=torch.where(plain, uniform(FLATTEST, 1), 1.0),
        plainness=full * plain * uniform(0, 1).sqrt(),
        weakest=0.005 * torch.exp2(uniform(0, 4)),
        nearness=torch.where(full & chance(near), NEAREST ** uniform(0, 1), 1.0),
    )


def expose(light: Tensor, exposure: Exposure, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return what a sensor gives of sRGB light (N, 3, H, W): noisy and without noise, in sRGB, before filters."""
    linear = to_linear(undo_tone(_change_scene(light, exposure), exposure.toned))
    raw = undo_gains(exposure.light * mix_colours(linear, exposure.matrix), exposure.gains)  # dim light fills no sensor
    raw = blur(raw, exposure.softness, SOFTEST).clamp(0, 1)
    clean = (raw * exposure.gains).clamp(0, 1)
    noise = torch.empty_like(clean)
    small = exposure.binned | (min(light.shape[-2:]) < LEAST_SIDE)
    for demosaic, chosen in (
        (None, small),
        (demosaic_malvar, ~small & exposure.malvar),
        (demosaic_bilinear, ~small & ~exposure.malvar),
    ):
        if chosen.any():
            noise[chosen] = read_out(raw[chosen], exposure.only(chosen), rng, demosaic)
    back = torch.linalg.inv(exposure.matrix).repeat(2, 1, 1)
    both = mix_colours(torch.cat([clean + noise, clean]).clamp(0, 1), back).clamp(0, 1)
    noisy, clean = tone(to_srgb(both), exposure.toned.repeat(2, 1, 1, 1)).chunk(2)
    return noisy, clean


def _change_scene(light: Tensor, exposure: Exposure) -> Tensor:
    """Enlarge near scenes; take weak texture and contrast from flat ones."""
    light = zoom(light, exposure.nearness)
    if (exposure.plainness > 0).any():
        luma, chroma = to_luma_chroma(light)
        radius = torch.full_like(luma[:, :, :1, :1], TEXTURE)
        how = {"smoothing": exposure.plainness, "sharpening": 0 * radius, "edge": exposure.weakest}
        light = from_luma_chroma(smooth_and_sharpen(luma, luma, radius=radius, longest=TEXTURE, **how), chroma)
    mean = light.mean((2, 3), keepdim=True)
    return (mean + exposure.contrast * (light - mean)).clamp(0, 1)


def read_out(
    raw: Tensor, exposure: Exposure, rng: torch.Generator, demosaic: Callable[[Tensor, Tensor], Tensor] | None
) -> Tensor:
    """Return the noise (N, 3, H, W) of a raw picture after white balance, clipping and demosaicking.

    Only the noise is demosaicked. For the scene, whose detail a lens has softened, demosaicking is taken as perfect:
    training photographs were made smaller and are so sharp that they would get more false colours than cameras give,
    and these would look like noise that is to be kept.
    """
    gains = exposure.gains
    if demosaic is not None:
        masks = bayer_masks(exposure.phase, *raw.shape[-2:])
        raw, gains = mosaic(raw, masks), mosaic(gains, masks)
    lines = line_noise(raw, rng, exposure.row, exposure.band, exposure.period, exposure.upright)
    noise = sensor_noise(raw, rng, exposure.shot, exposure.read) + lines
    noise = ((raw + noise) * gains).clamp(0, 1) - (raw * gains).clamp(0, 1)
    return noise if demosaic is None else demosaic(noise, masks)


def filter_views(noisy: Tensor, clean: Tensor, exposure: Exposure) -> tuple[Tensor, Tensor]:
    """Smooth, sharpen and resize both views alike."""
    luma, chroma = to_luma_chroma(torch.cat([noisy, clean]))
    both = exposure.only(torch.arange(len(noisy), device=noisy.device).repeat(2))
    coloured, colours = blur(chroma, both.blotch, BLOTCH).chunk(2)
    chroma = torch.cat([colours + exposure.colour * (coloured - colours), colours])
    guide = luma[len(noisy) :]
    luma = smooth_and_sharpen(
        luma,
        guide.repeat(2, 1, 1, 1),
        radius=both.radius,
        longest=COARSEST,
        smoothing=both.smoothing,
        sharpening=both.sharpening,
        edge=both.edge,
    )
    noisy, clean = zoom(from_luma_chroma(luma, chroma), both.factor).clamp(0, 1).chunk(2)
    return noisy, clean


def compress(noisy: Tensor, exposure: Exposure, rng: torch.Generator) -> Tensor:
    """Round to 8 bit, and send through JPEG what went through it."""
    rounded = noisy.mul(255).round().div(255)
    chosen = exposure.quality <= 100
    if chosen.any():
        rounded[chosen] = jpeg(noisy[chosen], rng, quality=exposure.quality[chosen])
    return rounded
