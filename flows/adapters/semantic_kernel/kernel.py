"""The kernel that the flows share, and the chat service through which it calls their models.

The only module that imports the SDK.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from functools import cache
from typing import Any, ClassVar

import yaml
from pydantic import BaseModel
from semantic_kernel.connectors.ai.chat_completion_client_base import ChatCompletionClientBase
from semantic_kernel.connectors.ai.completion_usage import CompletionUsage
from semantic_kernel.connectors.ai.function_calling_utils import (
    update_settings_from_function_call_configuration,
)
from semantic_kernel.connectors.ai.prompt_execution_settings import PromptExecutionSettings
from semantic_kernel.contents.chat_history import ChatHistory
from semantic_kernel.contents.chat_message_content import ChatMessageContent
from semantic_kernel.contents.function_call_content import FunctionCallContent
from semantic_kernel.contents.text_content import TextContent
from semantic_kernel.contents.utils.author_role import AuthorRole
from semantic_kernel.filters.filter_types import FilterTypes
from semantic_kernel.filters.functions.function_invocation_context import (
    FunctionInvocationContext,
)
from semantic_kernel.filters.prompts.prompt_render_context import PromptRenderContext
from semantic_kernel.functions.kernel_arguments import KernelArguments
from semantic_kernel.functions.kernel_function import KernelFunction
from semantic_kernel.functions.kernel_function_from_prompt import KernelFunctionFromPrompt
from semantic_kernel.functions.kernel_plugin import KernelPlugin
from semantic_kernel.kernel import Kernel
from semantic_kernel.prompt_template.prompt_template_config import PromptTemplateConfig

from contracts.calls import JsonObject, ModelCall, Task
from flows.adapters.calls import ModelCalls
from flows.adapters.own_modules import own_modules
from flows.adapters.semantic_kernel.prompt import FILE, PLUGIN_FILE, PLUGINS, Prompt
from flows.adapters.shared import Redact

_log = logging.getLogger("sluice.flows")
# The SDK's loggers quote prompts and arguments when something fails.
logging.getLogger("semantic_kernel").setLevel(logging.CRITICAL)

_calls: ContextVar[ModelCalls] = ContextVar("sluice_semantic_kernel_calls")
_building = threading.Lock()


class PromptFunction:
    """A flow's prompt, ready to run. `invoke` may be called concurrently."""

    def __init__(self, kernel: Kernel, function: KernelFunction) -> None:
        self._kernel = kernel
        self._function = function

    async def invoke(self, arguments: JsonObject, calls: ModelCalls) -> str:
        """The answer's text. Raises what Semantic Kernel makes of what went wrong."""
        mine = _calls.set(calls)
        try:
            result = await self._kernel.invoke(self._function, _arguments(arguments))
        finally:
            _calls.reset(mine)
        return str(result)


def _arguments(input: JsonObject) -> KernelArguments:
    # Not as keywords: an input may be called `settings`.
    arguments = KernelArguments()
    arguments.update(input)
    return arguments


def build(prompt: Prompt, redact: Redact) -> PromptFunction:
    """Raises what reading the prompt and importing the plugins raise."""
    folder = prompt.folder
    with _building:
        kernel = _shared_kernel(redact)
        for service in prompt.services - kernel.services.keys():
            kernel.add_service(ModelChat(service_id=service, ai_model_id=service))
    plugins = []
    with own_modules(folder):
        if (folder / PLUGIN_FILE).exists():
            plugins.append(KernelPlugin.from_python_file("plugin", str(folder / PLUGIN_FILE)))
        for path in sorted((folder / PLUGINS).glob("[!_.]*/")):
            plugins.append(KernelPlugin.from_directory(path.name, str(folder / PLUGINS)))
    if plugins:
        # The same services and filters; the plugins are seen by this flow alone.
        kernel = kernel.clone()
        for plugin in plugins:
            kernel.add_plugin(plugin)
    config = PromptTemplateConfig(**yaml.safe_load((folder / FILE).read_text(encoding="utf-8")))
    function = KernelFunctionFromPrompt(
        function_name=folder.name.replace("-", "_"),
        plugin_name="flow",
        template_format=config.template_format,
        prompt_template_config=config,
    )
    return PromptFunction(kernel, function)


