// One job: where it is, where its time went, what came of it.
import { html, useEffect, useRef } from '../ui.js';
import { call, download } from '../api.js';
import { confirm } from '../dialog.js';
import { useNow, usePoll } from '../poll.js';
import { dateOf, duration, many, number, words } from '../format.js';
import { Timeline } from '../timeline.js';
import { announce, Facts, Id, Loaded, Pill, Table, Time, Title, Trouble, useDeed } from '../parts.js';
import { taken, under } from './jobs.js';

export function Job({ id }) {
  const path = `/v1/jobs/${encodeURIComponent(id)}`;
  const job = usePoll((signal) => call(path, { signal }), [id], moves);
  return html`<${Loaded} of=${job}>${(record) => html`
    <${Shown} job=${record} path=${path} refresh=${job.refresh} />`}</${Loaded}>
    ${job.problem && !job.data && html`<${Title}>Job</${Title}><p><a href="#/jobs">All jobs</a></p>`}`;
}

// Each second while it runs, or is to go on within a few.
const SOON = 5;
function moves(job) {
  if (job.status !== 'waiting_for_capacity') return under(job);
  return (dateOf(job.progress.resumes_at ?? Date.now() / 1000) - Date.now()) / 1000 < SOON;
}

function Shown({ job, path, refresh }) {
  const now = useNow(under(job));
  const [cancel, busy, problem] = useDeed(async () => {
    const yes = await confirm({
      title: 'Cancel this job?',
      text: 'Model calls under way are ended. What was used until now is booked.',
      action: 'Cancel job',
      danger: true,
    });
    if (yes) await call(path, { method: 'DELETE' });
    await refresh();
  });
  const before = useRef(job.status);
  useEffect(() => {
    if (before.current !== job.status) announce(`The job is now ${words(job.status)}`);
    before.current = job.status;
  }, [job.status]);
  return html`
    <${Title} lead=${html`<${Id}>${job.id}</${Id}>`} aside=${html`
      ${
        under(job) &&
        html`<button type="button" class="danger" disabled=${busy}
        onClick=${cancel}>Cancel job</button>`
      }
      <a class="button" href=${`#/submit/${encodeURIComponent(job.flow)}`}>Another one</a>`}>
      ${job.flow} <${Pill} state=${job.status} /></${Title}>
    <${Trouble} problem=${problem} />
    <${Waiting} job=${job} now=${now} />
    <${Facts} of=${facts(job, now)} />
    <section class="card"><h2>Where the time went</h2>
      <${Timeline} job=${job} now=${now} /></section>
    <${Ending} job=${job} />
    <${Attempts} job=${job} />
    <${Metadata} job=${job} />`;
}

function facts(job, now) {
  const { timing, usage } = job;
  return [
    ['Accepted', html`<${Time} at=${job.created_at} />`],
    ['Took', duration(taken(job, now)), under(job) && 'so far'],
    ['In queue', duration(timing.queue_seconds)],
    ['In the flow', duration(timing.flow_seconds)],
    ['At models', duration(timing.model_seconds)],
    ['Tokens in', number(usage.input_tokens)],
    ['Tokens out', number(usage.output_tokens)],
    job.model && ['Model', job.model],
    job.priority !== 'realtime' && ['Priority', words(job.priority)],
    job.deadline_at && ['Deadline', html`<${Time} at=${job.deadline_at} />`],
    job.flags.length > 0 && ['Flagged', job.flags.join(', ')],
  ];
}

function Waiting({ job, now }) {
  const { progress } = job;
  if (job.status !== 'waiting_for_capacity' && !(under(job) && progress.reason)) return null;
  const left = progress.resumes_at ? (dateOf(progress.resumes_at) - now) / 1000 : null;
  return html`<div class="notice warn"><strong>
    ${left > 0 ? `Goes on in ${duration(Math.ceil(left))}` : 'Goes on soon'}</strong>
    <p>${progress.reason ?? 'It waits for a model to take it.'} It holds nothing meanwhile
      (${many(progress.waits, 'wait')} so far).</p></div>`;
}

function Ending({ job }) {
  if (job.error) {
    const { title, detail, code, errors } = job.error;
    return html`<section class="card"><h2>Why it ${words(job.status)}</h2>
      <div class="trouble"><strong>${title}</strong><p>${detail} <code>${code}</code></p>
      ${
        errors?.length > 0 &&
        html`<ul>${errors.map(
          ({ field, expected }) => html`<li key=${field}><code>${field}</code>: expected ${expected}</li>`,
        )}</ul>`
      }</div></section>`;
  }
  if (!job.result_url) return null;
  const name = `${job.id}.json`;
  return html`<section class="card"><div class="row"><h2>Result</h2>
      <button type="button" class="small" onClick=${() => download(job.result_url, name)}>Download JSON</button></div>
    ${
      job.result === null || job.result === undefined
        ? html`<p>It is too large to show here, or null.</p>`
        : html`<${Result} of=${job.result} />`
    }</section>`;
}

// Fields apart, texts as they are; whatever else as JSON.
function Result({ of }) {
  if (of === null || typeof of !== 'object' || Array.isArray(of))
    return html`<${Value} of=${of} name="Result" />`;
  return html`<dl class="result">${Object.entries(of).map(
    ([name, value]) => html`<div key=${name}>
    <dt>${name}</dt><dd><${Value} of=${value} name=${name} /></dd></div>`,
  )}</dl>`;
}

const Value = ({ of, name }) => {
  if (typeof of !== 'object') return String(of);
  const json = JSON.stringify(of);
  if (json.length < 80) return html`<code>${json}</code>`;
  return html`<pre class="scroll" tabindex="0" role="region" aria-label=${`${name} as JSON`}>${
    json.length < 2000 ? JSON.stringify(of, null, 1) : json
  }</pre>`;
};

function Attempts({ job }) {
  if (job.attempts.length === 0) return null;
  const head = [
    'Deployment',
    'Outcome',
    ['Began', 'wide'],
    ['Took', 'right'],
    ['Tokens', 'right wide'],
    'Reason',
  ];
  const more = job.progress.attempts - job.attempts.length;
  return html`<section class="card"><h2>Model calls</h2>
    ${more > 0 && html`<p>The last ${job.attempts.length} of ${number(job.progress.attempts)}.</p>`}
    <${Table} label="Model calls" head=${head}>${job.attempts.map(
      (attempt) => html`
      <tr key=${attempt.request_id}>
        <td>${attempt.deployment}<br /><small>${attempt.model}${attempt.version && `@${attempt.version}`}</small></td>
        <td><${Pill} state=${attempt.outcome} />${attempt.status && html` <small>${attempt.status}</small>`}</td>
        <td class="wide"><${Time} at=${attempt.started_at} /></td>
        <td class="right">${duration(attempt.seconds)}</td>
        <td class="right wide">${number(attempt.usage.input_tokens)} / ${number(attempt.usage.output_tokens)}</td>
        <td>${attempt.reason ?? ''}</td>
      </tr>`,
    )}</${Table}></section>`;
}

const Metadata = ({ job }) =>
  job.metadata &&
  html`<section class="card"><h2>Metadata</h2>
  <${Facts} of=${Object.entries(job.metadata)} /></section>`;
