"""The embeddings in MLflow's form, for hosting without a scoring script: Azure ML makes the image.

python infra/models/embed/mlflow_model.py WEIGHTS FOLDER      saves the model in FOLDER
az ml model create --name embed-mlflow --version 1 --type mlflow_model --path FOLDER
az ml online-deployment create --file infra/models/embed/mlflow.yml --endpoint-name ENDPOINT

Inside it is the same embed/score.py: what the endpoint answers is what `run` there answers. Needs
mlflow beside what infra/models/environment.yml names.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from mlflow.models import ModelSignature
from mlflow.pyfunc import PythonModel, PythonModelContext, save_model
from mlflow.types import ColSpec, Schema

MODELS = Path(__file__).parents[1]
REQUIREMENTS = ["azureml-inference-server-http==1.5.1", "tokenizers==0.23.3", "safetensors==0.8.0"]
SIGNATURE = ModelSignature(inputs=Schema([ColSpec("string", "input")]))


class Embeddings(PythonModel):  # type: ignore[misc] # mlflow is not among the app's packages
    """A row in, a vector out."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the weights, once, as the inference server would."""
        os.environ["AZUREML_MODEL_DIR"] = context.artifacts["weights"]
        from embed import score

        score.init()

    def predict(
        self, context: PythonModelContext, model_input: Any, params: dict[str, Any] | None = None
    ) -> list[list[float]]:
        """Vectors in the order of the rows. Raises ValueError for what the script refuses."""
        from embed import score

        answer = score.run(json.dumps({"input": [str(text) for text in model_input["input"]]}))
        if not isinstance(answer, dict):
            raise ValueError(answer.get_data(as_text=True))
        data: Any = answer["data"]
        return [each["embedding"] for each in data]


def main(weights: str, folder: str) -> None:
    save_model(
        folder,
        python_model=Embeddings(),
        artifacts={"weights": weights},
        code_paths=[str(MODELS / "embed"), str(MODELS / "minilm")],
        signature=SIGNATURE,
        pip_requirements=REQUIREMENTS,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
