"""The scripts of a deployment, with stand-ins for `az` and `curl` that note what they are asked."""

from __future__ import annotations

import json
import os
import re
import subprocess

import jsonschema
import pytest
import yaml

from devhost.bicep.__main__ import INFRA

HOOKS = INFRA / "hooks"
pytestmark = pytest.mark.skipif(os.name == "nt", reason="sh comes with no Windows")


@pytest.fixture
def run(tmp_path):
    """Runs a script where `az` and `curl` are the given shell code; what they were asked, too."""
    asked = tmp_path / "asked"
    asked.write_text("")

    def stand_in(name, code):
        path = tmp_path / name
        path.write_text(f'#!/bin/sh\necho "$*" >> "{asked}"\n{code}\n')
        path.chmod(0o755)

    def run(script, *arguments, az="", curl="", sleep="", **environment):
        for name, code in {"az": az, "curl": curl, "sleep": sleep}.items():
            stand_in(name, code)
        done = subprocess.run(
            ["sh", str(HOOKS / script), *arguments],
            env={"PATH": f"{tmp_path}:{os.environ['PATH']}", **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        return done, asked.read_text().splitlines()

    return run


def test_flex_consumption_gets_a_package_by_its_door(run):
    done, asked = run("deploy.sh", "rg-prod", "func-a", "dist/app.zip")
    assert done.returncode == 0
    assert asked[-1].startswith("functionapp deployment source config-zip --resource-group rg-prod")
    assert "--src dist/app.zip" in asked[-1]
    assert not any("restart" in line for line in asked)


def test_elastic_premium_finds_a_package_in_its_container(run):
    url = "https://stsluicehosta.blob.core.windows.net/app-package/app.zip"
    done, asked = run(
        "deploy.sh",
        "rg-prod",
        "func-a",
        "dist/app.zip",
        az=f'case $* in *"appsettings list"*) echo {url} ;; esac',
    )
    assert done.returncode == 0
    assert "--account-name stsluicehosta --container-name app-package --name app.zip" in asked[-2]
    assert asked[-1] == "functionapp restart --resource-group rg-prod --name func-a"


def test_a_package_that_is_not_taken_fails_the_deployment(run):
    done, _ = run(
        "deploy.sh", "rg", "func-a", "app.zip", az="case $* in *config-zip*) exit 3 ;; esac"
    )
    assert done.returncode == 3
    assert "has" not in done.stdout


def test_front_door_is_let_in_at_each_app_once(run):
    az = (
        'case $* in *"functionapp list"*func-a*) echo /id/a ;;'
        ' *"functionapp list"*func-b*) echo /id/b ;;'
        ' *"connection list --id /id/a"*) echo /waiting/1; echo /waiting/2 ;; esac'
    )
    done, asked = run("approve-front-door.sh", az=az, SLUICE_APPS='["func-a","func-b"]')
    assert done.returncode == 0
    approved = [line for line in asked if " approve " in line]
    assert ["/waiting/1" in approved[0], "/waiting/2" in approved[1], len(approved)] == [
        True,
        True,
        2,
    ]


@pytest.mark.parametrize("apps", ["", "[]"])
def test_without_apps_there_is_nobody_to_let_in(run, apps):
    done, asked = run("approve-front-door.sh", SLUICE_APPS=apps)
    assert (done.returncode, asked) == (0, [])


HEALTHY = 'case $* in *healthz*) printf 200 ;; *jobs*) printf \'{"status":"%s"}\' STATUS ;; esac'


@pytest.mark.parametrize(("status", "code"), [("succeeded", 0), ("failed", 1), ("running", 1)])
def test_a_trial_runs_a_job_to_its_end(run, status, code):
    done, asked = run(
        "smoke.sh",
        "https://sluice.example",
        curl=HEALTHY.replace("STATUS", status),
        SLUICE_HEADER="x-functions-key: KEY",
    )
    assert done.returncode == code
    assert "x-functions-key: KEY" in asked[-1]
    assert '"flow": "embed"' in asked[-1]


def test_a_trial_waits_for_an_app_that_starts_but_not_for_ever(run):
    done, asked = run("smoke.sh", "https://sluice.example", curl="printf 503", SLUICE_HEADER="x: y")
    assert done.returncode == 1
    assert "does not answer 200" in done.stderr
    assert sum("healthz" in line for line in asked) == 60


def test_the_job_of_a_trial_is_one_that_its_flow_takes():
    (job,) = re.findall(r"job=\$\{2:-'(.*)'\}", (HOOKS / "smoke.sh").read_text())
    asked = json.loads(job)
    flow = yaml.safe_load((INFRA.parent / "flows" / asked["flow"] / "flow.yaml").read_text())
    jsonschema.validate(asked["input"], flow["input"])


def test_a_trial_needs_somebody_who_asks(run):
    done, asked = run("smoke.sh", "https://sluice.example", curl="printf 200")
    assert done.returncode != 0
    assert "SLUICE_HEADER" in done.stderr
    assert asked == []