@cache
def _shared_kernel(redact: Redact) -> Kernel:
    kernel = Kernel()

    @kernel.filter(FilterTypes.PROMPT_RENDERING)
    async def redact_prompt(
        context: PromptRenderContext, next: Callable[[PromptRenderContext], Awaitable[None]]
    ) -> None:
        await next(context)
        if context.rendered_prompt is not None:
            context.rendered_prompt = await redact(context.rendered_prompt)

    @kernel.filter(FilterTypes.FUNCTION_INVOCATION)
    async def log_usage(
        context: FunctionInvocationContext,
        next: Callable[[FunctionInvocationContext], Awaitable[None]],
    ) -> None:
        await next(context)
        for usage in _usages(context):
            _log.debug(
                "flow %s: %s used %s input and %s output tokens",
                _calls.get().info.name,
                context.function.fully_qualified_name,
                usage.prompt_tokens,
                usage.completion_tokens,
            )

    return kernel


def _usages(context: FunctionInvocationContext) -> list[CompletionUsage]:
    metadata = context.result.metadata.get("metadata", []) if context.result else []
    usages = (answer.get("usage") for answer in metadata if isinstance(answer, Mapping))
    return [usage for usage in usages if isinstance(usage, CompletionUsage)]


_NOT_SENT = {"model_id", "ai_model_id", "function_choice_behavior"}
"""Settings that are the kernel's."""


class ChatSettings(PromptExecutionSettings):
    """What the prompt's YAML sets, kept as it stands, and the tools that the kernel offers."""

    tools: list[dict[str, Any]] | None = None
    tool_choice: Any = None


class ModelChat(ChatCompletionClientBase):
    """Chat completions by the models of the current run."""

    SUPPORTS_FUNCTION_CALLING: ClassVar[bool] = True

    def get_prompt_execution_settings_class(self) -> type[PromptExecutionSettings]:
        return ChatSettings

    async def _inner_get_chat_message_contents(
        self, chat_history: ChatHistory, settings: PromptExecutionSettings
    ) -> list[ChatMessageContent]:
        assert isinstance(settings, ChatSettings)
        named = settings.extension_data
        body: JsonObject = {name: named[name] for name in named.keys() - _NOT_SENT}
        body["messages"] = self._prepare_chat_history_for_request(chat_history)
        if settings.tools:
            body |= {"tools": list(settings.tools), "tool_choice": settings.tool_choice}
        model = str(named.get("model_id") or named.get("ai_model_id") or self.service_id)
        answer = await _calls.get()(ModelCall(model, Task.CHAT, body))
        completion = _Completion.model_validate(answer.body)
        return [choice.content(self.ai_model_id, completion.usage) for choice in completion.choices]

    def _update_function_choice_settings_callback(self) -> Callable[..., None]:
        return update_settings_from_function_call_configuration

    def _reset_function_choice_settings(self, settings: PromptExecutionSettings) -> None:
        assert isinstance(settings, ChatSettings)
        settings.tools = settings.tool_choice = None


class _Function(BaseModel):
    name: str
    arguments: str = "{}"


class _ToolCall(BaseModel):
    id: str
    function: _Function


class _Message(BaseModel):
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[_ToolCall] | None = None


class _Usage(BaseModel):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Choice(BaseModel):
    message: _Message

    def content(self, model: str, usage: _Usage | None) -> ChatMessageContent:
        """The choice as the kernel has it."""
        items: list[Any] = [
            FunctionCallContent(
                id=call.id, name=call.function.name, arguments=call.function.arguments
            )
            for call in self.message.tool_calls or []
        ]
        if text := self.message.content or self.message.refusal:
            items.append(TextContent(text=text))
        counted = usage and CompletionUsage(**usage.model_dump())
        return ChatMessageContent(
            ai_model_id=model,
            role=AuthorRole.ASSISTANT,
            items=items,
            metadata={"usage": counted},
        )


class _Completion(BaseModel):
    """An OpenAI chat completion, as far as it is used."""

    choices: list[_Choice]
    usage: _Usage | None = None
