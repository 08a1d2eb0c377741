// Models and their deployments as a live picture, with their weights to set.
import { html, useRef, useState } from '../ui.js';
import { call } from '../api.js';
import { confirm } from '../dialog.js';
import { useNow, usePoll } from '../poll.js';
import { dateOf, duration, many, number, percent, words } from '../format.js';
import { announce, Empty, Facts, Loaded, Pill, Table, Time, Title, Trouble, useDeed } from '../parts.js';
import { Picture, shares, stateOf } from '../picture.js';
import { Spark } from '../plots.js';
import { Rollout } from './rollout.js';

const WAITS = ['cooling', 'rate_limited', 'open', 'unusable'];
const KEPT = 60;
const FINEST = 10;
const HEAVIEST = 1000;

export function Deployments() {
  const all = usePoll(
    (signal) => call('/v1/deployments', { signal }),
    [],
    ({ deployments }) => deployments.some((each) => each.in_flight > 0 || each.waiting > 0),
  );
  const history = useHistory(all.data);
  return html`<${Title} lead="Streams are as wide as their share of the calls. Calls under way, latency
      and outcomes are those of the worker that answers; state and weight are of all.">Deployments</${Title}>
    <${Loaded} of=${all}>${({ deployments }) =>
      deployments.length === 0
        ? html`<${Empty} title="No deployment">Name models and their deployments in
          <code>deployments.yaml</code>: docs/endpoints.md has one of each kind.</${Empty}>`
        : html`<div class="models">${[...Map.groupBy(deployments, (each) => each.model)].map(
            ([model, own]) => html`
          <${Model} key=${model} ...${{ model, own, history }} refresh=${all.refresh} />`,
          )}</div>`}</${Loaded}>`;
}

// Calls under way at each look since the page was opened, by deployment.
function useHistory(data) {
  const kept = useRef({ seen: null, by: {} });
  if (data && data !== kept.current.seen) {
    kept.current.seen = data;
    for (const { name, in_flight: flying } of data.deployments) {
      kept.current.by[name] = [...(kept.current.by[name] ?? []), flying].slice(-KEPT);
    }
  }
  return kept.current.by;
}

function Model({ model, own, history, refresh }) {
  return html`<section class=${own.length > 1 ? 'card whole' : 'card'} aria-labelledby=${`m-${model}`}>
    <h2 id=${`m-${model}`}>${model}</h2>
    <${Picture} model=${model} deployments=${own} />
    <ul class="gates">${own.map(
      (each) => html`<li key=${each.name}>
      <${Deployment} deployment=${each} own=${own} history=${history[each.name] ?? []}
        refresh=${refresh} /></li>`,
    )}</ul>
    ${own.length > 1 && html`<${Rollout} model=${model} own=${own} refresh=${refresh} />`}
  </section>`;
}

function Deployment({ deployment, own, history, refresh }) {
  const { name, latency, outcomes, until } = deployment;
  const state = stateOf(deployment);
  const now = useNow(Boolean(until));
  const left = until ? (dateOf(until) - now) / 1000 : 0;
  const calls = Object.values(outcomes).reduce((sum, count) => sum + count, 0);
  return html`<article aria-label=${name}>
    <div class="row"><h3>${name}</h3><${Pill} state=${state} /></div>
    <p class="help">${[
      deployment.protocol,
      deployment.region,
      deployment.version,
      `priority ${deployment.priority}`,
    ]
      .filter(Boolean)
      .join(' · ')}</p>
    ${left > 0 && WAITS.includes(state) && html`<p class="help">Asked again in ${duration(Math.ceil(left))}</p>`}
    <dl class="figures">
      ${['p50', 'p95', 'p99'].map(
        (figure) => html`<div key=${figure}><dt>${figure}</dt>
        <dd>${outcomes.answered ? duration(latency[figure]) : '–'}</dd></div>`,
      )}
      <div><dt>in flight</dt><dd>${deployment.in_flight} <small>of ${deployment.limit}</small></dd></div>
    </dl>
    <${Spark} values=${history} most=${deployment.limit} wide=${320}
      label=${`Calls under way since the page was opened, now ${deployment.in_flight}`} />
    <${Outcomes} outcomes=${outcomes} calls=${calls} />
    ${
      deployment.last_reason &&
      html`<p class="help">Last failure${
        deployment.last_reason_at && html` at <${Time} at=${deployment.last_reason_at} />`
      }: ${deployment.last_reason}</p>`
    }
    <${Weight} key=${deployment.weight} deployment=${deployment} own=${own} refresh=${refresh} />
    <${More} name=${name} refresh=${refresh} />
  </article>`;
}

