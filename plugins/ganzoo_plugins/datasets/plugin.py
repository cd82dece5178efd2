"""The bundled data sets, as specs: nothing heavy is imported until one is used."""

from ganzoo import Spec, hookimpl

_HERE = "ganzoo_plugins.datasets"


@hookimpl
def ganzoo_specs() -> list[Spec]:
    """Return the specs of the bundled data sets."""
    return [
        Spec("command", "data", "Pack images for training, and show what a network will see", f"{_HERE}.commands:data"),
        Spec(
            "dataset",
            "mnist5k",
            "5,000 real MNIST digits, 28 x 28 grayscale, 500 of each class; comes with the installation",
            f"{_HERE}.mnist5k:Mnist5k",
        ),
        Spec(
            "dataset",
            "digits",
            "1,797 handwritten digits, 8 x 8 grayscale, ten classes; comes with the installation",
            f"{_HERE}.digits:Digits",
        ),
        Spec(
            "dataset",
            "gaussians",
            "points of the plane in a grid or a ring of Gaussians: shows whether modes are dropped",
            f"{_HERE}.points:Gaussians",
            paper="Unrolled Generative Adversarial Networks, arXiv:1611.02163",
        ),
        Spec(
            "dataset",
            "curves",
            "points of the plane on a parabola, sine, circle, line or spiral",
            f"{_HERE}.points:Curves",
        ),
        Spec(
            "dataset",
            "shapes",
            "drawn shapes, 32 x 32 RGB, whose class, hue, size, place and rotation are known and can be measured",
            f"{_HERE}.shapes:Shapes",
        ),
        Spec(
            "dataset",
            "captioned_shapes",
            "drawn shapes, 32 x 32 RGB, with captions made in code; what they name can be measured, pairs are held out",
            f"{_HERE}.captioned_shapes:CaptionedShapes",
        ),
        Spec(
            "dataset",
            "stacked_mnist",
            "three MNIST digits as the channels of one image, 28 x 28 RGB: 1,000 modes to count; no download needed",
            f"{_HERE}.stacked_mnist:StackedMnist",
            paper="VEEGAN: Reducing Mode Collapse in GANs using Implicit Variational Learning, arXiv:1705.07761",
        ),
        Spec(
            "dataset",
            "mnist",
            "MNIST, 70,000 handwritten digits, 28 x 28 grayscale; downloaded on first use",
            f"{_HERE}.torchvision_sets:Mnist",
        ),
        Spec(
            "dataset",
            "fashion_mnist",
            "Fashion-MNIST, 70,000 pieces of clothing, 28 x 28 grayscale; downloaded on first use",
            f"{_HERE}.torchvision_sets:FashionMnist",
            paper="Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms, arXiv:1708.07747",
        ),
        Spec(
            "dataset",
            "cifar10",
            "CIFAR-10, 60,000 images of animals and vehicles, 32 x 32 RGB; downloaded on first use",
            f"{_HERE}.torchvision_sets:Cifar10",
        ),
        Spec(
            "dataset",
            "folder",
            "your own images: every image under a folder, its subfolders as classes or a table of attributes",
            f"{_HERE}.folder:Folder",
        ),
        Spec(
            "dataset",
            "captioned_images",
            "your own images with captions: text files beside them, or a table such as metadata.jsonl",
            f"{_HERE}.captioned_images:CaptionedImages",
        ),
        Spec(
            "dataset",
            "shards",
            "your own images in .tar files (WebDataset), on disk or in an object store, read where they lie",
            f"{_HERE}.shards:Shards",
        ),
        Spec(
            "dataset",
            "hf",
            "images of the Hugging Face library datasets: saved on disk, parquet and Arrow files, or from the hub",
            f"{_HERE}.hugging_face:HuggingFace",
        ),
        Spec(
            "dataset",
            "unpaired",
            "your own images in two folders, one for each domain, for translation without pairs",
            f"{_HERE}.domains:Unpaired",
        ),
        Spec(
            "dataset",
            "paired",
            "your own pairs of images: two folders of equal names, or both images side by side in each file",
            f"{_HERE}.domains:Paired",
        ),
        Spec(
            "dataset",
            "text",
            "your own texts, a line or row each of .txt, .jsonl and .parquet files; by character, word or byte pair",
            f"{_HERE}.text:Text",
        ),
        Spec(
            "dataset",
            "grammar",
            "sentences of a grammar made in code: whether a sample is one, and how likely, is known exactly",
            f"{_HERE}.grammar:Sampled",
            paper="GANS for Sequences of Discrete Elements with the Gumbel-softmax Distribution, arXiv:1611.04051",
        ),
        Spec(
            "dataset",
            "oracle",
            "sequences that an LSTM with random weights has drawn, whose probability is known",
            f"{_HERE}.oracle:Oracle",
            paper="SeqGAN: Sequence Generative Adversarial Nets with Policy Gradient, arXiv:1609.05473",
        ),
        Spec(
            "dataset",
            "shapes_styles",
            "drawn shapes, filled and outlined, 32 x 32 RGB: two domains, and held-out pairs to evaluate with",
            f"{_HERE}.styles:ShapesStyles",
        ),
        Spec(
            "dataset",
            "mnist_styles",
            "mnist5k's digits and the same thickened, inverted or colored: two domains with held-out pairs",
            f"{_HERE}.styles:MnistStyles",
        ),
        Spec(
            "dataset",
            "waves",
            "mixtures of sines of known amplitude, frequency and phase, with classes or without",
            f"{_HERE}.series:Waves",
        ),
        Spec(
            "dataset",
            "series",
            "your own series: windows of the columns of a CSV, Parquet or .npy file",
            f"{_HERE}.series:Series",
        ),
        Spec(
            "dataset",
            "table",
            "a table of your own: numbers, categories and missing values of a CSV or Parquet file",
            f"{_HERE}.table:TableFile",
        ),
        Spec(
            "dataset",
            "iris",
            "150 iris flowers of three species: a table of 4 numbers and a category; comes with the installation",
            f"{_HERE}.table:Iris",
        ),
        Spec(
            "dataset",
            "wine",
            "178 wines of three growers: a table of 13 numbers and a category; comes with the installation",
            f"{_HERE}.table:Wine",
        ),
        Spec(
            "dataset",
            "breast_cancer",
            "569 tumors, benign or malignant: a table of 30 numbers and a category; comes with the installation",
            f"{_HERE}.table:BreastCancer",
        ),
        Spec(
            "dataset",
            "diabetes",
            "442 patients and how far their disease went: a table of 10 numbers and a category; comes with the "
            "installation",
            f"{_HERE}.table:Diabetes",
        ),
    ]
