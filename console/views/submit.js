// A job for a flow, by a form made from the flow's own schema.
import { html, useEffect, useRef, useState } from '../ui.js';
import { call, Problem } from '../api.js';
import { usePoll } from '../poll.js';
import { described, Field, filled, idOf, initial, Json, Wrong } from '../schema.js';
import { announce, Empty, Loaded, Title, Trouble, useDeed } from '../parts.js';
import { words } from '../format.js';

const OPTIONS = [
  ['model', 'Model', 'In place of the flow’s own, for flows with one model. NAME@VERSION pins it.'],
  ['deadline', 'Deadline', 'The job expires when it has not ended by then: PT10M, or a time.'],
  ['sticky_key', 'Sticky key', 'Jobs with the same key ask the same deployment, while it takes them.'],
  ['reply_to', 'Reply queue', 'A Service Bus queue that is told of the end, too.'],
];

export function Submit({ id }) {
  const flows = usePoll((signal) => call('/v1/flows', { signal }), []);
  return html`<${Title} lead="A flow’s form comes from its own schema.">Submit a job</${Title}>
    <${Loaded} of=${flows}>${({ data, broken }) => html`
      <${Broken} flows=${broken} />
      ${
        data.length === 0
          ? html`<${Empty} title="No flow is here for this key">A flow is a folder in
            <code>flows/</code>: docs/flows.md shows how to write one.</${Empty}>`
          : html`<${Choose} flows=${data} id=${id} />`
      }`}
    </${Loaded}>`;
}

const Broken = ({ flows }) =>
  flows.map(
    (flow) => html`<div class="trouble" key=${flow.name}>
  <strong>The flow ${flow.name} could not be loaded</strong><p>${flow.reason}</p></div>`,
  );

function Choose({ flows, id }) {
  const chosen = flows.find((each) => each.name === id);
  return html`${chosen && html`<a class="narrow" href="#/submit">All flows</a>`}
    <ul class=${chosen ? 'choose chosen' : 'choose'}>${flows.map(
      (flow) => html`<li key=${flow.name}>
      <a href=${`#/submit/${encodeURIComponent(flow.name)}`}
        aria-current=${flow === chosen ? 'true' : undefined}>
        <strong>${flow.name}</strong><span>${flow.description}</span>
        <small>${words(flow.kind)} · ${flow.models.join(', ') || 'no model'}</small>
      </a></li>`,
    )}</ul>
    ${chosen && html`<${Form} key=${chosen.name} flow=${chosen} />`}
    ${id && !chosen && html`<${Empty} title=${`There is no flow ${id}`}>Take one of those above.</${Empty}>`}`;
}

function Form({ flow }) {
  const [input, setInput] = useState(() => initial(flow.input_schema) ?? {});
  const [options, setOptions] = useState({ priority: 'realtime', execution: 'at_least_once' });
  const [asJson, setAsJson] = useState(false);
  const [go, busy, problem] = useDeed(submit);
  const summary = useRef(null);
  // The same for each try of what is written now: a second click is no second job.
  const once = useRef(crypto.randomUUID());
  const set = (changed) => {
    once.current = crypto.randomUUID();
    setInput((old) => (typeof changed === 'function' ? changed(old) : changed));
  };
  const option = (name, value) => {
    once.current = crypto.randomUUID();
    setOptions((old) => ({ ...old, [name]: value }));
  };
  useEffect(() => {
    if (problem) summary.current.focus();
  }, [problem]);

  async function submit() {
    const chosen = Object.fromEntries(Object.entries(options).filter(([, value]) => value));
    const body = { flow: flow.name, input: filled(input, flow.input_schema.required), ...chosen };
    const headers = { 'Idempotency-Key': once.current };
    const job = await call('/v1/jobs', { method: 'POST', body, headers });
    announce('The job was accepted');
    window.location.hash = `#/jobs/${job.id}`;
  }

  const errors = fieldErrors(problem);
  return html`<form class="card job-form" novalidate
      onSubmit=${(event) => {
        event.preventDefault();
        if (!busy) go();
      }}>
    <div class="row"><h2>Input of ${flow.name}</h2>
      <div class="switch"><label><input type="checkbox" checked=${asJson}
        onChange=${(event) => setAsJson(event.target.checked)} /> Write it as JSON</label></div></div>
    <div ref=${summary} class="summary" tabindex="-1"><${Summary} problem=${problem} /></div>
    ${
      asJson
        ? html`<div class="field"><label for=${idOf('input')}>Input</label>
          <${Json} value=${input} set=${set} rows="10"
            common=${{ ...described('input', { wrong: errors.input, help: false }), name: 'input' }} />
          <${Wrong} path="input" errors=${errors} /></div>`
        : html`<${Field} schema=${flow.input_schema} path="input" value=${input} set=${set} errors=${errors} />`
    }
    <details open=${OPTIONS.some(([name]) => errors[name])}>
      <summary>Options</summary>
      <${Options} options=${options} set=${option} errors=${errors} />
    </details>
    <div class="buttons"><button class="main" disabled=${busy}>
      ${busy ? 'Submitting …' : 'Submit job'}</button></div>
  </form>`;
}

function fieldErrors(problem) {
  if (!(problem instanceof Problem)) return {};
  return Object.fromEntries(problem.fields.map(({ field, expected }) => [field, expected]));
}

function Summary({ problem }) {
  if (!problem) return null;
  const fields = problem.fields ?? [];
  if (!fields.length) return html`<${Trouble} problem=${problem} />`;
  const jump = (event, field) => {
    event.preventDefault();
    document.getElementById(idOf(field))?.focus();
  };
  return html`<div class="trouble" role="alert">
    <strong>${fields.length === 1 ? 'A field is' : `${fields.length} fields are`} not as expected</strong>
    <ul>${fields.map(
      ({ field, expected }) => html`<li key=${field}>
      <a href=${`#${idOf(field)}`} onClick=${(event) => jump(event, field)}>${field}</a>:
      ${' '}expected ${expected}</li>`,
    )}</ul>
  </div>`;
}

function Options({ options, set, errors }) {
  return html`<div class="columns">
    <div class="field"><label for="o-priority">Priority</label>
      <select id="o-priority" value=${options.priority}
        onChange=${(event) => set('priority', event.target.value)}>
        <option value="realtime">real time</option>
        <option value="batch">batch: takes what others leave free</option>
      </select></div>
    <div class="field"><label for="o-execution">Execution</label>
      <select id="o-execution" value=${options.execution}
        onChange=${(event) => set('execution', event.target.value)}>
        <option value="at_least_once">at least once</option>
        <option value="at_most_once">at most once: never repeats a call of unknown outcome</option>
      </select></div>
    ${OPTIONS.map(
      ([name, label, help]) => html`<div class="field" key=${name}>
      <label for=${idOf(name)}>${label}</label>
      <p class="help" id=${`${idOf(name)}-help`}>${help}</p>
      <input ...${described(name, { wrong: errors[name] })} name=${name} value=${options[name] ?? ''}
        onInput=${(event) => set(name, event.target.value)} />
      <${Wrong} path=${name} errors=${errors} /></div>`,
    )}
  </div>`;
}
