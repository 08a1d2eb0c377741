// One batch: how far it is, what failed and why, what it has used.
import { html, useEffect, useRef, useState } from '../ui.js';
import { ask, call, download } from '../api.js';
import { confirm } from '../dialog.js';
import { useNow, usePoll } from '../poll.js';
import { duration, many, number, words } from '../format.js';
import { announce, Facts, Id, Loaded, Pill, Table, Time, Title, Trouble, useDeed } from '../parts.js';
import { Spark } from '../plots.js';
import { Bar, doorOf, going } from './batches.js';

const LINES_READ = 500;
const LINES_SHOWN = 50;
const TICK_MS = 900;
const RATE_TICKS = 5;
const RATES_KEPT = 120;

export function Batch({ id }) {
  const path = `/v1/batches/${encodeURIComponent(id)}`;
  const batch = usePoll((signal) => call(path, { signal }), [id], going);
  return html`<${Loaded} of=${batch}>${(record) => html`
    <${Shown} batch=${record} path=${path} refresh=${batch.refresh} />`}</${Loaded}>
    ${
      batch.problem &&
      !batch.data &&
      html`<${Title}>Batch</${Title}>
      <p><a href="#/batches">All batches</a></p>`
    }`;
}

function Shown({ batch, path, refresh }) {
  const now = useNow(going(batch));
  const [cancel, cancelling, refused] = useDeed(async () => {
    const yes = await confirm({
      title: 'Cancel this batch?',
      danger: true,
      action: 'Cancel batch',
      text: 'Lines that have ended keep their answers. The others are not run.',
    });
    if (yes) await call(`${path}/cancel`, { method: 'POST' });
    await refresh();
  });
  const [retry, retrying, failed] = useDeed(async () => {
    const next = await call(`${path}/retry`, { method: 'POST' });
    announce('The failed lines were accepted as a new batch');
    window.location.hash = `#/batches/${next.id}`;
  });
  const before = useRef(batch.status);
  useEffect(() => {
    if (before.current !== batch.status) announce(`The batch is now ${words(batch.status)}`);
    before.current = batch.status;
  }, [batch.status]);
  const ended = !going(batch);
  return html`
    <${Title} lead=${html`<${Id}>${batch.id}</${Id}>`} aside=${html`
      ${
        !ended &&
        html`<button type="button" class="danger" disabled=${cancelling || batch.status === 'cancelling'}
        onClick=${cancel}>Cancel batch</button>`
      }
      ${
        ended &&
        batch.error_file_id &&
        html`<button type="button" disabled=${retrying}
        onClick=${retry}>Run failed lines again</button>`
      }
      ${
        batch.output_file_id &&
        html`<${Save} file=${batch.output_file_id} name=${`${batch.id}.out.jsonl`}
        main=${true}>Download answers</${Save}>`
      }`}>
      ${batch.metadata?.filename ?? 'Batch'} <${Pill} state=${batch.status} /></${Title}>
    <${Trouble} problem=${refused ?? failed} />
    <section class="card">
      <${Bar} batch=${batch} large=${true} />
      <p class="under-bar">${said(batch, now)}</p>
      <${Flow} batch=${batch} now=${now} />
    </section>
    <${Facts} of=${facts(batch, now)} />
    ${batch.errors?.data?.length > 0 && html`<${Wrong} errors=${batch.errors.data} />`}
    ${batch.error_file_id && html`<${Failed} key=${batch.error_file_id} batch=${batch} />`}
    ${
      batch.metadata?.retry_of &&
      html`<p>It runs the failed lines of
      ${' '}<a href=${`#/batches/${batch.metadata.retry_of}`}>an earlier batch</a> again.</p>`
    }`;
}

// Lines that ended in a second, over the last few: they are told of in slices.
function Flow({ batch, now }) {
  const seen = useRef([]);
  const { completed, failed } = batch.request_counts;
  const last = seen.current.at(-1);
  if (!last || now - last.now >= TICK_MS) seen.current.push({ now, ended: completed + failed });
  const rates = seen.current.slice(1).map((each, index) => {
    const before = seen.current[Math.max(0, index + 1 - RATE_TICKS)];
    return (1000 * (each.ended - before.ended)) / (each.now - before.now);
  });
  if (rates.length < 2 || !going(batch)) return null;
  return html`<figure><figcaption>Lines a second since the page was opened, at most
    ${' '}${number(Math.round(Math.max(...rates)))}</figcaption>
    <${Spark} values=${rates.slice(-RATES_KEPT)} wide=${640} high=${72}
      label=${`Lines a second, now ${Math.round(rates.at(-1))}`} />
  </figure>`;
}

function endOf(batch) {
  return batch.completed_at ?? batch.failed_at ?? batch.expired_at ?? batch.cancelled_at;
}

