"""deployments.yaml: which models there are, and which deployments serve each.

Everything is checked at once when the app starts, and every error says where it is and what was
expected there. No value of the file is ever repeated: it may be a key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, ValidationError, model_validator
from pydantic_core import ErrorDetails

from endpoints.marked_yaml import FieldPath, Finding, MarkedYaml, read
from endpoints.protocols import SETTINGS, AnyDeployment, ByProtocol
from endpoints.protocols import common_settings as common
from endpoints.protocols.aml_batch import AmlBatchSettings

type ModelName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$")]


def _some[Part: (tuple[object, ...], dict[str, object])](parts: Part) -> Part:
    # Not min_length: parts that are wrong themselves count as absent there.
    if not parts:
        raise common.expected("at least one")
    return parts


class MirrorSettings(common.Settings):
    """A share of the model's calls is sent once more, to a deployment under trial."""

    to: str
    """The name of one of the model's deployments; its weight is usually 0."""
    percent: Annotated[float, Field(gt=0, le=50)]
    """Of the answered calls; Azure ML mirrors at most 50 too."""


class ModelSettings(common.Settings):
    """One model, and the deployments that serve it."""

    description: str = ""
    deployments: Annotated[tuple[ByProtocol, ...], AfterValidator(_some)]
    hedge_after_seconds: Annotated[float, Field(gt=0, le=3600)] | Literal["p95"] | None = None
    """A call that is not answered by then is made at another deployment too; the first answer
    counts. Never for at_most_once."""
    retry_share: Annotated[float, Field(ge=0, le=1)] = 0.2
    """Calls that may be made a second time, as a share of all."""
    mirror: MirrorSettings | None = None

    @model_validator(mode="after")
    def _mirror_is_known(self) -> ModelSettings:
        names = [each.name for each in self.deployments]
        if self.mirror is not None and self.mirror.to not in names:
            raise common.expected(f"mirror.to to be one of {', '.join(names)}")
        return self

    @model_validator(mode="after")
    def _long_calls_are_made_once(self) -> ModelSettings:
        long = any(isinstance(each, AmlBatchSettings) for each in self.deployments)
        if long and (self.mirror is not None or self.hedge_after_seconds is not None):
            raise common.expected("no hedge_after_seconds and no mirror beside aml_batch")
        return self


class Settings(common.Settings):
    """The whole file."""

    models: Annotated[dict[ModelName, ModelSettings], AfterValidator(_some)]

    @property
    def deployments(self) -> Iterator[tuple[str, AnyDeployment]]:
        """Each with the name of its model."""
        for name, model in self.models.items():
            for deployment in model.deployments:
                yield name, deployment

    @model_validator(mode="after")
    def _one_currency(self) -> Settings:
        prices = [each.price for _, each in self.deployments if each.price is not None]
        if len({price.currency for price in prices}) > 1:
            raise common.expected("prices in one currency: what tenants may spend is one amount")
        return self


class SettingsError(ValueError):
    """deployments.yaml is not as expected; the text lists every finding, one a line."""

    def __init__(self, path: Path, findings: list[Finding]) -> None:
        super().__init__("\n".join(_line(path, finding) for finding in findings))
        self.findings = findings


def load(path: Path, environ: Mapping[str, str]) -> Settings:
    """Read and check a file. `${NAME}` in a value stands for `environ["NAME"]`.

    Raises SettingsError with everything that is wrong.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        what = f"a readable UTF-8 file ({type(error).__name__})"
        raise SettingsError(path, [Finding(None, (), what)]) from error
    document = read(text, environ)
    findings = document.findings + list(_repeated_names(document))
    already = {finding.path for finding in findings}
    settings: Settings | None = None
    try:
        settings = Settings.model_validate(document.value)
    except ValidationError as error:
        wrong = [_finding(details, document) for details in error.errors(include_input=False)]
        findings += [finding for finding in wrong if finding.path not in already]
    if findings or settings is None:
        raise SettingsError(path, sorted(findings, key=lambda finding: finding.line or 0))
    return settings


def _repeated_names(document: MarkedYaml) -> Iterator[Finding]:
    """Attempts, logs and limits know a deployment by its name alone: one in the whole file."""
    first: dict[str, int | None] = {}
    for path, name in _deployment_names(document):
        if name in first:
            what = f"a name of its own: line {first[name]} has it too"
            yield Finding(document.line(path), path, what)
        else:
            first[name] = document.line(path)


def _deployment_names(document: MarkedYaml) -> Iterator[tuple[FieldPath, str]]:
    """The names as far as the file's shape lets them be found."""
    models = document.value.get("models") if isinstance(document.value, dict) else None
    for model, body in models.items() if isinstance(models, dict) else ():
        deployments = body.get("deployments") if isinstance(body, dict) else None
        for index, deployment in enumerate(deployments if isinstance(deployments, list) else ()):
            name = deployment.get("name") if isinstance(deployment, dict) else None
            if isinstance(name, str) and name:
                yield ("models", model, "deployments", index, "name"), name


def _finding(details: ErrorDetails, document: MarkedYaml) -> Finding:
    """A pydantic error in the file's own terms."""
    path = _path(details["loc"])
    if details["type"].startswith("union_tag"):
        path = (*path, "protocol")
    return Finding(document.line(path), path, _expected(details))


def _path(loc: FieldPath) -> FieldPath:
    """`loc` without what pydantic adds: the protocol behind a deployment's index, `[key]`."""
    match loc:
        case ("models", model, "deployments", int() as index, _, *rest):
            return ("models", model, "deployments", index, *rest)
        case ("models", model, "[key]"):
            return ("models", model)
    return loc


_EXPECTED = {
    "missing": "a value: the field is required",
    "union_tag_not_found": f"one of {', '.join(SETTINGS)}",
    "union_tag_invalid": f"one of {', '.join(SETTINGS)}",
    "model_type": "a mapping of names to values",
    "model_attributes_type": "a mapping of names to values",
    "dict_type": "a mapping of names to values",
    "tuple_type": "a list",
    "string_type": "text",
}
"""By pydantic's type of error, where its own words are not those of a YAML file."""


def _expected(details: ErrorDetails) -> str:
    match details["type"]:
        case "extra_forbidden":
            return f"one of the fields {', '.join(_known_fields(details['loc'][:-1]))}"
        case "greater_than" | "less_than_equal":
            return details["msg"].replace("Input should be", "a number")
        case "string_pattern_mismatch":
            return f"text that matches {details['ctx']['pattern']}"
        case kind:
            return _EXPECTED.get(kind) or details["msg"].removeprefix("Input should be ")


_PARTS: dict[object, type[common.Settings]] = {
    "auth": common.Auth,
    "price": common.Price,
    "dedicated": common.DedicatedPrice,
    "mirror": MirrorSettings,
}
"""By the field that holds them."""


def _known_fields(loc: FieldPath) -> list[str]:
    match loc:
        case ():
            return list(Settings.model_fields)
        case ("models", _, "deployments", _, str() as protocol):
            return list(SETTINGS[protocol].model_fields)
        case ("models", _, *_, last) if last in _PARTS:
            return list(_PARTS[last].model_fields)
    return list(ModelSettings.model_fields)


def _line(path: Path, finding: Finding) -> str:
    parts = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in finding.path)
    where = [f"{path}:{finding.line}" if finding.line else str(path), parts.removeprefix(".")]
    return ": ".join([*filter(None, where), f"expected {finding.expected}"])
