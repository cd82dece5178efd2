"""Spectral norm: weights divided by their largest singular value."""

from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import _SpectralNorm

from ganzoo.errors import UserError
from ganzoo.gan.networks import Discriminator
from ganzoo.gan.precision import full_precision

__all__ = ["normalize_spectrum"]


class _Spectral(_SpectralNorm):
    """torch's spectral norm, always computed in float32.

    It keeps singular vectors in float32, and in bfloat16 the divided weights would not have a norm of 1.
    """

    def forward(self, weight: Tensor) -> Tensor:
        with full_precision(weight.device):
            return super().forward(weight)


def normalize_spectrum(network: nn.Module, apart: tuple[type[nn.Module], ...] = ()) -> None:
    """Divide the weights of every linear layer, embedding and convolution by their spectral norm (arXiv:1802.05957).

    The norm is followed by one step of power iteration each time the weights are used in training. What is inside of
    modules of the classes ``apart`` stays as it is. Raises :class:`~ganzoo.UserError` for weights that are all zeros,
    which have no norm.
    """
    kept = {inner for module in network.modules() if isinstance(module, apart) for inner in module.modules()}
    for name, module in list(network.named_modules()):
        if module not in kept and isinstance(module, nn.Linear | nn.Embedding | nn.modules.conv._ConvNd):
            if not module.weight.any():
                # The norm is 0, so the division is 0/0. With a small constant instead, the first optimizer step would
                # change the divided weights from zeros to a norm of 1 at once.
                player = "discriminator" if isinstance(network, Discriminator) else "network"
                raise UserError(
                    f"spectral norm divides weights by their largest singular value, and the {player}'s layer "
                    f"{name} starts with zeros, which have none; leave model.spectral_norm out"
                )
            axis = int(isinstance(module, nn.modules.conv._ConvTransposeNd))  # that of the outputs
            parametrize.register_parametrization(module, "weight", _Spectral(module.weight, dim=axis))
