"""The models that the tests ask, saved in MLflow's form. Run by the Python of .venv-mlflow.

mlflow_models.py FOLDER        saves `scores` and `chat` there
"""

from __future__ import annotations

import sys

from mlflow.models import ModelSignature
from mlflow.pyfunc import PythonModel, save_model
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

SIGNATURE = ModelSignature(
    inputs=Schema([ColSpec("double", "x")]),
    outputs=Schema([ColSpec("double")]),
    params=ParamSchema([ParamSpec("factor", "double", 2.0)]),
)


class Scores(PythonModel):
    """Multiplies `x`, which it does not take below 0."""

    def predict(self, context, model_input, params=None):
        if (model_input["x"] < 0).any():
            raise ValueError(f"the prompt was {model_input}")
        return (model_input["x"] * params["factor"]).tolist()


class Chat(PythonModel):
    """Repeats what was said last."""

    def predict(self, context, model_input, params=None):
        return {
            "choices": [{"message": model_input["messages"][-1] | {"role": "assistant"}}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 2},
        }


def main(folder):
    save_model(f"{folder}/scores", python_model=Scores(), signature=SIGNATURE, pip_requirements=[])
    save_model(f"{folder}/chat", python_model=Chat(), pip_requirements=[])


if __name__ == "__main__":
    main(sys.argv[1])
