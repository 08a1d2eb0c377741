// A model's rollout: weight shifted to one deployment in steps, and back when it does worse.
import { html, useState } from '../ui.js';
import { call } from '../api.js';
import { confirm } from '../dialog.js';
import { usePoll } from '../poll.js';
import { duration, number, percent } from '../format.js';
import { announce, Loaded, Pill, Table, Trouble, useDeed } from '../parts.js';

const pathOf = (model) => `/v1/rollouts/rollout-${encodeURIComponent(model.replaceAll('/', '~'))}`;

async function read(model, signal) {
  try {
    return await call(pathOf(model), { signal });
  } catch (problem) {
    if (problem.status === 404) return null;
    throw problem;
  }
}

export function Rollout({ model, own, refresh }) {
  const [open, setOpen] = useState(false);
  return html`<details class="rollout" onToggle=${(event) => setOpen(event.target.open)}>
    <summary>Rollout</summary>
    ${open && html`<${Run} ...${{ model, own, refresh }} />`}</details>`;
}

function Run({ model, own, refresh }) {
  const rollout = usePoll(
    (signal) => read(model, signal),
    [model],
    (record) => record?.status === 'running',
  );
  const again = () => Promise.all([rollout.refresh(), refresh()]);
  return html`<${Loaded} of=${rollout}>${(record) => html`
    ${record && html`<${Record} record=${record} again=${again} />`}
    ${record?.status !== 'running' && html`<${Start} model=${model} own=${own} again=${again} />`}`}</${Loaded}>`;
}

function Record({ record, again }) {
  const [cancel, busy, problem] = useDeed(async () => {
    const yes = await confirm({
      title: 'End this rollout?',
      danger: true,
      action: 'End it',
      text: 'The weights go back to what they were before it.',
    });
    if (yes) await call(`${pathOf(record.model)}/cancel`, { method: 'POST' });
    await again();
  });
  const side = (of) =>
    of
      ? html`${number(of.calls)} calls<br /><small>${percent(of.error_rate)} failed,
    p95 ${duration(of.p95_seconds)}</small>`
      : '–';
  return html`<div class="row"><p>To <b>${record.to}</b> <${Pill} state=${record.status} /></p>
      ${
        record.status === 'running' &&
        html`<button type="button" class="small danger" disabled=${busy}
        onClick=${cancel}>End it and go back</button>`
      }</div>
    ${record.reason && html`<p class="help">${record.reason}</p>`}
    <${Trouble} problem=${problem} />
    ${
      record.steps.length > 0 &&
      html`<${Table} label="Steps" head=${['Step', 'New', 'Others', 'Lasted']}>
      ${record.steps.map(
        (step) => html`<tr key=${step.percent}><td>${step.percent}%</td>
        <td>${side(step.new)}</td><td>${side(step.others)}</td>
        <td>${
          step.ended_at
            ? duration((new Date(step.ended_at) - new Date(step.began_at)) / 1000)
            : html`<${Pill} state="running" />`
        }</td></tr>`,
      )}</${Table}>`
    }`;
}

function Start({ model, own, again }) {
  const [to, setTo] = useState(own.find((each) => each.weight === 0)?.name ?? own.at(-1).name);
  const [steps, setSteps] = useState('5, 25, 50, 100');
  const [seconds, setSeconds] = useState('300');
  const [go, busy, problem] = useDeed(async () => {
    const yes = await confirm({
      title: `Roll out ${to}?`,
      action: 'Start rollout',
      text:
        `Its share of the calls goes to ${steps} percent, ${seconds} seconds each at least. When it does` +
        ' worse than the others, the weights go back to those of now.',
    });
    if (!yes) return;
    const body = {
      model,
      to,
      steps: steps
        .split(/[\s,]+/)
        .filter(Boolean)
        .map(Number),
      step_seconds: Number(seconds),
    };
    await call('/v1/rollouts', { method: 'POST', body });
    announce('The rollout has begun');
    await again();
  });
  const id = (name) => `r-${model}-${name}`;
  return html`<form class="columns" onSubmit=${(event) => {
    event.preventDefault();
    go();
  }}>
    <div class="field"><label for=${id('to')}>Shift calls to</label>
      <select id=${id('to')} value=${to} onChange=${(event) => setTo(event.target.value)}>
        ${own.map((each) => html`<option key=${each.name}>${each.name}</option>`)}</select></div>
    <div class="field"><label for=${id('steps')}>Steps, in percent</label>
      <input id=${id('steps')} value=${steps} required onInput=${(event) => setSteps(event.target.value)} /></div>
    <div class="field"><label for=${id('seconds')}>Seconds a step</label>
      <input id=${id('seconds')} type="number" min="1" required value=${seconds}
        onInput=${(event) => setSeconds(event.target.value)} /></div>
    <div class="field end"><button disabled=${busy}>Start rollout</button></div>
    <${Trouble} problem=${problem} />
  </form>`;
}
