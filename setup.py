"""Metadata and dependency ranges; tool settings live in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

setup(
    name="syft_fl",
    version="0.1.0",
    description=(
        "After how many seconds on the air is a federated model how accurate? "
        "Quantisation, radio and a simulated clock for federated learning."
    ),
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=find_packages(include=["syft_fl", "syft_fl.*"]),
    package_data={"syft_fl": ["py.typed", "scenarios/*.toml"]},
    install_requires=[
        "torch>=2.9",
        "torchvision>=0.24",
        "syft>=0.10,<0.11",
        "numpy>=1.26",
        "cloudpickle>=3.0",
        "constriction>=0.4",
        "zstandard>=0.22",
        "matplotlib>=3.8",
        "pandas>=2.1",
        "pyarrow>=14",
        "pydantic>=2.7",
        "scikit-learn>=1.4",
        "scipy>=1.11",
        "tqdm>=4.66",
        "typer>=0.12",
    ],
    extras_require={
        "test": [
            "hypothesis>=6.100",
            "import-linter>=2.0",
            "mypy>=1.11",
            "pandas-stubs",
            "pytest>=8.0",
            "pytest-cov>=5.0",
            "pytest-xdist>=3.5",
            "ruff>=0.6",
            "simpy>=4.1",
            "nbclient>=0.10",
            "nbformat>=5.10",
            "ipykernel>=6.29",
            "sionna-no-rt>=2.2,<3",
            "tensorboard>=2.16",
        ],
        # Beside what is needed anyway: h5py, importlib-resources; 25 MB in all.
        # mlflow brings a server with it; mlflow-skinny is enough to log to one that runs elsewhere.
        "track": ["tensorboard>=2.16", "mlflow>=2.15"],
        "radio": ["sionna-no-rt>=2.2,<3"],
        # About 250 MB with what it needs.
        "ray": ["ray>=2.40"],
        "notebook": ["ipykernel>=6.29", "jupyterlab>=4.0"],
    },
    entry_points={"console_scripts": ["syft-fl = syft_fl.cli:main"]},
    classifiers=[
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering",
        "Typing :: Typed",
    ],
)
