"""A small app that uses each kind of function once; the tests of the local host run it."""

import os
import time
from datetime import timedelta
from pathlib import Path

import azure.durable_functions as df
import azure.functions as func
from durabletask import task
from durabletask.entities import DurableEntity, EntityInstanceId

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)

TICKS: list[bool] = []
FLAKY_RUNS: dict[str, int] = {}
MENDED: set[str] = set()


# HTTP


@app.route(route="echo/{name:alpha}/{*rest}", methods=["GET", "POST", "PUT"])
def echo(req: func.HttpRequest) -> func.HttpResponse:
    response = func.HttpResponse(
        req.get_body(), mimetype=req.headers.get("content-type", "application/octet-stream")
    )
    response.headers["x-name"] = req.route_params["name"]
    response.headers["x-rest"] = req.route_params.get("rest", "")
    response.headers["x-tags"] = req.headers.get("x-tag", "")
    response.headers["x-query"] = req.params.get("q", "")
    response.headers.add("set-cookie", "a=1")
    response.headers.add("set-cookie", "b=2")
    return response


@app.route(route="locked", auth_level=func.AuthLevel.FUNCTION)
async def locked(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    return func.HttpResponse(f"{context.function_name} {bool(context.invocation_id)}")


@app.route(route="chief", auth_level=func.AuthLevel.ADMIN)
async def chief(req: func.HttpRequest) -> str:
    return "yes"


@app.route(route="broken")
async def broken(req: func.HttpRequest) -> func.HttpResponse:
    raise RuntimeError("a secret of the inside")


@app.route(route="silent", methods=["POST"])
async def silent(req: func.HttpRequest) -> None:
    return None


@app.route(route="setting/{name}")
async def setting(req: func.HttpRequest) -> str:
    return os.environ.get(req.route_params["name"], "")


@app.route(route="ticks")
async def ticks(req: func.HttpRequest) -> str:
    return str(len(TICKS))


# Durable


@app.route(route="start/{name}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def start(req: func.HttpRequest, client: df.DurableFunctionsClient) -> func.HttpResponse:
    body = req.get_json() if req.get_body() else None
    instance_id = await client.schedule_new_orchestration(
        req.route_params["name"], input=body, instance_id=req.params.get("id")
    )
    return client.create_check_status_response(req, instance_id)


@app.route(route="start-sync/{name}", methods=["POST"])
@app.durable_client_input(client_name="client")
def start_sync(req: func.HttpRequest, client: df.SyncDurableFunctionsClient) -> func.HttpResponse:
    instance_id = client.schedule_new_orchestration(req.route_params["name"], input=req.get_json())
    return client.create_check_status_response(req, instance_id)


@app.route(route="counters/{key}", methods=["GET"])
@app.durable_client_input(client_name="client")
async def counter_value(
    req: func.HttpRequest, client: df.DurableFunctionsClient
) -> func.HttpResponse:
    entity = await client.get_entity(EntityInstanceId("counter", req.route_params["key"]))
    return func.HttpResponse("" if entity is None else str(entity.get_state(int)))


@app.activity_trigger(input_name="number")
async def double(number: int) -> int:
    return number * 2


@app.activity_trigger(input_name="number")
def triple(number: int) -> int:
    return number * 3


@app.activity_trigger(input_name="name")
def flaky(name: str) -> int:
    FLAKY_RUNS[name] = FLAKY_RUNS.get(name, 0) + 1
    if FLAKY_RUNS[name] < 3:
        raise ConnectionError(f"try {FLAKY_RUNS[name]}")
    return FLAKY_RUNS[name]


@app.activity_trigger(input_name="message")
async def fail(message: str) -> str:
    """Raises until the message has been mended."""
    if message not in MENDED:
        raise ValueError(message)
    return "mended"


@app.route(route="mend", methods=["POST"])
async def mend(req: func.HttpRequest) -> None:
    MENDED.add(req.get_body().decode())


@app.activity_trigger(input_name="order")
def nap(order: dict) -> str:
    """Sleeps in its thread, no longer than until the file `end` is there, if it is given one; a
    line in the file `mark` says that it has begun."""
    with Path(order["mark"]).open("a") as mark:
        mark.write("begun\n")
    until = time.monotonic() + order["seconds"]
    end = Path(order["end"]) if "end" in order else None
    while (left := until - time.monotonic()) > 0 and not (end is not None and end.exists()):
        time.sleep(min(left, 0.05))
    return "rested"


@app.orchestration_trigger(context_name="context")
def one(context: task.OrchestrationContext, number: int):
    result = yield context.call_activity("double", input=number)
    return result


@app.orchestration_trigger(context_name="context")
def fan(context: task.OrchestrationContext, count: int):
    results = yield task.when_all([context.call_activity("double", input=n) for n in range(count)])
    return sum(results)


@app.orchestration_trigger(context_name="context")
def parent(context: task.OrchestrationContext, numbers: list[int]):
    context.set_custom_status({"children": len(numbers)})
    results = yield task.when_all([context.call_sub_orchestrator("one", input=n) for n in numbers])
    tripled = yield context.call_activity("triple", input=sum(results))
    return tripled


@app.orchestration_trigger(context_name="context")
def sleeper(context: task.OrchestrationContext, seconds: float):
    before = context.current_utc_datetime
    yield context.create_timer(timedelta(seconds=seconds))
    return (context.current_utc_datetime - before).total_seconds()


@app.orchestration_trigger(context_name="context")
def waiter(context: task.OrchestrationContext, _):
    answer = yield context.wait_for_external_event("answer")
    return answer


@app.orchestration_trigger(context_name="context")
def countdown(context: task.OrchestrationContext, left: int):
    if left == 0:
        return "lift-off"
    yield context.call_activity("double", input=left)
    context.continue_as_new(left - 1)


@app.orchestration_trigger(context_name="context")
def stubborn(context: task.OrchestrationContext, name: str):
    policy = task.RetryPolicy(
        first_retry_interval=timedelta(milliseconds=50), max_number_of_attempts=4
    )
    result = yield context.call_activity("flaky", input=name, retry_policy=policy)
    return result


@app.orchestration_trigger(context_name="context")
def failing(context: task.OrchestrationContext, message: str):
    result = yield context.call_activity("fail", input=message)
    return result


@app.orchestration_trigger(context_name="context")
def catching(context: task.OrchestrationContext, message: str):
    try:
        yield context.call_activity("fail", input=message)
    except task.TaskFailedError as error:
        return {"type": error.details.error_type, "message": error.details.message}


@app.orchestration_trigger(context_name="context")
def lost(context: task.OrchestrationContext, _):
    yield context.call_activity("nowhere")


@app.orchestration_trigger(context_name="context")
def resting(context: task.OrchestrationContext, order: dict):
    result = yield context.call_activity("nap", input=order)
    return result


@app.orchestration_trigger(context_name="context")
def counting(context: task.OrchestrationContext, key: str):
    entity = EntityInstanceId("counter", key)
    context.signal_entity(entity, "add", input=1)
    yield context.call_entity(entity, "add", input=2)
    value = yield context.call_entity(entity, "get")
    return value


@app.entity_trigger(context_name="context", entity_name="Counter")
class Counter(DurableEntity):
    def add(self, number: int) -> None:
        self.set_state(self.get_state(int, 0) + number)

    def get(self) -> int:
        return self.get_state(int, 0)


# Timers


@app.timer_trigger(arg_name="timer", schedule="%TICK_SCHEDULE%", run_on_startup=True)
def tick(timer: func.TimerRequest) -> None:
    TICKS.append(timer.past_due)


# Not served by the local host


@app.queue_trigger(arg_name="message", queue_name="inbox", connection="AzureWebJobsStorage")
def on_message(message: func.QueueMessage) -> None:
    raise NotImplementedError