function Outcomes({ outcomes, calls }) {
  const shown = Object.entries(outcomes).filter(([, count]) => count > 0);
  if (!shown.length) return html`<p class="help">No call yet.</p>`;
  return html`<p class="counts">${shown.map(
    ([outcome, count]) => html`<span key=${outcome}>
    <${Pill} state=${outcome} /> ${number(count)}
    ${outcome !== 'answered' && html` <small>${percent(count / calls)}</small>`}</span>`,
  )}</p>`;
}

function Weight({ deployment, own, refresh }) {
  const { name, weight } = deployment;
  const [wanted, setWanted] = useState(weight);
  const most = Math.min(HEAVIEST, Math.max(FINEST, ...own.map((each) => each.weight * 2)));
  const changed = own.map((each) => (each.name === name ? { ...each, weight: wanted } : each));
  const share = shares(changed)[name];
  const [apply, busy, problem] = useDeed(async () => {
    const yes = await confirm({
      title: `Set the weight of ${name}?`,
      text: html`<p>From ${number(weight)} to <b>${number(wanted)}</b>: then it gets ${percent(share)} of the
        calls, at every worker within two seconds.${wanted === 0 && ' Calls under way are not ended.'}</p>`,
      action: 'Set weight',
      danger: wanted === 0,
    });
    if (!yes) return;
    await steer(name, { weight: wanted });
    await refresh();
  });
  const id = `w-${name}`;
  const write = (event) => setWanted(Math.min(HEAVIEST, Math.max(0, Number(event.target.value))));
  return html`<div class="weight">
    <label for=${id}>Weight</label>
    <span class="share">${percent(share)}</span>
    <input id=${id} type="range" min="0" max=${most} step=${most <= FINEST ? 0.5 : 1} value=${wanted}
      aria-valuetext=${`${wanted}, ${percent(share)} of the calls`} onInput=${write} />
    <input type="number" aria-label=${`Weight of ${name} as a number`} min="0" max=${HEAVIEST} step="any"
      value=${wanted} onInput=${write} />
    ${
      wanted !== weight &&
      html`<div class="buttons">
      <button type="button" class="small main" disabled=${busy} onClick=${apply}>Set ${number(wanted)}</button>
      <button type="button" class="small quiet" onClick=${() => setWanted(weight)}>Leave ${number(weight)}</button>
    </div>`
    }
    <${Trouble} problem=${problem} />
  </div>`;
}

async function steer(name, body) {
  await call(`/v1/deployments/${encodeURIComponent(name)}`, { method: 'PATCH', body });
  announce(`${name} was set`);
}

function More({ name, refresh }) {
  const [open, setOpen] = useState(false);
  return html`<details onToggle=${(event) => setOpen(event.target.open)}>
    <summary>All workers</summary>
    ${open && html`<${Detail} name=${name} refresh=${refresh} />`}</details>`;
}

function Detail({ name, refresh }) {
  const detail = usePoll((signal) => call(`/v1/deployments/${encodeURIComponent(name)}`, { signal }), [name]);
  const [reset, busy, problem] = useDeed(async () => {
    await steer(name, { weight: null, priority: null });
    await Promise.all([refresh(), detail.refresh()]);
  });
  return html`<${Trouble} problem=${problem} /><${Loaded} of=${detail}>${({
    override,
    totals,
    workers,
  }) => html`
    <${Facts} of=${[
      ['Calls', number(totals.calls)],
      ['Failed', number(totals.failures)],
      ['Throttled', number(totals.throttled)],
      ['Mean', duration(totals.mean_seconds)],
      ['p95', duration(totals.p95_seconds)],
    ]} />
    ${
      (override.weight !== null || override.priority !== null) &&
      html`<p class="help">An operator has set
      ${' '}${[
        override.weight !== null && `weight ${override.weight}`,
        override.priority !== null && `priority ${override.priority}`,
      ]
        .filter(Boolean)
        .join(' and ')}.
      ${' '}<button type="button" class="small" disabled=${busy} onClick=${reset}>Back to what is declared</button></p>`
    }
    ${
      workers.length > 0 &&
      html`<${Table} label=${`Workers that use ${name}`}
      head=${['Worker', 'Seen', ['Demand', 'right'], 'Limits']}>${workers.map(
        (worker) => html`
      <tr key=${worker.worker}><td><code>${worker.worker.slice(0, 12)}</code></td>
        <td><${Time} at=${worker.seen_at} /></td><td class="right">${number(Math.round(worker.demand * 10) / 10)}</td>
        <td>${
          Object.entries(worker.limits)
            .map(([limit, { share, whole }]) => `${words(limit)}: ${share} of ${whole}`)
            .join(', ') || 'none'
        }</td></tr>`,
      )}</${Table}>
      <p class="help">${many(workers.length, 'worker')}.</p>`
    }`}</${Loaded}>`;
}
