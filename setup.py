"""Packaging of gsmtp. `make run` and `make test` call this for you.

The version stands once, in gsmtp/__init__.py, and is read from there as text: importing the package here would need
gevent before pip could install it.
"""

import ast
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent


def version() -> str:
    """The value assigned to ``__version__`` in gsmtp/__init__.py."""
    for node in ast.parse((HERE / "gsmtp" / "__init__.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__version__":
            return str(ast.literal_eval(node.value))
    raise SystemExit("gsmtp/__init__.py assigns no __version__")


setup(
    name="gsmtp",
    version=version(),
    description="An inbound ESMTP server on gevent, configured like Momentum",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["gsmtp", "gsmtp.*"]),
    package_data={"gsmtp": ["py.typed"], "gsmtp.config": ["*.csv"], "gsmtp.runtime": ["*.pem"]},
    python_requires=">=3.11",
    install_requires=[
        "dnspython>=2.6",
        "gevent>=25.4",
        "greenlet>=3.1",
        "ply>=3.11",
        "PyYAML>=6.0.1",
    ],
    extras_require={
        "amqp": ["pika>=1.3"],
        "compile": ["mypy>=1.15", "setuptools>=64", "types-gevent>=25.4"],
        "auth": ["argon2-cffi>=23.1", "bcrypt>=4.1"],
        "pgsql": ["psycopg[binary]>=3.1"],
        "tls": ["pyOpenSSL>=24.3"],
        "dev": [
            "crossplane>=0.5.8",
            "honcho>=2.0.0",
            "hypothesis>=6.100",
            "import-linter>=2.1",
            "mypy>=1.15",
            "pytest>=8.2",
            "pytest-timeout>=2.3",
            "pytest-xdist>=3.6",
            "ruff>=0.9",
            "types-gevent>=25.4",
            "types-PyYAML>=6.0.12",
        ],
    },
    entry_points={"console_scripts": ["gsmtp = gsmtp.__main__:main"]},
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Environment :: No Input/Output (Daemon)",
        "Intended Audience :: System Administrators",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Topic :: Communications :: Email :: Mail Transport Agents",
        "Typing :: Typed",
    ],
    zip_safe=False,
)