// Lines in a second, as far as there is something to tell it from.
function pace(batch, now) {
  const { completed, failed } = batch.request_counts;
  if (!batch.in_progress_at) return null;
  const until = batch.finalizing_at ?? endOf(batch) ?? now / 1000;
  const seconds = until - batch.in_progress_at;
  return seconds > 0 && completed + failed > 0 ? (completed + failed) / seconds : null;
}

function said(batch, now) {
  const { total, completed, failed } = batch.request_counts;
  if (batch.status === 'validating') return 'Its lines are being checked.';
  const left = total - completed - failed;
  const lines = pace(batch, now);
  const counts = `${number(completed)} answered, ${number(failed)} failed, ${number(Math.max(0, left))} left`;
  if (!going(batch) || !lines || left <= 0) return `${counts} of ${many(total, 'line')}.`;
  return `${counts} of ${many(total, 'line')}. At this pace it ends in ${duration(left / lines)}.`;
}

function facts(batch, now) {
  const { usage } = batch;
  const end = endOf(batch);
  const lines = pace(batch, now);
  return [
    ['Accepted', html`<${Time} at=${batch.created_at} />`],
    ['Took', duration(Math.max(0, (end ?? now / 1000) - batch.created_at)), !end && 'so far'],
    lines && ['Pace', `${number(Number(lines.toPrecision(3)))} lines/s`],
    usage && ['Tokens in', number(usage.input_tokens)],
    usage && ['Tokens out', number(usage.output_tokens)],
    ['For', batch.model ?? doorOf(batch)],
    going(batch) && batch.expires_at && ['Has time until', html`<${Time} at=${batch.expires_at} />`],
  ];
}

function Save({ file, name, main, children }) {
  const [go, busy, problem] = useDeed(() => download(`/v1/files/${file}/content`, name));
  return html`<button type="button" class=${main ? 'main' : 'small'} disabled=${busy} onClick=${go}>
    ${busy ? 'Reading …' : problem ? problem.message : children}</button>`;
}

// What was wrong with the file, so that no line was run.
const Wrong = ({ errors }) => html`<section class="card"><h2>What is wrong with the file</h2>
  <${Table} label="Errors by line" head=${[['Line', 'right'], 'Code', 'Field', 'Message']}>
    ${errors.map(
      (each, index) => html`<tr key=${index}><td class="right">${each.line ?? '–'}</td>
      <td><code>${each.code}</code></td><td>${each.param ?? ''}</td><td>${each.message}</td></tr>`,
    )}
  </${Table}></section>`;

function Failed({ batch }) {
  const [lines, setLines] = useState(null);
  const [load, , problem] = useDeed(async () =>
    setLines(await firstLines(`/v1/files/${batch.error_file_id}/content`)),
  );
  useEffect(() => {
    load();
  }, []);
  const failed = batch.request_counts.failed;
  return html`<section class="card"><div class="row"><h2>Failed lines</h2>
      <${Save} file=${batch.error_file_id} name=${`${batch.id}.errors.jsonl`}>Download all</${Save}></div>
    <${Trouble} problem=${problem} />
    ${
      lines &&
      html`<${Kinds} lines=${lines} failed=${failed} />
      <${Table} label="Failed lines" head=${['Line', 'Error', 'Message']}>
        ${lines.slice(0, LINES_SHOWN).map(
          (line) => html`<tr key=${line.custom_id}>
          <td><code>${line.custom_id}</code></td><td><code>${kind(line)}</code></td>
          <td>${message(line)}</td></tr>`,
        )}
      </${Table}>`
    }</section>`;
}

function Kinds({ lines, failed }) {
  const counts = new Map();
  for (const line of lines) counts.set(kind(line), (counts.get(kind(line)) ?? 0) + 1);
  return html`<p class="counts">${lines.length >= LINES_READ && html`Of the first ${number(lines.length)}: `}
    ${[...counts]
      .sort((a, b) => b[1] - a[1])
      .map(
        ([name, count]) => html`<span key=${name}>
      <span class="pill bad">${name}</span> ${number(count)}</span>`,
      )}
    ${failed > LINES_SHOWN && html`<small>The first ${LINES_SHOWN} are listed.</small>`}</p>`;
}

const body = (line) => line.response?.body?.error ?? line.error ?? {};
const kind = (line) => body(line).code ?? body(line).type ?? String(line.response?.status_code ?? 'error');
const message = (line) => body(line).message ?? '';

// The first lines of a file, of which no more is read than that.
async function firstLines(path) {
  const reader = (await ask(path)).body.pipeThrough(new TextDecoderStream()).getReader();
  const lines = [];
  let rest = '';
  for (;;) {
    const { done, value } = await reader.read();
    rest += value ?? '';
    const whole = rest.split('\n');
    rest = done ? '' : whole.pop();
    lines.push(...whole.filter(Boolean).map((line) => JSON.parse(line)));
    if (done || lines.length >= LINES_READ) break;
  }
  await reader.cancel();
  return lines.slice(0, LINES_READ);
}
