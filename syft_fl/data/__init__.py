"""Data sets behind one name: tensors in memory, normalised, training and test apart."""

from syft_fl.data.dataset import DATASETS, Dataset, DataSource, Samples, Share
from syft_fl.data.digits import Digits
from syft_fl.data.own import OwnData, as_dataset, own_data
from syft_fl.data.synthetic import Synthetic
from syft_fl.data.vision import CIFAR10, MNIST

__all__ = [
    "CIFAR10",
    "DATASETS",
    "MNIST",
    "DataSource",
    "Dataset",
    "Digits",
    "OwnData",
    "Samples",
    "Share",
    "Synthetic",
    "as_dataset",
    "own_data",
]
