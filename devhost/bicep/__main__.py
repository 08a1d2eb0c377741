"""Shows what infra/ would deploy: python -m devhost.bicep [NAME=VALUE ...] [--json]

NAME is a variable of infra/main.parameters.json: SLUICE_SIZE=smallest SLUICE_NETWORK=public
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from devhost.bicep.names import findings
from devhost.bicep.parameters import read_parameters
from devhost.bicep.place import Place
from devhost.bicep.render import Rendered, render
from devhost.bicep.template import Template
from devhost.bicep.values import BicepError

INFRA = Path(__file__).parents[2] / "infra"
DEFAULTS = {"AZURE_ENV_NAME": "dry-run", "AZURE_LOCATION": "swedencentral"}


def main(arguments: Sequence[str]) -> int:
    given = dict(each.split("=", 1) for each in arguments if "=" in each)
    try:
        said = [each for path in templates() for each in findings(Template(path))]
        resources = deployment({**DEFAULTS, **given})
    except BicepError as error:
        said, resources = [str(error)], []
    for each in said:
        sys.stderr.write(f"{each}\n")
    sys.stdout.write(_as_json(resources) if "--json" in arguments else _as_list(resources))
    return int(bool(said))


def templates(infra: Path = INFRA) -> list[Path]:
    """Every Bicep file."""
    return sorted(infra.rglob("*.bicep"))


def deployment(environment: Mapping[str, str], infra: Path = INFRA) -> list[Rendered]:
    """What `azd provision` would deploy with this environment. Raises BicepError."""
    main_file = infra / "main.bicep"
    given = read_parameters(infra / "main.parameters.json", Template(main_file), environment)
    return render(main_file, given, Place())


def _as_json(resources: list[Rendered]) -> str:
    return json.dumps([dataclasses.asdict(each) for each in resources], indent=2) + "\n"


def _as_list(resources: list[Rendered]) -> str:
    lines = [f"{each.group or '-':<28} {each.type:<72} {each.name}\n" for each in resources]
    return "".join(lines) + f"{len(resources)} resources\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
