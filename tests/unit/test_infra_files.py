"""What lies around the templates: models, manifests, workflows, scripts and their pages."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import types
import zipfile

import pytest
import yaml

from devhost.bicep.__main__ import INFRA
from devhost.bicep.parameters import variables
from devhost.package import app_files, left_out
from devhost.package import main as package
from tests.unit.infra_variants import ROOT, of_type, resources

MODELS = INFRA / "models"
WORKFLOWS = ROOT / ".github" / "workflows"
PAGES = [
    INFRA / "README.md",
    MODELS / "README.md",
    *(ROOT / "docs" / name for name in ("scaling.md", "choosing.md", "cost.md")),
]


def load(path):
    return yaml.safe_load(path.read_text())


# Models: three ways of hosting, one scoring script.


@pytest.mark.parametrize("path", sorted(MODELS.glob("*/*.yml")), ids=lambda path: path.stem)
def test_what_a_deployment_of_a_model_names_is_there(path):
    deployment = load(path)
    assert re.fullmatch(r"[a-z][a-z0-9-]{2,31}", deployment["name"])
    assert deployment["model"].startswith("azureml:")
    if code := deployment.get("code_configuration"):
        folder = (path.parent / code["code"]).resolve()
        assert (folder / code["scoring_script"]).is_file()
    if conda := deployment.get("environment", {}).get("conda_file"):
        assert (path.parent / conda).resolve() == MODELS / "environment.yml"


def test_every_way_of_hosting_runs_the_same_script():
    low = load(MODELS / "embed/deployment.yml")["code_configuration"]["scoring_script"]
    full = load(MODELS / "embed/container.yml")["environment_variables"]["SCORING_SCRIPT"]
    assert low == full == "embed/score.py"
    assert "from embed import score" in (MODELS / "embed/mlflow_model.py").read_text()
    assert "from embed import score" in (MODELS / "embed/batch_score.py").read_text()
    assert "code_configuration" not in load(MODELS / "embed/mlflow.yml")


def pins(text):
    return dict(
        re.findall(
            r"\b(azureml-inference-server-http|numpy|tokenizers|safetensors)==([\w.]+)", text
        )
    )


def test_every_way_of_hosting_has_the_same_packages():
    expected = pins((MODELS / "environment.yml").read_text())
    assert len(expected) == 4
    assert pins((MODELS / "Dockerfile").read_text()) == expected
    own = pins((MODELS / "embed/mlflow_model.py").read_text())
    assert own.items() <= expected.items()
    assert own


def test_the_images_port_is_that_of_its_routes():
    routes = load(MODELS / "embed/container.yml")["environment"]["inference_config"]
    assert {each["port"] for each in routes.values()} == {5001}
    assert "--port 5001" in (MODELS / "Dockerfile").read_text()


def test_a_gpus_image_and_its_deployment_agree():
    deployment = load(MODELS / "llm/vllm.yml")
    image = (MODELS / "llm/Dockerfile").read_text()
    routes = deployment["environment"]["inference_config"]
    assert {each["port"] for each in routes.values()} == {8000}
    assert "--port 8000" in image
    for name, value in deployment["environment_variables"].items():
        assert f"{name}={value}" in image
    taken = deployment["request_settings"]["max_concurrent_requests_per_instance"]
    assert str(taken) == deployment["environment_variables"]["MAX_CALLS"]
    assert deployment["instance_type"].startswith("Standard_NC")


class Refusal:
    def get_data(self):
        return json.dumps({"error": {"message": "input: expected text"}})


@pytest.fixture
def batch_score(monkeypatch):
    """The batch script, with a scoring script that needs no weights."""
    began = []
    score = types.SimpleNamespace(
        init=lambda: began.append(True),
        run=lambda raw: (
            {"said": json.loads(raw)["input"]} if json.loads(raw)["input"] else Refusal()
        ),
    )
    monkeypatch.setitem(sys.modules, "embed", types.SimpleNamespace(score=score))
    module = types.ModuleType("batch_score")
    exec((MODELS / "embed/batch_score.py").read_text(), module.__dict__)
    module.init()
    assert began == [True]
    return module


def test_a_batch_answers_each_line_of_each_file(batch_score, tmp_path):
    one, other = tmp_path / "one.jsonl", tmp_path / "other.jsonl"
    one.write_text('{"input": "a"}\n\n{"input": ""}\n')
    other.write_text('{"input": "b"}\n')

    answers = [json.loads(line) for line in batch_score.run([str(one), str(other)])]

    assert answers == [
        {"file": "one.jsonl", "line": 1, "response": {"said": "a"}},
        {"file": "one.jsonl", "line": 3, "error": {"error": {"message": "input: expected text"}}},
        {"file": "other.jsonl", "line": 1, "response": {"said": "b"}},
    ]


# Containers.


def test_containers_scale_by_the_queue_of_requests_and_never_to_none():
    documents = list(yaml.safe_load_all((INFRA / "containers/kubernetes.yaml").read_text()))
    scaled = next(each for each in documents if each["kind"] == "ScaledObject")["spec"]
    app = load(INFRA / "containers/container-app.yaml")["properties"]["template"]
    queue = json.loads((INFRA / "contract.json").read_text())["requestsQueue"]

    assert scaled["triggers"][0]["metadata"]["queueName"] == queue
    assert app["scale"]["rules"][0]["custom"]["metadata"]["queueName"] == queue
    assert scaled["minReplicaCount"] > 0
    assert app["scale"]["minReplicas"] > 0


def test_containers_have_settings_that_the_functions_app_has_too():
    documents = list(yaml.safe_load_all((INFRA / "containers/kubernetes.yaml").read_text()))
    pod = next(each for each in documents if each["kind"] == "Deployment")["spec"]["template"]
    own = load(INFRA / "containers/container-app.yaml")["properties"]["template"]["containers"][0]
    known = (INFRA / "modules/function-app.bicep").read_text()
    known += (ROOT / "local.settings.example.json").read_text()
    for each in [*pod["spec"]["containers"][0]["env"], *own["env"]]:
        name = each["name"].replace("ServiceBusConnection", "${connection}")
        plain = each["name"].partition("__")[0]
        assert name in known or f'"{plain}"' in known, each["name"]


# Workflows.


@pytest.mark.parametrize("path", sorted(WORKFLOWS.glob("*.yml")), ids=lambda path: path.stem)
def test_a_workflow_asks_for_no_more_than_it_needs(path):
    workflow = load(path)
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        signs_in = any("azure/login" in step.get("uses", "") for step in job.get("steps", []))
        asks = job.get("permissions", {}).get("id-token")
        assert (asks == "write") is signs_in, name
        if signs_in:
            login = next(step for step in job["steps"] if "azure/login" in step.get("uses", ""))
            assert set(login["with"]) == {"client-id", "tenant-id", "subscription-id"}
        assert "uses" in job or "runs-on" in job


@pytest.mark.parametrize("path", sorted(WORKFLOWS.glob("*.yml")), ids=lambda path: path.stem)
def test_a_workflow_names_files_that_are_there(path):
    text = path.read_text()
    for name in re.findall(r"\b(infra/[\w/.-]+\.(?:sh|bicep|yml|json))\b", text):
        assert (ROOT / name).is_file(), name
    for name in re.findall(r"uses: \./(\S+)", text):
        assert (ROOT / name).is_file(), name
    for action in re.findall(r"uses: ([a-z]\S+)", text):
        assert re.search(r"@v\d+$", action), action


def test_a_deployment_that_fails_its_trial_gets_back_what_worked():
    steps = load(WORKFLOWS / "deploy.yml")["jobs"]["deploy"]["steps"]
    names = [step.get("name") for step in steps]
    tried = names.index("Try it")
    assert names.index("Fetch what worked last") < names.index("Deploy") < tried
    back = steps[names.index("Go back")]
    assert back["if"].startswith("failure()")
    assert "last-good.zip" in back["run"]
    assert "smoke.sh" in back["run"]
    assert names.index("Keep it as what worked last") > tried
    assert "if" not in steps[names.index("Keep it as what worked last")]


@pytest.mark.skipif(os.name == "nt", reason="sh comes with no Windows")
@pytest.mark.parametrize("path", sorted((INFRA / "hooks").glob("*.sh")), ids=lambda path: path.stem)
def test_scripts_are_of_the_shell_and_may_be_run(path):
    assert subprocess.run(["sh", "-n", str(path)], check=False).returncode == 0
    assert os.access(path, os.X_OK)


def test_azd_knows_where_everything_is():
    project = load(ROOT / "azure.yaml")
    assert (ROOT / project["infra"]["path"] / f"{project['infra']['module']}.bicep").is_file()
    service = project["services"]["app"]
    assert (service["host"], service["language"]) == ("function", "python")
    tagged = [
        each
        for each in of_type(resources("everything"), "Microsoft.Web/sites")
        if each.body["tags"].get("azd-service-name") == "app"
    ]
    assert len(tagged) == 1, "azd takes one app of a service"
    for hook in project["hooks"]["postprovision"].values():
        assert (ROOT / hook["run"]).is_file()


# The package.


def test_the_package_has_what_the_app_needs_and_nothing_of_the_workshop(tmp_path):
    target = tmp_path / "dist" / "app.zip"
    assert package([str(target)]) == 0
    names = zipfile.ZipFile(target).namelist()
    for name in ("function_app.py", "host.json", "requirements.txt", "deployments.azure.yaml"):
        assert name in names
    for folder in ("flows/", "triggers/", "contracts/", "endpoints/"):
        assert any(name.startswith(folder) for name in names)
    for name in names:
        assert not name.startswith(("devhost/", "tests/", "infra/", "docs/", ".")), name
    assert "azure.yaml" not in names
    assert len(names) == len(set(names)) == len(app_files())


def test_the_same_code_makes_the_same_package(tmp_path):
    first, second = tmp_path / "a.zip", tmp_path / "b.zip"
    package([str(first)])
    package([str(second)])
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(
    ("name", "out"),
    [
        ("infra/main.bicep", True),
        ("flows/infra/flow.yaml", True),
        (".gitignore", True),
        (".github/workflows/test.yml", True),
        ("requirements-dev.txt", True),
        ("requirements.txt", False),
        ("flows/embed/flow.yaml", False),
    ],
)
def test_funcignore_is_read_as_the_tools_read_it(name, out):
    assert left_out(name, (ROOT / ".funcignore").read_text().split()) is out


# Pages.


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?://)([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_a_page_names_are_there(page):
    for name in re.findall(
        r"`((?:infra|docs|tests|devhost|orchestrators|stores)/[\w/.-]+\.\w+)`", page.read_text()
    ):
        assert (ROOT / name).is_file(), name


def test_every_setting_of_the_deployment_is_told_with_its_default():
    lines = (INFRA / "README.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line[:1] == "|"]
    for name, default in variables(INFRA / "main.parameters.json").items():
        (row,) = [row for row in cells if f"`{name}`" in row[0]]
        assert not default or f"`{default}`" in row[1], row


def test_every_file_that_the_page_lists_is_there():
    page = (INFRA / "README.md").read_text()
    listed = re.findall(r"^\| ((?:`[\w./-]+`(?:, )?)+) \|", page.split("## From nothing")[0], re.M)
    names = [name for row in listed for name in re.findall(r"`([^`]+)`", row)]
    assert len(names) > 10
    for name in names:
        assert (INFRA / name).exists(), name


def test_what_a_month_costs_is_the_sum_of_its_lines():
    page = (ROOT / "docs/cost.md").read_text()
    tables = [table for table in page.split("\n\n") if "**sum" in table]
    assert len(tables) == 2
    for table in tables:
        *lines, total = [line for line in table.splitlines()[2:] if line.startswith("|")]
        for column, said in enumerate(re.findall(r"\*\*([\d,]+)\*\*", total), start=2):
            cells = [int(line.split("|")[column].strip().replace(",", "")) for line in lines]
            assert sum(cells) == int(said.replace(",", "")), f"column {column}: {sum(cells)}"


def test_what_the_cost_page_counts_is_what_is_deployed():
    page = (ROOT / "docs/cost.md").read_text()
    counted = {
        "private endpoints": "Microsoft.Network/privateEndpoints",
        "private DNS zones": "Microsoft.Network/privateDnsZones",
    }
    for line, kind in counted.items():
        (said,) = re.findall(rf"\| {line}, (\d+) ", page)
        assert int(said) == len(of_type(resources("as it is"), kind))
    (rules,) = re.findall(r"\| alerts, (\d+) rules", page)
    alerts = ("Microsoft.Insights/metricAlerts", "Microsoft.Insights/scheduledQueryRules")
    assert int(rules) == sum(len(of_type(resources("as it is"), kind)) for kind in alerts)
