"""Registers the bundled metrics."""

from collections.abc import Iterable

from ganzoo import Spec, hookimpl

_HERE = "ganzoo_plugins.metrics"


@hookimpl
def ganzoo_specs() -> Iterable[Spec]:
    """Return the specs of the metrics."""
    return [
        Spec(
            "metric",
            "modes",
            "Modes covered and the share of samples near one, for mixtures of Gaussians",
            f"{_HERE}.modes:Modes",
            "PacGAN: The power of two samples in generative adversarial networks, arXiv:1712.04086",
        ),
        Spec(
            "metric",
            "stacked_modes",
            "how many of the 1,000 modes of stacked digits are covered, and KL to the data's distribution",
            f"{_HERE}.stacked_modes:StackedModes",
            "PacGAN: The power of two samples in generative adversarial networks, arXiv:1712.04086",
        ),
        Spec(
            "metric",
            "classifier",
            "quality and diversity of samples by a classifier trained on the data set",
            f"{_HERE}.classifier:ClassifierScore",
            "Improved Techniques for Training GANs, arXiv:1606.03498",
        ),
        Spec(
            "metric",
            "caption_accuracy",
            "the share of facts named in captions that are drawn right, for combinations seen and held out",
            f"{_HERE}.caption_accuracy:CaptionAccuracy",
        ),
        Spec(
            "metric",
            "fid",
            "Fréchet distance of features, of InceptionV3 or the data set's classifier",
            f"{_HERE}.distances:FID",
            "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium, arXiv:1706.08500",
        ),
        Spec(
            "metric",
            "kid",
            "kernel distance of features, unbiased for any number of samples",
            f"{_HERE}.distances:KID",
            "Demystifying MMD GANs, arXiv:1801.01401",
        ),
        Spec(
            "metric",
            "prdc",
            "precision, recall, density and coverage: quality and diversity separately, by neighbors in features",
            f"{_HERE}.distances:PRDC",
            "Reliable Fidelity and Diversity Metrics for Generative Models, arXiv:2002.09797",
        ),
        Spec(
            "metric",
            "inception_score",
            "Inception Score, by InceptionV3 or the data set's classifier",
            f"{_HERE}.distances:InceptionScore",
            "Improved Techniques for Training GANs, arXiv:1606.03498",
        ),
        Spec(
            "metric",
            "memorization",
            "whether samples are copies of training images, by nearest-neighbor distances",
            f"{_HERE}.memorization:Memorization",
            "A Non-Parametric Test to Detect Data-Copying in Generative Models, arXiv:2004.05675",
        ),
        Spec(
            "metric",
            "path_length",
            "perceptual path length: how much samples change along short steps between latents or styles",
            f"{_HERE}.path_length:PathLength",
            "A Style-Based Generator Architecture for Generative Adversarial Networks, arXiv:1812.04948",
        ),
        Spec(
            "metric",
            "nll_test",
            "negative log-likelihood of held-out sentences under a language model",
            f"{_HERE}.nll_test:NLLTest",
            "Texygen: A Benchmarking Platform for Text Generation Models, arXiv:1802.01886",
        ),
        Spec(
            "metric",
            "label_accuracy",
            "how often a conditional model draws the requested class",
            f"{_HERE}.label_accuracy:LabelAccuracy",
        ),
        Spec(
            "metric",
            "grammar",
            "share of samples that are sentences of the data's grammar, different ones, and exact KL to it",
            f"{_HERE}.sentences:GrammarScore",
            "Adversarial Generation of Natural Language, arXiv:1705.10929",
        ),
        Spec(
            "metric",
            "nll_oracle",
            "negative log-likelihood of samples by the model that has drawn the data, in nats a token",
            f"{_HERE}.sentences:OracleNLL",
            "SeqGAN: Sequence Generative Adversarial Nets with Policy Gradient, arXiv:1609.05473",
        ),
        Spec(
            "metric",
            "bleu",
            "BLEU of tokens against test data, and Self-BLEU among samples; needs sacrebleu",
            f"{_HERE}.sentences:Bleu",
            "Texygen: A Benchmarking Platform for Text Generation Models, arXiv:1802.01886",
        ),
        Spec(
            "metric",
            "copies",
            "whether samples of tokens are copies of training data: whole ones, and the longest run",
            f"{_HERE}.sentences:Copies",
        ),
        Spec(
            "metric",
            "frechet_text",
            "Fréchet distance of texts in the states of a language model that is trained on the data",
            f"{_HERE}.text_distance:FrechetText",
            "On Accurate Evaluation of GANs for Language Generation, arXiv:1806.04936",
        ),
        Spec(
            "metric",
            "translation",
            "distance of translations from their true counterparts, and how often the own one is the nearest",
            f"{_HERE}.translation:Translation",
        ),
        Spec(
            "metric",
            "marginal",
            "Wasserstein-1 distance of the values of series, channel by channel",
            f"{_HERE}.series:Marginal",
        ),
        Spec(
            "metric",
            "autocorrelation",
            "difference of the autocorrelations of series",
            f"{_HERE}.series:Autocorrelation",
            "Quant GANs: Deep Generation of Financial Time Series, arXiv:1907.06673",
        ),
        Spec(
            "metric",
            "tstr",
            "train on synthetic, test on real: what a network that learns from drawn series is worth on real ones",
            f"{_HERE}.series:TSTR",
            "Real-valued (Medical) Time Series Generation with Recurrent Conditional GANs, arXiv:1706.02633",
        ),
        Spec(
            "metric",
            "column_shapes",
            "how alike the distribution of each column of a table is to the data's",
            f"{_HERE}.tables:ColumnShapes",
        ),
        Spec(
            "metric",
            "column_pairs",
            "how alike the dependence of each two columns of a table is to the data's",
            f"{_HERE}.tables:ColumnPairs",
        ),
        Spec(
            "metric",
            "ml_efficacy",
            "how well models trained on drawn rows of a table predict real ones",
            f"{_HERE}.efficacy:MLEfficacy",
            "Modeling Tabular Data using Conditional GAN, arXiv:1907.00503",
        ),
        Spec(
            "metric",
            "distance_to_closest_record",
            "whether rows of a table are copies, by distances to training and to held-out rows",
            f"{_HERE}.tables:DistanceToClosestRecord",
        ),
    ]
